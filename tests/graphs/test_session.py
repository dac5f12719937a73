"""Sessions: what they are created with, the memory that they are bound to, and the arena that they share."""

import ctypes
import gc
import os
import signal
import weakref
from pathlib import Path
from threading import Event, Thread

import numpy as np
import onnxruntime as ort
import pytest

from bark_onnx import Bark, BarkError, GenerationOptions
from bark_onnx.graphs.device import Device
from bark_onnx.graphs.memory import BFLOAT16, Feed, Memory
from bark_onnx.graphs.networks import Networks
from bark_onnx.graphs.session import Graph
from bark_onnx.model.bundle import Bundle
from onnx_files import BFLOAT16 as BFLOAT16_IN_ONNX
from onnx_files import FLOAT, model, node, value_info

NO_FLASH = "ORT_GQA_DISABLE_FLASH_ATTENTION"


@pytest.mark.parametrize(
    ("threads", "setting", "seen"), [(4, None, "1"), (5, None, "1"), (1, "0", "0"), (5, "1", "1"), (1, "", "")]
)
def test_flash_attention_is_off_while_the_session_of_a_causal_graph_is_created(
    monkeypatch: pytest.MonkeyPatch, threads: int, setting: str | None, seen: str | None
) -> None:
    """ONNX Runtime reads a variable of the environment then. A user's own setting is left alone.

    With more threads than nano's 4 heads, flash attention would make the logits depend on the number of rows.
    """
    found: dict[str, str | None] = {}
    create = ort.InferenceSession

    def note(path: Path, *arguments: object, **options: object) -> ort.InferenceSession:
        found[path.name] = set_for_libraries(NO_FLASH)
        assert os.environ.get(NO_FLASH) == setting  # other threads may read or copy the environment meanwhile
        if path.name == "fine.onnx":
            raise RuntimeError("it does not load")
        return create(path, *arguments, **options)

    monkeypatch.delenv(NO_FLASH, raising=False)
    if setting is not None:
        monkeypatch.setenv(NO_FLASH, setting)
    monkeypatch.setattr(ort, "InferenceSession", note)
    networks = Networks(Bundle.open(), Device("cpu", threads))
    assert networks.coarse.size.heads == 4
    with pytest.raises(BarkError):
        _ = networks.fine
    assert found == {"coarse.onnx": seen, "fine.onnx": setting}
    assert os.environ.get(NO_FLASH) == set_for_libraries(NO_FLASH) == setting


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_session_that_a_thread_creates_does_not_stop_a_forked_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child has no such thread, which would release the lock and remove the variable. The codec waits for none."""
    creating, forked = Event(), Event()
    create = ort.InferenceSession

    def wait(*arguments: object, **options: object) -> ort.InferenceSession:
        creating.set()
        forked.wait(10)
        return create(*arguments, **options)

    monkeypatch.delenv(NO_FLASH, raising=False)
    monkeypatch.setattr(ort, "InferenceSession", wait)
    first, second, of_child = (Networks(Bundle.open(), Device("cpu", 1)) for _ in range(3))
    thread = Thread(target=lambda: first.coarse)
    thread.start()
    creating.wait()
    monkeypatch.setattr(ort, "InferenceSession", create)
    assert second.codec
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            assert of_child.coarse
            os._exit(0 if set_for_libraries(NO_FLASH) is None else 1)
        finally:
            os._exit(2)
    assert set_for_libraries(NO_FLASH) == "1"
    forked.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def set_for_libraries(name: str) -> str | None:
    """A variable of the environment as libraries in C see it."""
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    value: bytes | None = getenv(name.encode())
    return None if value is None else value.decode()


def test_provider_options_reach_the_session(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = ort.InferenceSession

    def session(
        path: Path, options: ort.SessionOptions, providers: list[tuple[str, dict[str, str]]], **named: object
    ) -> object:
        seen.append(providers)
        return real(path, options, providers=providers, **named)

    monkeypatch.setattr(ort, "InferenceSession", session)
    Bark.load(bundle, device="cpu", threads=1, provider_options={"anything": "1"})
    assert seen == [[("CPUExecutionProvider", {"anything": "1"})]] * 4


def test_push_copies_the_array_to_a_device() -> None:
    """On the CPU both are the same memory."""

    class Elsewhere:
        def update_inplace(self, array: np.ndarray) -> None:
            self.copy = array.copy()

    array = np.zeros(3, np.int64)
    feed = Feed.of(array, Device("cpu"))
    assert feed.memory.pointer == array.ctypes.data
    feed.push()
    there = Elsewhere()
    remote = Feed(array, Memory(0, (3,), np.int64, "cuda", there))
    array[1] = 7
    remote.push()
    assert there.copy.tolist() == [0, 7, 0]


def test_a_provider_that_copies_is_bound_for_every_step(bark: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a provider reads inputs when they are bound: with one binding, every step would decode the same token."""
    monkeypatch.setattr("bark_onnx.graphs.decoder._BINDING_ONCE", ())
    options = GenerationOptions(max_seconds=0.3)
    expected = bark.generate("hello", options=options, seed=1).tokens.semantic
    binds = []
    real = bark._networks.semantic._bind_own
    monkeypatch.setattr(bark._networks.semantic, "_bind_own", lambda *arguments: binds.append(1) or real(*arguments))
    bark._loops.kept_caches.clear()
    assert np.array_equal(bark.generate("hello", options=options, seed=1).tokens.semantic, expected)
    assert len(binds) == len(expected) - 1  # the first token is sampled after the prefill


def test_bfloat16_is_bound_as_bfloat16(tmp_path: Path) -> None:
    """A CPU can convert it, which shows that the bits are taken as bfloat16."""
    cast = node("Cast", ["narrow"], "wide", to=FLOAT)
    given, made = value_info("narrow", BFLOAT16_IN_ONNX, "n"), value_info("wide", FLOAT, "n")
    (tmp_path / "cast.onnx").write_bytes(model(cast, [given], [made], []))
    inputs, outputs = {"narrow": (BFLOAT16, (None,))}, {"wide": (np.float32, (None,))}
    graph = Graph(tmp_path / "cast.onnx", Device("cpu"), inputs, outputs)
    exact = np.array([1.0, -2.5, 3.0e38], np.float32).view(np.uint32) >> 16 << 16
    narrow, wide = (exact >> 16).astype(np.uint16), np.zeros(3, np.float32)
    graph.run_bound(graph.bind({"narrow": Memory.of(narrow)}, {"wide": Memory.of(wide)}))
    assert np.array_equal(wide, exact.view(np.float32))


@pytest.mark.parametrize("low_memory", [False, True])
def test_sessions_share_an_arena_unless_memory_is_low(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, low_memory: bool
) -> None:
    seen: list[ort.SessionOptions] = []
    real = ort.InferenceSession

    def session(path: Path, options: ort.SessionOptions, providers: object, **named: object) -> object:
        seen.append(options)
        return real(path, options, providers=providers, **named)

    monkeypatch.setattr(ort, "InferenceSession", session)
    bark = Bark.load(bundle, device="cpu", threads=1, low_memory=low_memory)
    bark.generate("hello", options=GenerationOptions(max_seconds=0.1), seed=1)
    assert len(seen) == 4
    for options in seen:
        assert 0 < int(options.get_session_config_entry("session.intra_op.spin_duration_us")) <= 5000
        if low_memory:
            with pytest.raises(RuntimeError):
                options.get_session_config_entry("session.use_env_allocators")
        else:
            assert options.get_session_config_entry("session.use_env_allocators") == "1"


def test_on_a_cpu_no_kv_cache_outlives_its_stage(bark: Bark) -> None:
    caches = []
    real = bark._networks.semantic.new_cache
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            bark._networks.semantic, "new_cache", lambda *rows: caches.append(weakref.ref(made := real(*rows))) or made
        )
        bark.semantic("hello", options=GenerationOptions(max_seconds=0.1), seed=1)
    gc.collect()
    assert [cache() for cache in caches] == [None]
