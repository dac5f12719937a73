"""Where transformers differs from suno-ai/bark in what is sampled, Suno's rule holds."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import BarkModel, LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from bark_onnx import Bark, GenerationOptions
from bark_onnx.sampling.distribution import probabilities, random_stream
from bark_onnx.sampling.loops import Loops
from bark_onnx.stages.coarse import CoarseSequence, coarse_windows
from transformers_reference import GREEDY, PUBLISHED, causal_logits, flat_ids
from transformers_reference import one_torch_thread as one_torch_thread


def test_the_second_codebook_has_no_pad_or_infer_token_unlike_in_transformers(bark: Bark) -> None:
    """Suno samples codebook 1 from [11 024, 12 048), transformers from 11 024 on."""
    semantic = np.random.default_rng(0).integers(0, 10_000, 60)
    options, stream = GenerationOptions(coarse_temperature=50.0), random_stream(0, "coarse")
    loop = Loops(bark._networks).coarse
    sequence = CoarseSequence(None, options, PUBLISHED, bark._networks.sizes.coarse.context, stream)
    sequence.feed(semantic.tolist(), ended=True)
    list(coarse_windows(loop, loop.new_cache(), sequence))
    first, second = flat_ids(sequence.codes(), PUBLISHED).reshape(-1, 2).T
    assert 10_000 <= first.min() < 10_050 < 10_974 < first.max() < 11_024
    assert 11_024 <= second.min() < 11_074 < 11_998 < second.max() < 12_048


def test_codebooks_alternate_across_odd_windows_unlike_in_transformers(model: BarkModel, bark: Bark) -> None:
    """Suno alternates by the code's number, transformers by its place in the window."""
    semantic = np.random.default_rng(1).integers(0, 10_000, 14)
    ids = [*semantic, *[12_048] * (256 - 14), 12_050]
    for step in range(42):
        first = 10_000 + step % 2 * 1024
        logits = causal_logits(model.coarse_acoustics, np.array(ids))[-1, first : first + 1024]
        ids.append(first + int(logits.argmax()))
    codes = bark.coarse(semantic, voice=None, options=GenerationOptions(**GREEDY, sliding_window=7))
    np.testing.assert_array_equal(flat_ids(codes, PUBLISHED), ids[257:])


def test_fine_temperature_of_one_samples_unlike_in_transformers(bark: Bark) -> None:
    """transformers takes the argmax when the fine temperature is 1.0."""
    coarse = np.random.default_rng(2).integers(0, 1024, (2, 20))
    sampled = bark.fine(coarse, voice=None, options=GenerationOptions(fine_temperature=1.0), seed=1)
    near_argmax = bark.fine(coarse, voice=None, options=GenerationOptions(fine_temperature=0.01), seed=1)
    best = bark.fine(coarse, voice=None, options=GenerationOptions(fine_temperature=0.0))
    assert (sampled[2:] != best[2:]).mean() > 0.5
    assert (near_argmax[2] != best[2]).mean() < 0.5


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), [(0.5, 20, 0.8), (2.0, 30, 0.5), (0.3, 500, 0.95)])
def test_top_p_then_top_k_then_temperature_unlike_in_transformers(temperature: float, top_k: int, top_p: float) -> None:
    """Suno's order; transformers' own parts put in its own order keep other tokens."""
    logits = np.random.default_rng(5).normal(scale=2.0, size=1024).astype(np.float32)
    warpers = [TopPLogitsWarper(top_p), TopKLogitsWarper(top_k), TemperatureLogitsWarper(temperature)]

    def warped(order: list[Any]) -> NDArray[np.float32]:
        return LogitsProcessorList(order)(None, torch.tensor(logits[None])).softmax(-1)[0].numpy()

    ours = probabilities(logits, temperature, top_k, top_p)
    np.testing.assert_allclose(ours, warped(warpers), rtol=0, atol=1e-6)
    assert np.abs(ours - warped([warpers[2], warpers[1], warpers[0]])).max() > 1e-3
