"""`bark-onnx tune`: how many threads each stage should have on this machine.

ONNX Runtime takes a thread for every core. That is best for what is bound by arithmetic; a decode step is bound by
memory, and on many cores its threads mostly wait for each other. What is found is kept by machine and bundle, and
`Bark.load` takes it where the caller names no number of threads.

Only what leaves the tokens as they are is tuned: a seed means the same on every machine. So prefill runs, which decide
what quantised activations share a scale, are not.
"""

import hashlib
import json
import os
import platform
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from ..errors import BarkWarning
from ..files import cache_directory, replacing
from ..graphs.device import MOST_THREADS, Device
from ..graphs.networks import Networks
from ..model.bundle import MANIFEST, STAGES, Bundle, hash_file
from ..model.vocabulary import CausalStage

GAIN = 0.97  # more threads must be this much faster: they are the machine's, not ours
_FRAMES = 384  # of the codec: 5.12 s

# Of 5.12 s of speech with a full voice: prefills, their positions, decode steps, and the positions before one.
_WORK: dict[CausalStage, tuple[int, int, int, int]] = {"semantic": (1, 257, 256, 385), "coarse": (13, 887, 768, 917)}


@dataclass(frozen=True)
class Trial:
    """A stage with so many threads, and the seconds that it then takes for 5.12 s of speech."""

    stage: str
    threads: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.stage:9}{self.threads:4} thread{'s' if self.threads > 1 else ' '}{self.seconds:9.3f} s"


def thread_counts(cores: int) -> list[int]:
    """1 to 4, then in steps of a half, and all of them."""
    counts = {n for power in range(cores.bit_length()) for n in (2**power, 3 * 2**power // 2) if n <= cores}
    return sorted(counts | {cores})


def trials(bundle: Bundle, cores: int, repeats: int = 3) -> Iterator[Trial]:
    """Every setting, as it is measured; a network is loaded anew for each."""
    for stage in STAGES:
        for threads in thread_counts(cores):
            yield Trial(stage, threads, _SECONDS[stage](bundle, Device("cpu", threads), repeats))


def best(found: Iterable[Trial]) -> dict[str, int]:
    """Of each stage the fastest number of threads, or a smaller one that is as good as that."""
    chosen: dict[str, Trial] = {}
    for trial in sorted(found, key=lambda trial: trial.threads):
        if trial.seconds < GAIN * chosen.setdefault(trial.stage, trial).seconds:
            chosen[trial.stage] = trial
    return {stage: trial.threads for stage, trial in chosen.items()}


def save(bundle: Bundle, tuned: dict[str, int]) -> Path:
    """Keep what was found, for this machine and bundle."""
    path = _path(bundle)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(tuned, indent=2) + "\n")
    return path


def load(bundle: Bundle) -> dict[str, int]:
    """What was kept, or nothing. A file that is not what `save` writes is a warning."""
    path = _path(bundle)
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError):
        text = ""
    try:
        tuned: dict[str, int] = dict(json.loads(text))
        if not all(stage in STAGES and type(n) is int and 1 <= n <= MOST_THREADS for stage, n in tuned.items()):
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        warnings.warn(f"{path} is not what `bark-onnx tune` writes, and is ignored", BarkWarning, stacklevel=3)
        return {}
    return tuned


def _path(bundle: Bundle) -> Path:
    return cache_directory() / "tuned" / f"{hash_file(bundle.directory / MANIFEST)[:16]}-{_machine()}.json"


def _machine() -> str:
    """The same for machines on which the same settings are best."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.is_file() else []
    kind = sorted({line for line in lines if line.startswith(("model name", "flags", "CPU part"))})
    return hashlib.sha256("\n".join([*kind, platform.machine(), str(usable_cores())]).encode()).hexdigest()[:16]


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _causal_seconds(stage: CausalStage, bundle: Bundle, device: Device, repeats: int) -> float:
    prefills, positions, steps, before = _WORK[stage]
    decoder = Networks(bundle, device).causal(stage)
    cache, ids = decoder.new_cache(), np.zeros(min(before, decoder.size.context - 1), np.int64)

    def prefill(count: int) -> None:
        cache.clear()
        decoder.prefill(cache, ids[:count])

    def step() -> None:
        cache.lengths[0] = len(ids)
        decoder.decode_step(cache, [0])

    seconds = prefills * _seconds(lambda: prefill(positions), repeats)
    prefill(len(ids))
    return seconds + steps * _seconds(step, 8 * repeats)


def _fine_seconds(bundle: Bundle, device: Device, repeats: int) -> float:
    space, model = bundle.manifest.vocabulary, Networks(bundle, device).fine
    codes = np.zeros((1, space.fine_codebooks, space.fine_window), np.int64)
    passes = space.fine_codebooks - space.coarse_codebooks
    return passes * _seconds(lambda: model.logits(codes, space.coarse_codebooks), repeats)


def _codec_seconds(bundle: Bundle, device: Device, repeats: int) -> float:
    codec = Networks(bundle, device).codec
    codes = np.zeros((codec.size.codebooks, _FRAMES), np.int64)
    return _seconds(lambda: codec.decode(codes), repeats)


def _seconds(work: Callable[[], object], repeats: int) -> float:
    """Median, after a warm-up."""
    work()
    times = []
    for _ in range(repeats):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return median(times)


_SECONDS: dict[str, Callable[[Bundle, Device, int], float]] = {
    "semantic": partial(_causal_seconds, "semantic"),
    "coarse": partial(_causal_seconds, "coarse"),
    "fine": _fine_seconds,
    "codec": _codec_seconds,
}
