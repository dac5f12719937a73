"""Loops that sample on the device, run on the CPU: they give the host's tokens, alone and together."""

import gc
import signal
import weakref
from _thread import interrupt_main
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Thread, get_ident
from time import sleep
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from bark_onnx import Bark, BarkError, BarkWarning, DeviceError, GenerationOptions, Request
from bark_onnx.engine.stage_steps import FINE_ROWS
from bark_onnx.graphs import networks as networks_module
from bark_onnx.graphs import session
from bark_onnx.graphs import stream as stream_module
from bark_onnx.graphs.cache import SPANS, KVCache
from bark_onnx.graphs.device import CUDA, TENSORRT, Device
from bark_onnx.graphs.memory import Feed
from bark_onnx.graphs.networks import Networks
from bark_onnx.graphs.session import Graph
from bark_onnx.graphs.stream import Stream
from bark_onnx.model.bundle import Bundle
from bark_onnx.sampling.device import BLOCK, DeviceFine, DeviceLoop
from bark_onnx.sampling.distribution import random_stream
from bark_onnx.sampling.host import HostFine, HostLoop
from bark_onnx.sampling.loops import Loops
from bark_onnx.sampling.sequence import FineWindow, Rule
from utterances import Alone, assert_as_alone, assert_same_speech, speak_alone
from voices import voice_or_none

GREEDY = GenerationOptions(text_temperature=0, coarse_temperature=0, fine_temperature=0, max_seconds=0.7)


@pytest.fixture(scope="module")
def host(gpu_bundle: Path) -> Bark:
    """A bundle that has sampler graphs, sampled on the host."""
    return Bark.load(gpu_bundle, device="cpu", threads=1)


@pytest.fixture(scope="module")
def on_device(host: Bark) -> Bark:
    """The same bundle on the same device, but sampled by its graphs."""
    return Bark(host.bundle, replace(host.device, samples=True))


@pytest.fixture(scope="module")
def alone(host: Bark) -> list[Alone]:
    return speak_alone(host)


@pytest.mark.parametrize("voice_length", [0, 60, 500])
@pytest.mark.parametrize(
    "options",
    [
        GenerationOptions(max_seconds=0.7),
        GREEDY,
        GenerationOptions(max_seconds=0.7, top_k=9, allow_early_stop=False),
        GenerationOptions(max_seconds=0.7, top_p=0.7, min_eos_p=None, sliding_window=33),
    ],
    ids=["default", "greedy", "top-k", "top-p"],
)
def test_an_utterance_is_the_same_as_on_the_host(
    host: Bark, on_device: Bark, voice_length: int, options: GenerationOptions
) -> None:
    voice = voice_or_none(host.vocabulary, voice_length)
    expected, found = (
        bark.generate("the world is music", voice=voice, options=options, seed=3) for bark in (host, on_device)
    )
    assert_same_speech(found, expected)


def test_the_device_samples_only_with_a_bundle_that_has_the_graphs(bark: Bark, on_device: Bark) -> None:
    loops = Loops(on_device._networks)
    assert isinstance(loops.semantic, DeviceLoop)
    assert isinstance(loops.coarse, DeviceLoop)
    assert isinstance(loops.fine, DeviceFine)
    without = Networks(bark.bundle, replace(bark.device, samples=True))  # a CPU bundle
    assert not without.device.samples
    assert isinstance(Loops(without).coarse, HostLoop)
    assert isinstance(Loops(without).fine, HostFine)


@pytest.mark.parametrize("slots", [1, 3, 9])
def test_an_engine_s_utterances_are_those_alone_on_the_host(on_device: Bark, alone: list[Alone], slots: int) -> None:
    engine = on_device.engine(slots=slots)
    jobs = [engine.submit(expected.request) for expected in alone]
    while engine.step():
        pass
    for job, expected in zip(jobs, alone, strict=True):
        assert_as_alone(job, expected)


def test_windows_together(host: Bark, on_device: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FINE_ROWS, "cpu", 8)
    voices = [voice_or_none(host.vocabulary, length) for length in (0, 300, 0, 500)]
    requests = [Request("hello", voice=voice, seed=seed, options=GREEDY) for seed, voice in enumerate(voices)]
    for request, speech in zip(requests, on_device.generate_batch(requests), strict=True):
        expected = host.generate(request.text, voice=request.voice, options=GREEDY, seed=request.seed)
        assert np.array_equal(speech.tokens.fine, expected.tokens.fine)


def test_low_memory(host: Bark) -> None:
    bark = Bark(host.bundle, replace(host.device, samples=True), low_memory=True)
    options = GenerationOptions(max_seconds=0.4)
    assert_same_speech(
        bark.generate("hello", voice=None, options=options, seed=5),
        host.generate("hello", voice=None, options=options, seed=5),
    )


def test_the_cache_knows_the_ids_of_a_block(host: Bark, on_device: Bark) -> None:
    """So the next window's prompt is prefilled from the same position as on the host."""
    held = []
    for bark in (host, on_device):
        loop = Loops(bark._networks).semantic
        cache = loop.new_cache()
        sequence = Counting(2 * BLOCK + 3)
        assert loop.begin(cache, sequence, np.arange(40)) == {}
        while sequence.left:
            assert loop.step(cache, {0: sequence}) == {}
        held.append(_held(cache))
    assert held[0] == held[1]
    assert len(held[0]) == 40 + 2 * BLOCK + 2


def test_many_spans_of_rows_take_bounded_memory(on_device: Bark) -> None:
    """Logits are allocated once for all rows, bindings are kept for the last spans only."""
    loops, rng = Loops(on_device._networks), np.random.default_rng(0)
    loop = loops.coarse
    cache = loop.new_cache(64)
    sequences = {row: Counting(10_000) for row in range(64)}
    for row, sequence in sequences.items():
        assert loop.begin(cache, sequence, np.arange(5), row=row) == {}
    blocks = loops._blocks[cache]
    logits, choices = blocks.logits, on_device.vocabulary.coarse_choices
    assert logits.owner.nbytes == 64 * choices * 4
    for _ in range(60):
        first, last = sorted(rng.choice(64, 2, replace=False).tolist())
        assert loop.step(cache, {row: sequences[row] for row in (first, last)}) == {}
    assert loops._blocks[cache] is blocks
    assert blocks.logits is logits
    assert len(blocks.steps._values) == len(blocks.samplers[False]._values) == SPANS
    assert len(blocks.samplers[True]._values) == 0
    del cache
    assert len(loops._blocks) == 0


@dataclass
class Counting:
    """A sequence of a given number of tokens."""

    left: int
    tokens: list[int] = field(default_factory=list)
    rule = Rule(50, 1, 0, 0.7, None, None)

    def __post_init__(self) -> None:
        self.stream = random_stream(1, "coarse")

    @property
    def last(self) -> int:
        return self.tokens[-1]

    def take(self, choice: int) -> None:
        self.tokens.append(choice)
        self.left -= 1


def _held(cache: KVCache) -> list[int]:
    ids: list[int] = cache.ids[0, 0, : cache.lengths[0]].tolist()
    return ids


# Failures


def test_broken_logits_are_one_line(host: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    bark = Bark(host.bundle, replace(host.device, samples=True))
    decoder = bark._networks.semantic
    real = decoder.prefill_into

    def spoilt(cache: KVCache, logits: Any, *arguments: Any) -> None:
        real(cache, logits, *arguments)
        logits.owner[:] = np.nan

    monkeypatch.setattr(decoder, "prefill_into", spoilt)
    with pytest.raises(BarkError, match="logits that are not numbers"):
        bark.generate("hello")


def test_one_broken_window_of_several(on_device: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    model = on_device._networks.fine
    loop = Loops(on_device._networks).fine
    windows = [
        FineWindow(np.zeros((8, 40), np.int64), 10, np.full((30, 8), 0.5), temperature) for temperature in (0.5, 0.0)
    ]
    real = Graph.run_bound

    def spoilt(graph: Graph, binding: Any) -> None:
        real(graph, binding)
        if graph is model._graph:
            binding.keeps[1]["logits"].owner[0, 20] = np.nan

    before = windows[0].codes.copy()
    monkeypatch.setattr(Graph, "run_bound", spoilt)
    errors = loop.fill(windows, 2)
    assert list(errors) == [0]
    assert "not numbers" in str(errors[0])
    assert np.array_equal(windows[0].codes, before)
    assert (windows[1].codes[2:, 10:] != 0).any()
    assert (windows[1].codes[:, :10] == 0).all()


def test_fewer_codebooks_given(host: Bark, on_device: Bark) -> None:
    for given_codebooks in (1, 3):
        codes = np.zeros((given_codebooks, 90), np.int64)
        assert np.array_equal(on_device.fine(codes, seed=1), host.fine(codes, seed=1))


# Recorded decode steps. The CPU accepts the options of such runs and ignores them.


@pytest.fixture(scope="module")
def recorded(host: Bark) -> Bark:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks_module, "_records", lambda *_, **__: True)
        return Bark(host.bundle, replace(host.device, samples=True))


def recordings(bark: Bark) -> dict[str, int]:
    """The number of recordings of each graph that has any."""
    networks, loops = bark._networks, ("semantic", "coarse")
    graphs = [networks.causal(stage)._graph._graph for stage in loops]
    graphs += [networks.sampler(stage, top_k_top_p=sorts)._graph for stage in loops for sorts in (False, True)]
    return {graph.name: graph._recordings for graph in graphs if graph._recordings}


def test_only_steps_that_repeat_are_recorded(host: Bark, recorded: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    real = Graph._run_options

    def kept(graph: Graph, *, repeated: bool) -> Any:
        options = real(graph, repeated=repeated)
        made.append((graph.name, repeated, None if options is None else options.get_run_config_entry("gpu_graph_id")))
        return options

    monkeypatch.setattr(Graph, "_run_options", kept)
    options = GenerationOptions(max_seconds=0.6)
    assert_same_speech(
        recorded.generate("hello", voice=None, options=options, seed=1),
        host.generate("hello", voice=None, options=options, seed=1),
    )
    steps = [(name, number) for name, repeated, number in made if repeated and number is not None]
    assert len(set(steps)) == len(steps) == 4 * BLOCK  # every recording of a graph has its own number
    assert recordings(recorded) == dict.fromkeys(
        ("semantic.onnx", "semantic.sampler.onnx", "coarse.onnx", "coarse.sampler.onnx"), BLOCK
    )
    assert {number for name, repeated, number in made if not repeated} == {"-1", None}


def test_rows_that_are_recorded_have_the_tokens_of_each_alone(recorded: Bark, alone: list[Alone]) -> None:
    engine = recorded.engine(slots=3)
    jobs = [engine.submit(expected.request) for expected in alone]
    while engine.step():
        pass
    for job, expected in zip(jobs, alone, strict=True):
        assert_as_alone(job, expected)


@pytest.mark.parametrize(("rows", "ran"), [([0], 1), ([1], 2), ([0, 2], 4), ([3], 4), ([4], 6), ([5], 6)])
def test_steps_are_recorded_for_few_numbers_of_rows(recorded: Bark, rows: list[int], ran: int) -> None:
    loop = Loops(recorded._networks).coarse
    assert isinstance(loop, DeviceLoop)
    assert loop._span(rows, 6) == range(ran)


def test_the_next_engine_of_a_size_records_nothing(recorded: Bark) -> None:
    requests = [Request("hello", seed=seed, options=GenerationOptions(max_seconds=0.2)) for seed in range(2)]
    found = []
    for slots in (2, 2, 1):
        recorded.generate_batch(requests, slots=slots)
        gc.collect()
        found.append(recordings(recorded))
    assert found[0] == found[1] != found[2]
    assert {cache.rows for cache in recorded._networks.spare_caches.values()} == {1}


def test_all_recorded_steps_run_in_one_thread(recorded: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime has recordings of its own for each thread."""
    threads: set[int] = set()
    real = Graph.run_bound

    def noted(graph: Graph, binding: Any) -> None:
        if graph._captures:
            threads.add(get_ident())
        real(graph, binding)

    monkeypatch.setattr(Graph, "run_bound", noted)
    for _ in range(2):
        thread = Thread(target=lambda: recorded.generate("hello", voice=None, options=GREEDY, seed=1))
        thread.start()
        thread.join()
    assert len(threads) == 1
    assert get_ident() not in threads


def test_a_run_that_failed_keeps_nothing(recorded: Bark) -> None:
    """A KV cache for which memory was lacking must be freed at once, not when Python looks for cycles."""

    def failing() -> weakref.ref[Any]:
        cache = recorded._loops.coarse.new_cache()

        def work() -> None:
            raise BarkError(f"failed with {cache.rows} row")

        with pytest.raises(BarkError, match="failed with 1 row"):
            recorded._networks.run(work)
        return weakref.ref(cache)

    gc.collect()
    gc.disable()
    try:
        assert failing()() is None
    finally:
        gc.enable()


def test_an_engine_that_is_freed_does_not_change_which_spare_cache_is_taken(
    recorded: Bark, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python frees it in any thread, and at any time."""
    loop, spares = recorded._loops.coarse, recorded._networks.spare_caches
    left, other = loop.new_cache(3), loop.new_cache(2)
    monkeypatch.setitem(spares, "coarse", left)
    monkeypatch.setattr(KVCache, "clear", lambda *_: loop.release(other))
    assert loop.new_cache(3) is left
    assert spares["coarse"] is other


def test_recordings_are_limited(host: Bark, recorded: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MOST_RECORDINGS", BLOCK + 1)
    monkeypatch.setattr(networks_module, "_records", lambda *_, **__: True)
    bark = Bark(host.bundle, replace(host.device, samples=True))
    request = Request("hello", voice=None, options=GREEDY, seed=1)
    bark.generate_batch([request])
    with pytest.warns(BarkWarning, match="no more runs are recorded, after 9 in batches of many sizes") as warned:
        found = bark.generate_batch([request, request])
    assert len(warned) == 4  # graphs
    assert set(recordings(bark).values()) == {BLOCK + 1}
    expected = host.generate("hello", voice=None, options=GREEDY, seed=1)
    for speech in found:
        assert np.array_equal(speech.tokens.fine, expected.tokens.fine)


def test_an_interrupt_does_not_leave_a_run_behind(recorded: Bark) -> None:
    """The caller's memory must not be freed while the other thread runs."""
    begun, ended = Event(), Event()

    def work() -> None:
        begun.wait()
        interrupt_main()
        sleep(0.05)
        ended.set()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    begun.set()
    try:
        with pytest.raises(KeyboardInterrupt):
            recorded._networks.run(work)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.is_set()


@pytest.mark.parametrize(
    ("device", "low_memory", "expected"),
    [
        (Device("cuda", samples=True), False, True),
        (Device("cuda", samples=True), True, False),
        (Device("cuda"), False, False),
        (Device("tensorrt", samples=True), False, False),
        (Device("cuda", samples=True, options={"enable_cuda_graph": "0"}), False, False),
        (Device("cuda", samples=True, options={"user_compute_stream": "5"}), False, False),
    ],
)
def test_steps_are_recorded_by_default(gpu_bundle: Path, device: Device, low_memory: bool, expected: bool) -> None:
    opened = Bundle.open(gpu_bundle)
    static = replace(opened, manifest=replace(opened.manifest, kv_layout="static"))
    portable = replace(opened, manifest=replace(opened.manifest, kv_layout="portable"))
    assert networks_module._records(static, device, low_memory=low_memory) is expected
    assert not networks_module._records(portable, device, low_memory=low_memory)
    asked = replace(device, options={**device.options, "enable_cuda_graph": "1"})
    assert networks_module._records(portable, asked, low_memory=low_memory) is (
        device.name == "cuda" and device.samples and not low_memory and "user_compute_stream" not in device.options
    )


def test_only_graphs_with_steps_are_told_to_record() -> None:
    device = Device("cuda", options={"enable_cuda_graph": "1"}, samples=True, captures=True)
    assert device.providers(None, captures=True)[0][1]["enable_cuda_graph"] == "1"
    assert device.providers(None)[0][1]["enable_cuda_graph"] == "0"


def test_options_of_a_session_are_not_the_provider_s(host: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime takes some of a provider's options from the session's configuration, and refuses them elsewhere."""
    entry = "ep.cuda.fpa_intb_gemm"
    device = Device("cuda", options={entry: "1", "use_tf32": "1"})
    assert entry not in device.providers(None)[0][1]
    assert device.providers(None)[0][1]["use_tf32"] == "1"
    taken: list[ort.SessionOptions] = []
    real = ort.InferenceSession

    def session_of(path: Path, options: ort.SessionOptions, **named: Any) -> Any:
        taken.append(options)
        return real(path, options, **named)

    monkeypatch.setattr(ort, "InferenceSession", session_of)
    _ = Networks(host.bundle, replace(host.device, options={entry: "1"})).codec
    assert taken[0].get_session_config_entry(entry) == "1"


# The stream that sessions share on CUDA


class Told:
    """CUDA's runtime library: it notes its calls, and answers with an error code."""

    def __init__(self, code: int = 0) -> None:
        self.calls: list[str] = []
        self.code = code

    def __getattr__(self, name: str) -> Any:
        if name == "cudaGetErrorString":
            return lambda code: b"an illegal memory access was encountered"

        def call(*arguments: Any) -> int:
            self.calls.append(name)
            if name == "cudaStreamCreateWithFlags":
                arguments[0]._obj.value = 77
            return self.code

        return call


def test_a_block_is_waited_for_once_before_its_tokens_are_read(host: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    stream = Stream(0, 0)
    monkeypatch.setattr(Device, "with_stream", lambda device: replace(device, stream=stream))
    monkeypatch.setattr(stream, "wait", lambda: order.append("wait"))
    run, pull = Graph.run_bound, Feed.pull

    def noted_pull(feed: Feed) -> None:
        order.append("pull")
        pull(feed)

    def noted(graph: Graph, binding: Any) -> None:
        # The options of a run that is not recorded are None, unless it is not waited for.
        order.append("run, wait" if binding.options is None else "run")
        run(graph, binding)

    monkeypatch.setattr(Graph, "run_bound", noted)
    monkeypatch.setattr(Feed, "pull", noted_pull)
    loop = Loops(Networks(host.bundle, replace(host.device, samples=True))).coarse
    cache, sequence = loop.new_cache(), Counting(BLOCK + 1)
    assert loop.begin(cache, sequence, np.arange(40)) == {}
    assert order == ["run, wait", "run, wait", "pull"]
    order.clear()
    assert loop.step(cache, {0: sequence}) == {}
    assert order == [*["run"] * 2 * BLOCK, "wait", "pull"]


def test_a_block_is_waited_for_even_if_a_run_fails(host: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[int] = []
    loop = Loops(Networks(host.bundle, replace(host.device, samples=True))).coarse
    cache, sequence = loop.new_cache(), Counting(9)
    assert loop.begin(cache, sequence, np.arange(40)) == {}
    monkeypatch.setattr(Device, "wait", lambda _: waited.append(1))
    monkeypatch.setattr(Graph, "run_bound", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        loop.step(cache, {0: sequence})
    assert waited == [1]


def test_a_stream_is_created_when_it_is_needed_and_destroyed(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Told()
    monkeypatch.setattr(stream_module, "runtime_library", lambda: cuda)
    device = Device("cuda").with_stream()
    device.wait()
    assert cuda.calls == []  # nothing has run
    assert device.providers(None)[0][1]["user_compute_stream"] == "77"
    device.wait()
    del device
    gc.collect()
    made = ["cudaGetDevice", "cudaSetDevice", "cudaStreamCreateWithFlags", "cudaSetDevice"]
    assert cuda.calls == [*made, "cudaStreamSynchronize", "cudaStreamDestroy"]


def test_the_caller_s_stream_is_not_destroyed(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Told()
    monkeypatch.setattr(stream_module, "runtime_library", lambda: cuda)
    device = Device("cuda", options={"user_compute_stream": "5"}).with_stream()
    assert device.providers(None)[0][1]["user_compute_stream"] == "5"
    device.wait()
    del device
    assert cuda.calls == ["cudaStreamSynchronize"]
    with pytest.raises(DeviceError, match="user_compute_stream must be the address of a CUDA stream"):
        Device("cuda", options={"user_compute_stream": "main"}).with_stream()


def test_what_fails_on_the_gpu_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "runtime_library", lambda: Told(700))
    with pytest.raises(DeviceError, match=r"^device 'cuda' failed: CUDA error 700: an illegal memory access") as error:
        Stream(0, 5).wait()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("provider", [CUDA, TENSORRT])
def test_gpus_sample_and_cpus_do_not(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "bark_onnx.graphs.device.ort.get_available_providers", lambda: [provider, "CPUExecutionProvider"]
    )
    monkeypatch.setattr("bark_onnx.graphs.device.why_no_gpu", lambda *_: None)
    assert Device.choose({CUDA: "cuda", TENSORRT: "tensorrt"}[provider]).samples
    assert not Device.choose("cpu").samples
