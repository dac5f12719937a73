"""What is unloaded gives its memory back, and what does not fit into memory is one clear error."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from bark_onnx import Bark, BarkError, DeviceError, GenerationOptions, OutOfMemory
from bark_onnx.graphs import memory
from bark_onnx.graphs import session as session_module
from bark_onnx.graphs.device import Device
from bark_onnx.graphs.memory import Memory
from run_command import assert_fails, run

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
    """Of nano. A few MB stay: libraries that were loaded, and caches of ONNX Runtime."""
    result = subprocess.run([sys.executable, "-c", SPEAK], capture_output=True, text=True, timeout=120, check=True)
    for line in result.stdout.splitlines():
        loaded, left = map(float, line.split())
        assert loaded > 20
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


# Not enough memory

NO_MEMORY = [
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: std::bad_alloc",
    "bfc_arena.cc:359 Failed to allocate memory for requested buffer of size 4294967296",
    "CUDA error 2: out of memory",
    "pthread_create failed, error code: 11 error msg: Resource temporarily unavailable",
]


@pytest.mark.parametrize("said", NO_MEMORY)
def test_a_network_that_does_not_fit(bundle: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    """Loading and running. It is a BarkError and a MemoryError; the bundle is not at fault."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(said)

    bark = Bark.load(bundle, device="cpu", threads=1)
    with monkeypatch.context() as patch:
        patch.setattr(ort.InferenceSession, "run_with_iobinding", fail)
        with pytest.raises(OutOfMemory, match=r"not enough memory to run semantic\.onnx: .*--low-memory"):
            bark.semantic("Hello.", seed=1)
    assert len(bark.semantic("Hello.", options=GenerationOptions(max_seconds=0.1), seed=1)) > 0
    monkeypatch.setattr(ort, "InferenceSession", fail)
    with pytest.raises(MemoryError, match=r"not enough memory to load \w+\.onnx: .*low_memory=True") as caught:
        Bark.load(bundle, device="cpu", threads=1)
    assert isinstance(caught.value, BarkError)


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        (NO_MEMORY[1], OutOfMemory, "not enough memory on the GPU: .*--low-memory"),
        ("CUDA failure 999: unknown error ; GPU=0", DeviceError, "device 'cuda' failed: CUDA failure 999: unknown"),
    ],
)
def test_memory_that_a_gpu_does_not_give(
    monkeypatch: pytest.MonkeyPatch, said: str, error: type[BarkError], words: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(memory, "allocate", fail)
    with pytest.raises(error, match=words):
        Memory.zeros((1,), np.float32, Device("cuda"))


LIMITED = """
import resource, sys
from bark_onnx.__main__ import main
import bark_onnx.command.cli, soundfile
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv.pop(1)) * 2**20,) * 2)
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc and its limit of the address space")
@pytest.mark.parametrize("megabytes", [5, 30])
@pytest.mark.parametrize("way", [[], ["--stream"], ["--history", "rolling"]], ids=["once", "stream", "long"])
def test_the_command_with_too_little_memory_is_one_line(megabytes: int, way: list[str], tmp_path: Path) -> None:
    """While nano is loaded; 5 MiB never is enough. With a little more, ONNX Runtime's kernels sometimes crash."""
    arguments = ["say", "Hello.", "--device", "cpu", "--seed", "7", "-q", "-o", tmp_path / "a.wav", *way]
    result = run(str(megabytes), *arguments, command=[sys.executable, "-c", LIMITED])
    if result.returncode == 0 and megabytes > 5:
        return
    assert_fails(result, "not enough memory")
    assert result.stdout == b""
    assert [path for path in tmp_path.iterdir() if path.suffix != ".partial"] == []
