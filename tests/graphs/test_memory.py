"""What is unloaded gives its memory back, and what does not fit into memory is one clear error."""

import subprocess
import sys
from pathlib import Path

import onnxruntime as ort
import pytest

from bark_onnx import Bark, GenerationOptions
from bark_onnx.graphs import session as session_module

SPEAK = """
import re, sys
from pathlib import Path
from bark_onnx import Bark, GenerationOptions, Request

def megabytes():  # of memory that belongs to no file
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

bundle = sys.argv[1] if len(sys.argv) > 1 else None
before, options = megabytes(), GenerationOptions(max_seconds=0.5, allow_early_stop=False)
for closed in (True, False):
    bark = Bark.load(bundle, device="cpu", threads=2)
    requests = [Request("Hello.", options=options, seed=seed) for seed in range(4)]
    speeches = [bark.generate("Hello.", options=options, seed=1), *bark.generate_batch(requests)]
    loaded = megabytes()
    if closed:
        bark.close()
    else:
        del bark
    print(loaded - before, megabytes() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")
def test_close_and_del_give_the_memory_back() -> None:
    """Of nano, which takes over 60 MB. A few MB stay: libraries that were loaded, and caches of ONNX Runtime."""
    result = subprocess.run([sys.executable, "-c", SPEAK], capture_output=True, text=True, timeout=120, check=True)
    for line in result.stdout.splitlines():
        loaded, left = map(float, line.split())
        assert loaded > 40
        assert left < 12, result.stdout


def test_the_arena_goes_with_the_last_session(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arenas: list[object] = []
    monkeypatch.setattr(session_module, "_process", session_module._ProcessMemory())
    monkeypatch.setattr(ort, "create_and_register_allocator", lambda info, config: arenas.append(info))
    first = Bark.load(bundle, device="cpu", threads=1)
    second = Bark.load(bundle, device="cpu", threads=1)
    assert len(arenas) == 1
    first.close()
    assert len(arenas) == 1
    second.close()
    second.close()
    assert len(arenas) == 2


def test_a_bark_speaks_on_while_another_is_closed(bundle: Path) -> None:
    options = GenerationOptions(max_seconds=0.1)
    bark, other = (Bark.load(bundle, device="cpu", threads=1) for _ in range(2))
    before = bark.generate("Hello.", options=options, seed=1)
    other.close()
    Bark.load(bundle, device="cpu", threads=1).close()
    assert (bark.generate("Hello.", options=options, seed=1).waveform == before.waveform).all()
