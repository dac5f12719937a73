"""What a precision costs: the figures, the tokens they are measured on, and `verify --against`."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner, Result
from onnx import numpy_helper
from transformers import BarkModel

from bark_onnx import BundleError, VoiceError, VoicePreset
from bark_onnx.checks.compare import HIGHEST_SNR, compare_logits, signal_to_noise, spectral_distances
from bark_onnx.checks.excerpts import excerpts, find_voices
from bark_onnx.checks.quality import FIGURES, StageQuality, measure
from bark_onnx.command.cli import main
from bark_onnx.model.bundle import MANIFEST, STAGES, VOICES, Bundle, list_files
from conftest import VOICE, export, make_voice
from transformers_reference import PUBLISHED, Ids, causal_logits, flat_ids
from transformers_reference import one_torch_thread as one_torch_thread

TOKENS_STAGES = STAGES[:3]


def voice_of(length: int, seed: int = 1) -> VoicePreset:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 1024, (8, round(length * 75 / 49.9)))
    return VoicePreset(rng.integers(0, 10_000, length), codes[:2], codes)


def measured(reference: Path, candidate: Path, voice: VoicePreset, tokens: int = 60) -> dict[str, StageQuality]:
    return {stage.stage: stage for stage in measure(Bundle.open(reference), Bundle.open(candidate), [voice], tokens)}


def verify(candidate: Path, reference: Path, *arguments: str | Path) -> Result:
    command = ["verify", candidate, "--against", reference, *arguments]
    return CliRunner().invoke(main, list(map(str, command)))


def assert_fails(result: Result, status: int, *fragments: str) -> None:
    """The last line of the error names all of these; only bad usage has lines before it."""
    *usage, message = result.stderr.splitlines()
    assert result.exit_code == status, result.stderr or repr(result.exception)
    assert message.startswith("Error: ")
    assert status == 2 or not usage
    assert [fragment for fragment in fragments if fragment not in message] == [], message


def sign(bundle: Path, source: Path) -> Path:
    """Write a manifest that fits the changed files of a copy."""
    manifest = replace(Bundle.open(source).manifest, files=list_files(bundle))
    (bundle / MANIFEST).write_text(manifest.to_json())
    return bundle


def scaled(source: Path, target: Path, stage: str, factor: float) -> Path:
    """A copy of the bundle in which one matrix of an MLP is multiplied by a factor."""
    shutil.copytree(source, target)
    model = onnx.load(target / f"{stage}.onnx")
    (matrix, *_) = [tensor for tensor in model.graph.initializer if sorted(tensor.dims) == [32, 128]]
    matrix.CopyFrom(numpy_helper.from_array(factor * numpy_helper.to_array(matrix), matrix.name))
    onnx.save(model, target / f"{stage}.onnx")
    return sign(target, source)


@pytest.fixture(scope="module")
def int8(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(checkpoint, tmp_path_factory.mktemp("quality") / "int8", "int8")


@pytest.fixture(scope="module")
def int4(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(checkpoint, tmp_path_factory.mktemp("quality") / "int4", "int4")


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


def cross_entropy(logits: np.ndarray, targets: Ids) -> float:  # type: ignore[type-arg]
    return float(torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(targets)))


def test_the_likelihoods_are_those_of_transformers(model: BarkModel, bundle: Path) -> None:
    """On the same tokens, in prompts made here by suno-ai/bark's rules, with more than 630 codes of coarse history."""
    voice, space = voice_of(300), PUBLISHED
    ours = measured(bundle, bundle, voice, tokens=1000)

    tokens = voice.semantic[150:]
    ids = np.concatenate([np.full(256, space.text_pad), [space.semantic_infer], tokens[:-1]])
    history = np.concatenate([voice.semantic[:150], np.full(106, space.semantic_pad)])
    logits = causal_logits(model.semantic, ids, history)[256:, :10_001]
    expected = {"semantic": cross_entropy(logits, tokens)}

    flat, losses = flat_ids(voice.coarse.copy(), space)[: 2 * 450], []  # what 300 tokens stand for
    for start in range(0, len(flat), 60):
        now = round(start / (75 / 49.9 * 2))
        seen = voice.semantic[max(0, now - 209) :][:256]
        own, before = flat[start : start + 60], flat[max(0, start - 630) : start]
        prompt = [*seen, *[12_048] * (256 - len(seen)), 12_050, *before]
        logits = causal_logits(model.coarse_acoustics, np.array([*prompt, *own[:-1]]))[len(prompt) - 1 :]
        for row, token in zip(logits, own, strict=True):
            first = 10_000 + (token - 10_000) // 1024 * 1024
            losses.append(cross_entropy(row[None, first : first + 1024], np.array([token - first])))
    expected["coarse"] = float(np.mean(losses))

    losses = []
    for codebook in range(2, 8):
        window = np.full((8, 1024), 1024)
        window[:codebook, :451] = voice.fine[:codebook]
        logits = model.fine_acoustics(codebook, torch.tensor(window.T[None])).logits[0, :451, :1024].numpy()
        losses.append(cross_entropy(logits, voice.fine[codebook]))
    expected["fine"] = float(np.mean(losses))

    assert {stage: ours[stage].positions for stage in STAGES} == {
        "semantic": 150, "coarse": 900, "fine": 6 * 451, "codec": 451,
    }  # fmt: skip
    for stage in TOKENS_STAGES:
        assert ours[stage].nll == pytest.approx((expected[stage], expected[stage]), abs=1e-4)


def test_a_bundle_against_itself(bundle: Path) -> None:
    for stage in measured(bundle, bundle, voice_of(40)).values():
        assert stage.over == []
        if stage.stage == "codec":
            assert stage.figures == {"snr": HIGHEST_SNR, "lsd": 0}
        else:
            assert stage.figures == {"nll": 0, "kl": 0, "top_1": 1, "top_5": 1}


def test_precisions_are_in_their_order(bundle: Path, int8: Path, int4: Path) -> None:
    """By KL. On so few random tokens the NLL can also become lower."""
    voice = voice_of(80)
    narrow, narrower = measured(bundle, int8, voice), measured(bundle, int4, voice)
    for stage in TOKENS_STAGES:
        assert 0 < 10 * narrow[stage].figures["kl"] < narrower[stage].figures["kl"]
        assert narrower[stage].figures["top_1"] < narrow[stage].figures["top_1"] <= 1
        assert narrow[stage].over == []
    assert narrow["codec"].figures["snr"] == HIGHEST_SNR


def test_real_voices(bundle: Path, int8: Path, voices: Path) -> None:
    result = verify(int8, bundle, "--voice", voices / "announcer.npz", "--voice", voices / "v2" / "ja_speaker_2.npz")
    assert result.exit_code == 0, result.stderr
    rows = {row.split()[0]: row.split() for row in result.stdout.splitlines()[2:]}
    assert int(rows["semantic"][1]) == 256
    assert int(rows["coarse"][1]) == 2 * 6 * 60
    assert int(rows["fine"][1]) == 6 * (750 + 437)


# The tokens that are measured


def test_tokens_are_shared_out_and_bounded(bundle: Path) -> None:
    manifest, voice = Bundle.open(bundle).manifest, voice_of(900)
    (semantic,) = excerpts("semantic", voice, 10_000, manifest)
    assert len(semantic.targets) == 450
    coarse = list(excerpts("coarse", voice, 64, manifest))
    assert [len(part.targets) for part in coarse] == [60, 60, 60]
    assert max(len(part.prompt) for part in coarse) == 257 + 630  # type: ignore[attr-defined]
    assert len(list(excerpts("coarse", voice, 10_000, manifest))) == -(-PUBLISHED.coarse_length(768) // 60)
    assert {len(part.targets) for part in excerpts("fine", voice, 1, manifest)} == {1024}
    assert len(list(excerpts("coarse", voice_of(2), 1, manifest))) == 1


def test_no_network_sees_the_tokens_it_predicts(bundle: Path) -> None:
    manifest, voice = Bundle.open(bundle).manifest, voice_of(40)
    for part in excerpts("fine", voice, 40, manifest):
        assert (part.window[part.codebook :] == 1024).all()  # type: ignore[attr-defined]
        assert (part.window[: part.codebook, :60] == voice.fine[: part.codebook]).all()  # type: ignore[attr-defined]


def test_the_bundles_voices_or_named_ones_or_generated_ones(
    bundle: Path, bundle_with_voice: Path, tmp_path: Path
) -> None:
    own = find_voices(Bundle.open(bundle_with_voice), (), 60)
    assert list(own) == [VOICE]
    make_voice().save(tmp_path / "mine.npz")
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
        make_voice().save(target / VOICES / f"{letter}.npz")
    assert list(find_voices(Bundle.open(sign(target, bundle)), (), 60)) == ["b", "e", "h", "k"]


# The command


def test_a_table_and_the_same_as_json(bundle_with_voice: Path, int8: Path, tmp_path: Path) -> None:
    result = verify(int8, bundle_with_voice, "--tokens", "20", "--json", tmp_path / "figures.json")
    assert (result.exit_code, result.stderr) == (0, "")
    title, header, *rows = result.stdout.splitlines()
    assert title == f"int8 against fp32; 20 tokens; voice: {VOICE}"
    assert all(name in header for name in ("NLL reference", "difference", "KL", "top-1", "top-5", "SNR", "LSD"))
    assert [row.split()[0] for row in rows] == list(STAGES)

    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["reference"] == {"model": "bark-test", "precision": "fp32"}
    assert (figures["candidate"]["precision"], figures["tokens"], figures["voices"]) == ("int8", 20, [VOICE])
    for stage, row in zip(figures["stages"], rows, strict=True):
        assert stage["figures"].keys() == stage["limits"].keys()
        assert stage["over"] == []
        if stage["stage"] != "codec":
            a, b = stage["nll"]
            assert stage["figures"]["nll"] == pytest.approx(b - a)
            assert [f"{a:.4f}", f"{b:.4f}"] == row.split()[2:4]


def test_a_broken_graph_is_found(bundle: Path, tmp_path: Path) -> None:
    broken = scaled(bundle, tmp_path / "broken", "coarse", 2)
    result = verify(broken, bundle, "--tokens", "60", "--json", tmp_path / "figures.json")
    assert_fails(result, 1, "further", "coarse: ", "kl ", "(limit 1e-06)", "top_1 ")
    assert "semantic: " not in result.stderr
    assert "fine: " not in result.stderr
    assert result.stdout.count("over the limit") == 1
    assert [bool(stage["over"]) for stage in json.loads((tmp_path / "figures.json").read_text())["stages"]] == [
        False, True, False, False,
    ]  # fmt: skip
    generous = [f"--limit={limit}" for limit in ("nll=9", "kl=9", "top_1=0", "top_5=0")]
    assert verify(broken, bundle, "--tokens", "60", *generous).exit_code == 0


def test_values_that_are_not_numbers_are_an_error(bundle: Path, tmp_path: Path) -> None:
    broken = scaled(bundle, tmp_path / "broken", "semantic", math.nan)
    with pytest.raises(BundleError, match=r"broken: semantic.onnx returns values that are not numbers"):
        measured(bundle, broken, voice_of(20))


def test_limits_hold_for_every_stage(bundle: Path, int8: Path) -> None:
    result = verify(int8, bundle, "--tokens", "30", "--limit", "kl=1e-9", "--limit", "snr=200")
    assert_fails(
        result, 1, "semantic: kl ", "; coarse: kl ", "; fine: kl ", "(limit 1e-09)", "codec: snr 150 (limit 200)"
    )
    assert verify(int8, bundle, "--tokens", "30", "--limit", "kl=9", "--limit", "snr=150").exit_code == 0


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
    (other / MANIFEST).write_text(replace(manifest, vocabulary=replace(PUBLISHED, semantic_size=5_000)).to_json())
    assert_fails(verify(other, bundle), 1, "different models")
    assert_fails(verify(bundle, other), 1, "different models")
    make_voice().save(tmp_path / "mine.npz")
    with pytest.raises(VoiceError, match=r"mine\.npz: the voice does not fit this model"):
        find_voices(Bundle.open(other), [tmp_path / "mine.npz"], 60)


def test_every_figure_has_a_limit(bundle: Path) -> None:
    stages = measured(bundle, bundle, voice_of(4), 1).values()
    assert {name for stage in stages for name in stage.limits} == set(FIGURES)
