"""bark.cpp as a peer: its built binary as a process (PABannier/bark.cpp, examples/main).

It prints the seconds of its three transformers, one after another, and of the whole evaluation; the rest of that is the
codec. A build that prints something else is measured by the clock, from start to end, loading included.
"""

import hashlib
import os
import re
import subprocess
import tempfile
from pathlib import Path
from time import perf_counter

import soundfile

from bark_onnx.errors import BarkError

from .comparison import ALL, Peer, PeerRun, Seconds
from .workload import TEXT

NOTE = "it ends by itself, so its audio has another length: compare RTF"

_STAGE = re.compile(r"bark_print_statistics:\s+total time\s*=\s*([\d.]+) ms")
_WHOLE = re.compile(r"main:\s+eval time\s*=\s*([\d.]+) ms")


def bark_cpp_peer(binary: Path, model: Path, threads: int) -> Peer:
    """The binary on a model file of its own, with as many threads as this process may use."""
    for path, what in ((binary, "binary"), (model, "model file")):
        if not path.is_file():
            raise BarkError(f"{path} is not a file: give bark.cpp's {what}")
    if not os.access(binary, os.X_OK):
        raise BarkError(f"{binary} is not executable: give the built bark.cpp `main`")
    digest = hashlib.sha256(binary.read_bytes()).hexdigest()[:12]
    version = f"binary {digest} on {model.name} ({model.stat().st_size / 1e6:.0f} MB), {threads} threads"
    return Peer("bark.cpp", version, lambda seed: _run(binary, model, threads, seed), NOTE)


def _run(binary: Path, model: Path, threads: int, seed: int) -> PeerRun:
    with tempfile.TemporaryDirectory() as directory:
        wav = Path(directory) / "out.wav"
        options = ["-m", str(model), "-p", TEXT, "-t", str(threads), "-s", str(seed), "-o", str(wav)]
        start = perf_counter()
        process = subprocess.run([str(binary.absolute()), *options], capture_output=True, check=False)
        wall = perf_counter() - start
        if process.returncode or not wav.is_file():
            said = process.stderr.decode(errors="replace").strip() or "it made no audio"
            raise BarkError(f"{binary} failed (status {process.returncode}): {said.splitlines()[-1]}")
        audio_seconds = soundfile.info(str(wav)).duration
    if not audio_seconds:
        raise BarkError(f"{binary} made no audio with seed {seed}: its model ended the utterance at once")
    return PeerRun(timings(process.stdout.decode(errors="replace")) or {ALL: wall}, audio_seconds)


def timings(output: str) -> Seconds | None:
    """Seconds by stage from what the binary prints; None if that is not what is known of it."""
    stages, whole = [float(ms) / 1e3 for ms in _STAGE.findall(output)], _WHOLE.search(output)
    if len(stages) != 3 or whole is None:
        return None
    semantic, coarse, fine = stages
    return {"semantic": semantic, "coarse": coarse, "fine": fine, "codec": float(whole[1]) / 1e3 - sum(stages)}
