"""Decode loops that stay on the device, run on the CPU: graphs sample the tokens of the host, with all that follows."""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bark_onnx import Bark, BarkError, GenerationOptions, Request
from bark_onnx.checks.compare import check_graphs
from bark_onnx.engine import engine as engine_module
from bark_onnx.graphs.decoder import KVCache
from bark_onnx.graphs.device import CUDA, TENSORRT, Device
from bark_onnx.graphs.models import FineWindow
from bark_onnx.graphs.resident import BLOCK, ResidentDecoder, ResidentFine
from bark_onnx.graphs.session import Graph
from bark_onnx.model.bundle import MANIFEST, Bundle, list_files
from bark_onnx.sampling.sampling import Rule, random_stream
from bark_onnx_export.graph import sampler_graph
from conftest import export
from utterances import Alone, assert_as_alone, make_voice

GREEDY = GenerationOptions(text_temperature=0, coarse_temperature=0, fine_temperature=0, max_seconds=0.7)


@pytest.fixture(scope="module")
def resident(small: Bark) -> Bark:
    """The same bundle on the same device, but sampled in graphs."""
    return Bark(small.bundle, replace(small.device, resident=True))


def assert_same(found: Any, expected: Any) -> None:
    for name in ("semantic", "coarse", "fine"):
        assert np.array_equal(getattr(found.tokens, name), getattr(expected.tokens, name)), name
    assert np.array_equal(found.waveform, expected.waveform)


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
def test_an_utterance_is_the_host_s(small: Bark, resident: Bark, voice_length: int, options: GenerationOptions) -> None:
    voice = make_voice(small.vocabulary, voice_length)
    expected, found = (bark.generate("the world is music", voice, options, seed=3) for bark in (small, resident))
    assert_same(found, expected)


def test_it_is_these_classes_that_run(resident: Bark) -> None:
    assert resident._networks is not None
    networks = resident._networks
    assert isinstance(networks.semantic, ResidentDecoder)
    assert isinstance(networks.coarse, ResidentDecoder)
    assert isinstance(networks.fine, ResidentFine)


@pytest.mark.parametrize("slots", [1, 3, 9])
def test_an_engine_s_utterances_are_those_alone_on_the_host(resident: Bark, alone: list[Alone], slots: int) -> None:
    engine = resident.engine(slots)
    jobs = [engine.submit(expected.request) for expected in alone]
    while engine.step():
        pass
    for job, expected in zip(jobs, alone, strict=True):
        assert_as_alone(job, expected)


def test_windows_together(small: Bark, resident: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engine_module.FINE_ROWS, "cpu", 8)
    voices = [make_voice(small.vocabulary, length) for length in (0, 300, 0, 500)]
    requests = [Request("hello", voice, seed, GREEDY) for seed, voice in enumerate(voices)]
    for request, speech in zip(requests, resident.generate_batch(requests), strict=True):
        expected = small.generate(request.text, request.voice, GREEDY, seed=request.seed)
        assert np.array_equal(speech.tokens.fine, expected.tokens.fine)


def test_low_memory(small: Bark) -> None:
    bark = Bark(small.bundle, replace(small.device, resident=True), low_memory=True)
    options = GenerationOptions(max_seconds=0.4)
    assert_same(bark.generate("hello", None, options, seed=5), small.generate("hello", None, options, seed=5))


@pytest.mark.parametrize(
    ("precision", "layout"), [("fp16", "static"), ("fp16", "portable"), ("w8a16", "static"), ("w4a16", "static")]
)
def test_in_half_precision(checkpoint: Path, tmp_path: Path, precision: str, layout: str) -> None:
    """What a GPU runs."""
    bundle = Bundle.open(export(checkpoint, tmp_path / "bundle", precision, layout))
    device = Device("cpu", 2)
    options = GenerationOptions(max_seconds=0.3)
    expected, found = (
        Bark(bundle, replace(device, resident=on)).generate("hello", None, options, seed=2) for on in (False, True)
    )
    assert_same(found, expected)


def test_a_block_goes_on_with_what_the_cache_holds(small: Bark, resident: Bark) -> None:
    """After blocks, the cache knows its ids: the next window's prompt is prefilled no more than on the host."""
    held = []
    for bark in (small, resident):
        assert bark._networks is not None
        decoder = bark._networks.semantic
        cache = decoder.new_cache()
        sequence = Counting(2 * BLOCK + 3)
        assert decoder.begin(cache, sequence, np.arange(40)) == {}
        while sequence.left:
            assert decoder.go_on(cache, {0: sequence}) == {}
        held.append(_held(cache))
    assert held[0] == held[1]
    assert len(held[0]) == 40 + 2 * BLOCK + 2


@dataclass
class Counting:
    """A sequence that takes a number of tokens, of whatever kind."""

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


# What goes wrong


def test_broken_logits_are_one_line(small: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    bark = Bark(small.bundle, replace(small.device, resident=True))
    assert bark._networks is not None
    decoder = bark._networks.semantic
    real = decoder._prefill_into

    def spoilt(cache: KVCache, logits: Any, *arguments: Any) -> None:
        real(cache, logits, *arguments)
        logits.owner[:] = np.nan

    monkeypatch.setattr(decoder, "_prefill_into", spoilt)
    with pytest.raises(BarkError, match="logits that are not numbers"):
        bark.generate("hello")


def test_one_broken_window_of_several(resident: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resident._networks is not None
    model = resident._networks.fine
    assert isinstance(model, ResidentFine)
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
    errors = model.fill(windows, 2)
    assert list(errors) == [0]
    assert "not numbers" in str(errors[0])
    assert np.array_equal(windows[0].codes, before)
    assert (windows[1].codes[2:, 10:] != 0).any()
    assert (windows[1].codes[:, :10] == 0).all()


def test_fewer_codebooks_given(small: Bark, resident: Bark) -> None:
    for given_codebooks in (1, 3):
        codes = np.zeros((given_codebooks, 90), np.int64)
        assert np.array_equal(resident.fine(codes, seed=1), small.fine(codes, seed=1))


# Recorded decode steps


def test_only_steps_that_repeat_are_recorded(small: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the CUDA provider's `enable_cuda_graph`; here on the CPU, which takes the run's options and ignores them."""
    monkeypatch.setattr(Device, "captures", True)
    made: list[Any] = []
    real = Graph._run_options

    def kept(graph: Graph, *, repeated: bool) -> Any:
        options = real(graph, repeated=repeated)
        made.append((graph.name, repeated, None if options is None else options.get_run_config_entry("gpu_graph_id")))
        return options

    monkeypatch.setattr(Graph, "_run_options", kept)
    bark = Bark(small.bundle, replace(small.device, resident=True))
    options = GenerationOptions(max_seconds=0.6)
    assert_same(bark.generate("hello", None, options, seed=1), small.generate("hello", None, options, seed=1))
    steps = [(name, number) for name, repeated, number in made if repeated]
    assert len(set(steps)) == len(steps) >= 4 * BLOCK  # every recording has a number of its own in its graph
    assert {name for name, _ in steps} == {
        "semantic.onnx",
        "semantic.sampler.onnx",
        "coarse.onnx",
        "coarse.sampler.onnx",
    }
    assert {number for _, repeated, number in made if not repeated} == {"-1", None}


def test_what_is_asked_of_cuda() -> None:
    asked = Device("cuda", options={"enable_cuda_graph": "1"}, resident=True)
    assert asked.captures
    assert asked.providers(None, captures=True)[0][1]["enable_cuda_graph"] == "1"
    assert "enable_cuda_graph" not in asked.providers(None)[0][1]
    assert not Device("cuda", resident=True).captures
    assert not replace(asked, resident=False).captures


@pytest.mark.parametrize("provider", [CUDA, TENSORRT])
def test_gpus_sample_for_themselves(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "bark_onnx.graphs.device.ort.get_available_providers", lambda: [provider, "CPUExecutionProvider"]
    )
    monkeypatch.setattr("bark_onnx.graphs.device._gpu_answers", lambda *_: True)
    assert Device.choose({CUDA: "cuda", TENSORRT: "tensorrt"}[provider]).resident
    assert not Device.choose("cpu").resident


def test_verify_finds_a_sampling_graph_that_is_wrong(small: Bark, tmp_path: Path) -> None:
    """Right hashes, right inputs, wrong tokens."""
    directory = shutil.copytree(small.bundle.directory, tmp_path / "bundle")
    check_graphs(Bundle.open(directory))
    space = small.vocabulary
    wrong = sampler_graph(space.semantic_choices, 1, ranked=True)  # ids that begin with 1 instead of 0
    (directory / "semantic.ranked.onnx").write_bytes(wrong)
    manifest = replace(small.bundle.manifest, files=list_files(directory))
    (directory / MANIFEST).write_text(manifest.to_json())
    with pytest.raises(BarkError, match="the graphs that sample the semantic stage choose wrong tokens"):
        check_graphs(Bundle.open(directory))
