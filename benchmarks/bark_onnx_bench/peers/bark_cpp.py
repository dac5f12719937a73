"""bark.cpp as a peer: its built binary, run as a process (PABannier/bark.cpp, examples/main).

The binary prints the time of each of its three transformers and of the whole evaluation; the remainder is the codec.
If a build prints something else, the whole process is timed instead, loading included.
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

from ..measure.workload import TEXT
from .comparison import WHOLE, Peer, PeerRun, Seconds

NOTE = "it decides itself when to stop, so its audio has another length: compare the RTF"

_STAGE = re.compile(r"bark_print_statistics:\s+total time\s*=\s*([\d.]+) ms")
_EVALUATION = re.compile(r"main:\s+eval time\s*=\s*([\d.]+) ms")


def bark_cpp_peer(binary: Path, model: Path, threads: int) -> Peer:
    """The binary with its own model file and `threads` threads."""
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
            message = process.stderr.decode(errors="replace").strip() or "it wrote no audio"
            raise BarkError(f"{binary} failed (status {process.returncode}): {message.splitlines()[-1]}")
        audio_seconds = soundfile.info(str(wav)).duration
    if not audio_seconds:
        raise BarkError(f"{binary} wrote empty audio with seed {seed}: its model ended the utterance at once")
    return PeerRun(timings(process.stdout.decode(errors="replace")) or {WHOLE: wall}, audio_seconds)


def timings(output: str) -> Seconds | None:
    """Read the seconds by stage from the binary's output; None if it does not have the expected lines."""
    stages, evaluation = [float(ms) / 1e3 for ms in _STAGE.findall(output)], _EVALUATION.search(output)
    if len(stages) != 3 or evaluation is None:
        return None
    semantic, coarse, fine = stages
    return {"semantic": semantic, "coarse": coarse, "fine": fine, "codec": float(evaluation[1]) / 1e3 - sum(stages)}
