"""The fast profile: fewer prefills and no padding. The default is the reference's."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from bark_onnx import Bark, GenerationOptions, Request
from bark_onnx.engine.stage_steps import FINE_ROWS
from bark_onnx.graphs.fine import FineModel
from bark_onnx.sampling.distribution import random_stream
from bark_onnx.stages.coarse import CoarseSequence
from bark_onnx.stages.fine import FineSequence, fine_windows
from run_command import SAY, assert_silent, run
from voices import make_voice

FAST = GenerationOptions.fast()
GREEDY_FAST = GenerationOptions.fast(text_temperature=0, coarse_temperature=0, fine_temperature=0, max_seconds=2)


def test_the_default_is_the_reference_s() -> None:
    assert GenerationOptions() == GenerationOptions(
        max_coarse_history=630, sliding_window=60, max_fine_history=512, fine_padding=True
    )
    assert GenerationOptions.fast(sliding_window=60, max_seconds=3).sliding_window == 60
    assert GenerationOptions.fast(max_seconds=3).max_seconds == 3


def test_it_fits_where_the_reference_s_windows_fit(bark: Bark) -> None:
    """A context of 257 + 630 + 60 positions, the least that a model has."""
    CoarseSequence(None, FAST, bark.vocabulary, 257 + 630 + 60, random_stream(0, "coarse"))


@pytest.mark.parametrize(("frames", "history"), [(1, 0), (100, 0), (384, 512), (511, 512)])
def test_a_single_window_has_no_padding(bark: Bark, frames: int, history: int) -> None:
    assert fine_windows(frames, history, bark.vocabulary, padding=False) == [(0, history, history + frames)]
    assert fine_windows(frames, history, bark.vocabulary, padding=True)[0].length == 1024


@pytest.mark.parametrize(("frames", "history"), [(512, 512), (1024, 0), (2000, 300)])
def test_longer_ones_have_the_reference_s_windows(bark: Bark, frames: int, history: int) -> None:
    padded, bare = (fine_windows(frames, history, bark.vocabulary, padding=padding) for padding in (True, False))
    assert padded == bare


def test_fine_codes_are_those_of_the_model_without_padding(bark: Bark) -> None:
    """They equal those of a plain loop over codebooks, without windows."""
    voice = make_voice(bark.vocabulary, 60)
    assert voice is not None
    coarse = np.random.default_rng(0).integers(0, bark.vocabulary.codebook_size, (2, 50))
    codes = np.full((8, voice.fine.shape[1] + 50), bark.vocabulary.codebook_size)  # pads
    codes[:, :-50] = voice.fine
    codes[:2, -50:] = coarse
    assert bark._networks is not None
    for codebook in range(2, 8):
        codes[codebook, -50:] = bark._networks.fine.logits(codes[None], codebook)[0, -50:].argmax(axis=-1)
    assert np.array_equal(bark.fine(coarse, voice=voice, options=GREEDY_FAST, seed=0), codes[:, -50:])


@pytest.mark.parametrize(("limit", "seen"), [(0, 0), (10, 10), (128, 90), (512, 90)])
def test_the_history_is_limited(bark: Bark, limit: int, seen: int) -> None:
    voice = make_voice(bark.vocabulary, 60)  # 90 frames
    options = GenerationOptions.fast(max_fine_history=limit)
    sequence = FineSequence(voice, options, bark.vocabulary, random_stream(0, "fine"))
    sequence.feed(np.zeros((2, 40), np.int64), ended=True)
    sequence.begin_window()
    assert voice is not None
    assert sequence.window.shape == (8, seen + 40)
    assert np.array_equal(sequence.window[:, :seen], voice.fine[:, 90 - seen :])


def test_half_the_prefills(bark: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    voice, semantic = make_voice(bark.vocabulary, 500), np.arange(256) % 100
    prefills: list[int] = []
    assert bark._networks is not None
    decoder = bark._networks.coarse
    real = decoder.prefill
    monkeypatch.setattr(decoder, "prefill", lambda *given, **named: prefills.append(1) or real(*given, **named))
    counts = []
    for options in (GenerationOptions(), FAST):
        prefills.clear()
        assert bark.coarse(semantic, voice=voice, options=options, seed=0).shape == (2, 384)
        counts.append(len(prefills))
    assert counts == [13, 6]


def test_utterances_together_are_those_alone(bark: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that fills several windows at once gets windows of several lengths."""
    monkeypatch.setitem(FINE_ROWS, "cpu", 8)
    lengths: list[int] = []
    real = FineModel.logits
    monkeypatch.setattr(FineModel, "logits", lambda m, codes, n: lengths.append(codes.shape[2]) or real(m, codes, n))
    requests = [
        Request("hello", voice=voice, seed=3, options=GREEDY_FAST)
        for voice in (None, make_voice(bark.vocabulary, 200), None)
    ]
    together = bark.generate_batch(requests)
    assert len(set(lengths)) == 2
    assert len(lengths) == 2 * 6
    for request, speech in zip(requests, together, strict=True):
        alone = bark.generate(request.text, voice=request.voice, options=GREEDY_FAST, seed=3)
        assert np.array_equal(alone.tokens.fine, speech.tokens.fine)


def test_an_exact_stream_waits_for_the_end_of_a_short_utterance(bark: Bark) -> None:
    sequence = FineSequence(None, FAST, bark.vocabulary, random_stream(0, "fine"))
    sequence.feed(np.zeros((2, 300), np.int64), ended=False)
    assert not sequence.can_begin
    sequence.feed(np.zeros((2, 1), np.int64), ended=True)
    sequence.begin_window()
    assert (sequence.window.shape, sequence.final, sequence.can_begin) == ((8, 301), 301, False)


def test_the_command(bark: Bark, bundle: Path, tmp_path: Path) -> None:
    assert_silent(run(*SAY, "--bundle", bundle, "--profile", "fast", "-o", tmp_path / "fast.wav"))
    expected = bark.generate("hello", options=GenerationOptions.fast(max_seconds=0.3), seed=7)
    waveform, _ = soundfile.read(tmp_path / "fast.wav", dtype="float32")
    assert np.abs(waveform - expected.waveform).max() < 1e-3
