"""One network at a time: the same speech, and never two networks in memory."""

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

from bark_onnx import Bark, GenerationOptions
from bark_onnx.graphs import session as session_module
from bark_onnx.graphs.session import Graph
from run_command import SAY, assert_silent, run

OPTIONS = GenerationOptions(max_seconds=0.4)


class Watch:
    """Records the graphs that are in memory whenever another one is loaded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loaded: list[str] = []
        self.alive: weakref.WeakSet[Graph] = weakref.WeakSet()
        self.most = 0
        real = Graph.__init__

        def init(graph: Graph, *arguments: object, **named: object) -> None:
            real(graph, *arguments, **named)  # type: ignore[arg-type]
            gc.disable()  # graphs must be freed without the garbage collector
            self.loaded.append(graph.name)
            self.alive.add(graph)
            self.most = max(self.most, len(self.alive))

        monkeypatch.setattr(session_module.Graph, "__init__", init)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    gc.collect()
    yield Watch(monkeypatch)  # type: ignore[misc]
    gc.enable()


def test_one_network_is_in_memory_at_a_time(bark: Bark, bundle: Path, watch: Watch) -> None:
    lean = Bark.load(bundle, device="cpu", threads=1, low_memory=True)
    assert watch.loaded == []
    speech, expected = (model.generate("hello", options=OPTIONS, seed=4) for model in (lean, bark))
    assert watch.loaded == ["semantic.onnx", "coarse.onnx", "fine.onnx", "codec.onnx"]
    assert (watch.most, len(watch.alive)) == (1, 0)
    assert np.array_equal(speech.tokens.fine, expected.tokens.fine)
    assert np.array_equal(speech.waveform, expected.waveform)


def test_a_stream_has_all_of_them(bark: Bark, bundle: Path, watch: Watch) -> None:
    lean = Bark.load(bundle, device="cpu", threads=1, low_memory=True)
    audio = [
        np.concatenate([chunk.waveform for chunk in m.stream("hello", voice=None, options=OPTIONS, seed=4)])
        for m in (lean, bark)
    ]
    assert watch.most == 4
    assert np.array_equal(*audio)


def test_the_command(bundle: Path, tmp_path: Path) -> None:
    for name, arguments in (("plain", []), ("lean", ["--low-memory"])):
        assert_silent(run(*SAY, "--bundle", bundle, "-o", tmp_path / f"{name}.wav", *arguments))
    assert (tmp_path / "lean.wav").read_bytes() == (tmp_path / "plain.wav").read_bytes()
    for text, way in (("hello", ["--stream"]), ("hello " * 100, [])):
        result = run("say", text, *SAY[2:], "--bundle", bundle, "-o", tmp_path / "no.wav", "--low-memory", *way)
        assert (result.returncode, b"--low-memory is for a single utterance" in result.stderr) == (2, True)
