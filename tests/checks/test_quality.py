"""What a precision costs: the figures, the tokens they are measured on, and `verify --against`."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bark_onnx import VoiceError, VoicePreset
from bark_onnx.checks.compare import HIGHEST_SNR, compare_logits, signal_to_noise, spectral_distances
from bark_onnx.checks.excerpts import excerpts, find_voices
from bark_onnx.checks.quality import FIGURES
from bark_onnx.command.cli import main
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.manifest import MANIFEST, VOICES
from quality import assert_fails, measured, verify
from tiny import SPACE, VOICE, sign
from voices import make_voice

# Figures


def test_token_figures_follow_their_definitions() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(40, 12)).astype(np.float32)
    b = (a + rng.normal(size=a.shape)).astype(np.float32)
    targets = rng.integers(12, size=40)
    for row, p, q, target in zip(compare_logits(a, b, targets), a, b, targets, strict=True):
        p, q = (np.exp(logits) / np.exp(logits).sum() for logits in (p.astype(float), q.astype(float)))
        kl = sum(x * math.log(x / y) for x, y in zip(p, q, strict=True))
        ranking = list(np.argsort(-q))
        expected = [-math.log(p[target]), -math.log(q[target]), kl]
        np.testing.assert_allclose(row[:3], expected, atol=1e-6)
        assert row[3:].tolist() == [ranking.index(p.argmax()) == 0, ranking.index(p.argmax()) < 5]


def test_waveform_figures_follow_their_definitions() -> None:
    noise, other = np.random.default_rng(0).normal(size=(2, 24_000)).astype(np.float32)
    assert signal_to_noise(noise, np.float32(1.1) * noise) == pytest.approx(20, abs=1e-3)
    assert signal_to_noise(noise, noise) == HIGHEST_SNR == -signal_to_noise(0 * noise, noise)
    np.testing.assert_allclose(spectral_distances(noise, 2 * noise), 20 * math.log10(2), atol=1e-4)
    np.testing.assert_allclose(spectral_distances(noise, noise + np.float32(1e-8) * other), 0, atol=1e-3)
    assert spectral_distances(noise, noise).shape == (1 + (24_000 - 1024) // 256,)
    assert spectral_distances(noise[:320], noise[:320]).tolist() == [0]
    assert spectral_distances(0 * noise, 0 * noise).max() == 0  # silence


def test_a_bundle_against_itself(bundle: Path) -> None:
    for stage in measured(bundle, bundle, make_voice(SPACE, 40)).values():
        assert stage.over == []
        if stage.stage == "codec":
            assert stage.figures == {"snr": HIGHEST_SNR, "lsd": 0}
        else:
            assert stage.figures == {"nll": 0, "kl": 0, "top_1": 1, "top_5": 1}


# The tokens that are measured


def test_tokens_are_shared_out_and_bounded(bundle: Path) -> None:
    manifest, voice = Bundle.open(bundle).manifest, make_voice(SPACE, 900)
    (semantic,) = excerpts("semantic", voice, 10_000, manifest)
    assert len(semantic.targets) == 450
    coarse = list(excerpts("coarse", voice, 64, manifest))
    assert [len(part.targets) for part in coarse] == [60, 60, 60]
    assert max(len(part.prompt) for part in coarse) == 257 + 630  # type: ignore[attr-defined]
    assert len(list(excerpts("coarse", voice, 10_000, manifest))) == -(-SPACE.coarse_length(768) // 60)
    assert {len(part.targets) for part in excerpts("fine", voice, 1, manifest)} == {1024}
    assert len(list(excerpts("coarse", make_voice(SPACE, 2), 1, manifest))) == 1


def test_no_network_sees_the_tokens_it_predicts(bundle: Path) -> None:
    manifest, voice = Bundle.open(bundle).manifest, make_voice(SPACE, 40)
    for part in excerpts("fine", voice, 40, manifest):
        assert (part.window[part.codebook :] == SPACE.codebook_size).all()  # type: ignore[attr-defined]
        assert (part.window[: part.codebook, :60] == voice.fine[: part.codebook]).all()  # type: ignore[attr-defined]


def test_the_bundles_voices_or_named_ones_or_generated_ones(
    bundle: Path, bundle_with_voice: Path, tmp_path: Path
) -> None:
    own = find_voices(Bundle.open(bundle_with_voice), (), 60)
    assert list(own) == [VOICE]
    make_voice(SPACE).save(tmp_path / "mine.npz")
    named = find_voices(Bundle.open(bundle), [tmp_path / "mine.npz"], 60)
    assert np.array_equal(named[str(tmp_path / "mine.npz")].fine, own[VOICE].fine)

    (first,), (again,) = (find_voices(Bundle.open(bundle), (), 30).values() for _ in range(2))
    assert first.semantic.shape == (30,)
    assert first.fine.shape == (8, 45)
    assert np.array_equal(first.coarse, first.fine[:2])
    assert np.array_equal(first.fine, again.fine)


def test_some_of_many_voices_are_used(bundle: Path, tmp_path: Path) -> None:
    target = shutil.copytree(bundle, tmp_path / "bundle")
    (target / VOICES).mkdir()
    for letter in "abcdefghijkl":
        make_voice(SPACE).save(target / VOICES / f"{letter}.npz")
    assert list(find_voices(Bundle.open(sign(target)), (), 60)) == ["b", "e", "h", "k"]


# The command


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["--limit", "top_2=1"], "one of nll, kl, top_1, top_5, snr, lsd"),
        (["--limit", "kl"], "'' in 'kl' is not a number"),
        (["--limit", "kl=low"], "'low'"),
        (["--limit", "kl=nan"], "'nan'"),
        (["--tokens", "0"], "--tokens"),
        (["--json", "figures.txt"], "--json"),
        (["--json", "nowhere/figures.json"], "--json"),
        (["--checkpoint", "here"], "exclude each other"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else "",
)
def test_bad_usage(bundle: Path, arguments: list[str], fragment: str) -> None:
    assert_fails(verify(bundle, bundle, *arguments), 2, fragment)


@pytest.mark.parametrize("arguments", [["--voice", "a"], ["--tokens", "9"], ["--limit", "kl=1"], ["--json", "a.json"]])
def test_options_that_go_with_another_bundle(bundle: Path, arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["verify", str(bundle), *arguments])
    assert_fails(result, 2, "go with --against")


def test_voices_that_cannot_be_used(bundle: Path, bundle_with_voice: Path, tmp_path: Path) -> None:
    assert_fails(verify(bundle, bundle, "--voice", "nobody"), 1, "no voice 'nobody'")
    assert_fails(
        verify(bundle_with_voice, bundle_with_voice, "--voice", "v2/en_speaker_7"), 1, f"did you mean {VOICE}?"
    )
    assert_fails(verify(bundle, bundle, "--voice", tmp_path / "none.npz"), 1, "none.npz: no such voice file")
    VoicePreset(np.zeros(1, int), np.zeros((2, 2), int), np.zeros((8, 2), int)).save(tmp_path / "short.npz")
    assert_fails(verify(bundle, bundle, "--voice", tmp_path / "short.npz"), 1, "short.npz: ", "one semantic token")


def test_another_model(bundle: Path, tmp_path: Path) -> None:
    """Neither the model nor its voices can be compared."""
    other = shutil.copytree(bundle, tmp_path / "other")
    manifest = Bundle.open(bundle).manifest
    (other / MANIFEST).write_text(replace(manifest, vocabulary=replace(SPACE, semantic_size=50)).to_json())
    assert_fails(verify(other, bundle), 1, "different models")
    assert_fails(verify(bundle, other), 1, "different models")
    make_voice(SPACE).save(tmp_path / "mine.npz")
    with pytest.raises(VoiceError, match=r"mine\.npz: the voice does not fit this model"):
        find_voices(Bundle.open(other), [tmp_path / "mine.npz"], 60)


def test_every_figure_has_a_limit(bundle: Path) -> None:
    stages = measured(bundle, bundle, make_voice(SPACE, 4), 1).values()
    assert {name for stage in stages for name in stage.limits} == set(FIGURES)
