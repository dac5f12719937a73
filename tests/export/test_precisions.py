"""What each precision costs: measured on exported bundles, and compared with transformers on the same tokens."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from transformers import BarkModel

from bark_onnx import BundleError
from bark_onnx.checks.compare import HIGHEST_SNR
from bark_onnx.model.manifest import STAGES, VOICES
from generated import export
from quality import TOKENS_STAGES, assert_fails, measured, verify
from tiny import VOICE, sign
from transformers_reference import PUBLISHED, Ids, causal_logits, flat_ids
from transformers_reference import one_torch_thread as one_torch_thread
from voices import make_voice


def scaled(source: Path, target: Path, stage: str, factor: float) -> Path:
    """A copy of the bundle in which one matrix of an MLP is multiplied by a factor."""
    shutil.copytree(source, target)
    model = onnx.load(target / f"{stage}.onnx")
    (matrix, *_) = [tensor for tensor in model.graph.initializer if sorted(tensor.dims) == [32, 128]]
    matrix.CopyFrom(numpy_helper.from_array(factor * numpy_helper.to_array(matrix), matrix.name))
    onnx.save(model, target / f"{stage}.onnx")
    return sign(target)


@pytest.fixture(scope="module")
def bundle_with_voice(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fp32 bundle with one voice in it."""
    directory = shutil.copytree(bundle, tmp_path_factory.mktemp("with-voice") / "bundle")
    path = directory / VOICES / f"{VOICE}.npz"
    path.parent.mkdir(parents=True)
    make_voice(PUBLISHED).save(path)
    return sign(directory)


@pytest.fixture(scope="module")
def int8(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(checkpoint, tmp_path_factory.mktemp("quality") / "int8", "int8")


@pytest.fixture(scope="module")
def int4(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(checkpoint, tmp_path_factory.mktemp("quality") / "int4", "int4")


def cross_entropy(logits: np.ndarray, targets: Ids) -> float:  # type: ignore[type-arg]
    return float(torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(targets)))


def test_the_likelihoods_are_those_of_transformers(model: BarkModel, bundle: Path) -> None:
    """On the same tokens, in prompts made here by suno-ai/bark's rules, with more than 630 codes of coarse history."""
    voice, space = make_voice(PUBLISHED, 300), PUBLISHED
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


def test_precisions_are_in_their_order(bundle: Path, int8: Path, int4: Path) -> None:
    """By KL. On so few random tokens the NLL can also become lower."""
    voice = make_voice(PUBLISHED, 80)
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
    assert_fails(result, 1, "further", "coarse: ", "kl ", "(limit 1e-08)", "top_1 ")
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
        measured(bundle, broken, make_voice(PUBLISHED, 20))


def test_limits_hold_for_every_stage(bundle: Path, int8: Path) -> None:
    result = verify(int8, bundle, "--tokens", "30", "--limit", "kl=1e-9", "--limit", "snr=200")
    assert_fails(
        result, 1, "semantic: kl ", "; coarse: kl ", "; fine: kl ", "(limit 1e-09)", "codec: snr 150 (limit 200)"
    )
    assert verify(int8, bundle, "--tokens", "30", "--limit", "kl=9", "--limit", "snr=150").exit_code == 0
