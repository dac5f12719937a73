"""The networks of a bundle: loaded when they are used, all at once or one at a time."""

import gc
import os
import weakref
from pathlib import Path
from threading import Event, Thread

import pytest

from bark_onnx import BarkError
from bark_onnx.graphs import cuda
from bark_onnx.graphs.codec import CodecDecoder
from bark_onnx.graphs.decoder import CausalDecoder
from bark_onnx.graphs.device import Device
from bark_onnx.graphs.fine import FineModel
from bark_onnx.graphs.networks import Networks
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.manifest import STAGES
from bark_onnx.sampling.loops import Loops

CPU = Device("cpu", 1)


@pytest.fixture
def opened(bundle: Path) -> Bundle:
    return Bundle.open(bundle)


def test_each_is_loaded_when_it_is_first_used(opened: Bundle) -> None:
    networks = Networks(opened, CPU)
    assert networks._loaded == {}
    assert networks.sizes.coarse == opened.manifest.sizes.coarse  # needs no network
    assert networks.vocabulary == opened.manifest.vocabulary
    assert networks._loaded == {}
    coarse = networks.coarse
    assert list(networks._loaded) == [("coarse", "network")]
    assert networks.coarse is coarse is networks.network("coarse")


def test_all_at_once(opened: Bundle) -> None:
    networks = Networks(opened, CPU)
    networks.load()
    loaded = [stage for stage, _ in networks._loaded]
    assert sorted(loaded) == sorted(STAGES)
    assert loaded[0] == "codec"  # the others then use the memory that loading it has freed
    kinds = [CausalDecoder, CausalDecoder, FineModel, CodecDecoder]
    assert [type(networks.network(stage)) for stage in STAGES] == kinds
    fine = networks.fine
    networks.release()
    assert networks.fine is fine
    networks.close()
    assert networks._loaded == {}
    with pytest.raises(BarkError, match="closed"):
        _ = networks.fine


def test_with_low_memory_one_at_a_time(opened: Bundle) -> None:
    networks = Networks(opened, CPU, low_memory=True)
    loops = Loops(networks)
    gc.disable()  # a network that is not used must be freed without it
    try:
        before: weakref.ref[object] = weakref.ref(networks.semantic)
        cache = loops.semantic.new_cache()
        assert before() is not None
        for stage in ("coarse", "fine", "codec", "semantic"):
            network = weakref.ref(networks.network(stage))
            if stage != "codec":
                getattr(loops, stage)
            assert before() is None
            assert [own for own, _ in networks._loaded] == [stage]
            before = network
        networks.release()
        assert before() is None
        assert cache.rows == 1
    finally:
        gc.enable()


def test_threads_get_the_same_network(opened: Bundle) -> None:
    networks = Networks(opened, CPU)
    found: list[object] = []
    threads = [Thread(target=lambda: found.append(networks.coarse)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(map(id, found))) == 1


def test_networks_on_the_cpu_do_not_wait_for_others(gpu_bundle: Path) -> None:
    opened = Bundle.open(gpu_bundle)
    on_cpu, on_gpu = ([Networks(opened, Device(name)) for _ in range(2)] for name in ("cpu", "tensorrt"))
    assert on_cpu[0].lock is not on_cpu[1].lock
    assert on_gpu[0].lock is on_gpu[1].lock is cuda.TURNS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_gpu_that_a_thread_uses_does_not_stop_a_forked_process(gpu_bundle: Path) -> None:
    """The child has no such thread, so nobody would ever release the lock there."""
    networks, taken, forked = Networks(Bundle.open(gpu_bundle), Device("tensorrt")), Event(), Event()

    def use() -> None:
        with networks.lock:
            taken.set()
            forked.wait()

    thread = Thread(target=use)
    thread.start()
    taken.wait()
    child = os.fork()
    if child == 0:
        free = networks.lock is cuda.TURNS and cuda.TURNS.acquire(timeout=1)
        os._exit(0 if free else 1)
    forked.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
