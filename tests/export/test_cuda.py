"""A GPU gives the tokens of the CPU. Skipped without a GPU; `make gpu-report` runs these tests on one."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bark_onnx import Bark, GenerationOptions, Request
from bark_onnx.graphs import device as device_module
from bark_onnx.graphs.causal_graph import CAUSAL_INPUTS, cache_names
from bark_onnx.sampling.device import DeviceLoop
from generated import export
from voices import voice_or_none

pytestmark = pytest.mark.skipif(
    "CUDAExecutionProvider" not in device_module.ort.get_available_providers()
    or device_module.why_no_gpu() is not None,
    reason="no GPU answers here, or this ONNX Runtime has no CUDA",
)
GREEDY = GenerationOptions(text_temperature=0, coarse_temperature=0, fine_temperature=0, max_seconds=1)


@pytest.fixture(scope="module")
def bundles(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("gpu")
    wanted = {"fp32": ("fp32", "portable"), "portable": ("fp16", "portable")}
    wanted |= {precision: (precision, "static") for precision in ("fp16", "bf16", "w8a16", "w4a16")}
    return {name: export(checkpoint, directory / name, *way) for name, way in wanted.items()}


@pytest.mark.parametrize("length", [0, 300])
def test_fp32_has_the_tokens_of_the_cpu(bark: Bark, bundles: dict[str, Path], length: int) -> None:
    gpu, voice = Bark.load(bundles["fp32"], device="cuda"), voice_or_none(bark.vocabulary, length)
    assert gpu.device.name == "cuda"
    speech, expected = (
        model.generate("the world is music", voice=voice, options=GREEDY, seed=0) for model in (gpu, bark)
    )
    for name in ("semantic", "coarse", "fine"):
        assert np.array_equal(getattr(speech.tokens, name), getattr(expected.tokens, name))
    assert np.abs(speech.waveform - expected.waveform).max() < 1e-3


@pytest.mark.parametrize(
    ("name", "limit"), [("fp16", 2e-2), ("portable", 2e-2), ("bf16", 5e-2), ("w8a16", 0.1), ("w4a16", 0.4)]
)
def test_precisions_are_close(bark: Bark, bundles: dict[str, Path], name: str, limit: float) -> None:
    """Logits after the same prompt and tokens agree within the precision's rounding."""
    gpu, prompt = Bark.load(bundles[name], device="cuda"), np.arange(300)
    assert gpu._networks is not None
    assert bark._networks is not None
    found = []
    for networks in (gpu._networks, bark._networks):
        decoder = networks.semantic
        cache = decoder.new_cache()
        logits = [decoder.prefill(cache, prompt).copy()]
        logits += [decoder.decode_step(cache, [token])[0].copy() for token in (5, 6, 7)]
        found.append(np.stack(logits))
    error = np.sqrt(((found[0] - found[1]) ** 2).mean() / (found[1] ** 2).mean())
    assert error < limit


def test_rows_together_have_the_tokens_of_each_alone(bundles: dict[str, Path]) -> None:
    gpu = Bark.load(bundles["fp32"], device="cuda")
    voices = [voice_or_none(gpu.vocabulary, length) for length in (0, 200, 400)]
    requests = [Request("hello", voice=voice, seed=seed, options=GREEDY) for seed, voice in enumerate(voices)]
    for request, speech in zip(requests, gpu.generate_batch(requests), strict=True):
        alone = gpu.generate(request.text, voice=request.voice, options=GREEDY, seed=request.seed)
        assert np.array_equal(speech.tokens.fine, alone.tokens.fine)


def test_a_stream_has_the_same_codes(bundles: dict[str, Path]) -> None:
    gpu = Bark.load(bundles["fp32"], device="cuda")
    stream = gpu.stream("hello", options=GREEDY, seed=1)
    assert len(list(stream)) > 1
    assert stream.speech is not None
    assert np.array_equal(stream.speech.tokens.coarse, gpu.generate("hello", options=GREEDY, seed=1).tokens.coarse)


@pytest.mark.parametrize("name", ["fp32", "fp16", "portable", "bf16", "w4a16"])
@pytest.mark.parametrize("sampling", [{}, {"top_k": 9}, {"top_p": 0.7}])
def test_tokens_sampled_on_the_gpu_are_those_sampled_here(
    bundles: dict[str, Path], name: str, sampling: dict[str, float]
) -> None:
    """Not recorded: recorded steps pass another total to the attention, which then adds up in another order."""
    options = GenerationOptions(max_seconds=1, **sampling)  # type: ignore[arg-type]
    found = []
    for samples in (True, False):
        gpu = Bark.load(bundles[name], device="cuda", provider_options={"enable_cuda_graph": "0"})
        gpu = Bark(gpu.bundle, replace(gpu.device, samples=samples))
        found.append(gpu.generate("the world is music", voice=None, options=options, seed=4).tokens)
    for tokens in ("semantic", "coarse", "fine"):
        assert np.array_equal(getattr(found[0], tokens), getattr(found[1], tokens))


def test_the_fused_attention_runs_on_the_gpu(bundles: dict[str, Path], tmp_path: Path) -> None:
    """According to ONNX Runtime's own profile, for a prefill and for decode steps."""
    gpu = Bark.load(bundles["fp16"], device="cuda")
    options = device_module.ort.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    path = gpu.bundle.graph("coarse")
    session = device_module.ort.InferenceSession(path, options, providers=gpu.device.providers(None))
    size = gpu.bundle.manifest.sizes.coarse
    cache = np.zeros((1, size.heads, size.context, size.head_size), np.float16)
    for start, count in ((0, 20), (20, 1)):
        ids = np.zeros((1, count), np.int64)
        end = np.array(start + count, np.int32)
        inputs = dict(zip(CAUSAL_INPUTS, (ids, ids, ids, end[None] - 1, end), strict=True))
        session.run(None, inputs | dict.fromkeys(cache_names("past", size.layers), cache))
    events = json.loads(Path(session.end_profiling()).read_text())
    ran = {(own["op_name"], own["provider"]) for event in events if "provider" in (own := event.get("args", {}))}
    assert ("GroupQueryAttention", device_module.CUDA) in ran
    assert {provider for op, provider in ran if op in ("GroupQueryAttention", "MatMul")} == {device_module.CUDA}


@pytest.mark.parametrize("name", ["fp16", "portable", "bf16", "w8a16", "w4a16"])
def test_recorded_steps_make_the_same_tokens(
    bundles: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both with the whole context as the total, since the attention adds up in another order for another total."""
    monkeypatch.setattr(
        DeviceLoop, "_totals", lambda loop, lengths: np.full(len(lengths), loop._decoder.size.context)
    )  # fmt: skip
    options = GenerationOptions(max_seconds=1)
    found = []
    for recorded in ("0", "1"):
        gpu = Bark.load(bundles[name], device="cuda", provider_options={"enable_cuda_graph": recorded})
        assert gpu.device.captures == (recorded == "1")
        gpu.generate("hello", voice=None, options=options, seed=1)  # records
        found.append(gpu.generate("the world is music", voice=None, options=options, seed=4).tokens)
    assert np.array_equal(found[0].fine, found[1].fine)
