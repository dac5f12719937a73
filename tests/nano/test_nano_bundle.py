"""The bundle that comes with the package: it is the export of nano's checkpoint, and a recogniser finds the words."""

from pathlib import Path

import numpy as np
import pytest

from bark_onnx import Bark, GenerationOptions
from bark_onnx.graphs.device import Device
from bark_onnx.graphs.networks import Networks
from bark_onnx.model.bundle import Bundle
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle
from bark_onnx_nano.judging.recognise import recognise, word_errors
from bark_onnx_nano.text.sentences import held_out
from bark_onnx_nano.units import voice_of
from generated import traced_once as traced_once

CHECKPOINT = Path(__file__).parents[2] / "export" / "bark_onnx_nano" / "bark-nano"
GREEDY = GenerationOptions(text_temperature=0, coarse_temperature=0, fine_temperature=0)
UNITS_OF = {"en_female": "slt", "en_male": "rms"}
WORD_ERRORS = {"en_female": 0.6, "en_male": 0.25}


@pytest.fixture(scope="module")
def nano() -> Bark:
    return Bark.load(device="cpu", threads=1)


def test_the_bundle_is_what_export_makes_of_the_checkpoint(nano: Bark, tmp_path: Path) -> None:
    """But for the KV cache of decode steps: the export gives it 8 bits, and the shipped bundle has one of fp32."""
    export_bundle(open_checkpoint(str(CHECKPOINT)), tmp_path / "nano", ExportOptions("int8"))
    again, shipped = Bundle.open(tmp_path / "nano"), nano.bundle
    assert (again.manifest.model, again.manifest.sizes, again.manifest.vocabulary) == (
        shipped.manifest.model, shipped.manifest.sizes, shipped.manifest.vocabulary
    )  # fmt: skip
    assert {*again.manifest.files} - {*shipped.manifest.files} == {
        "semantic.quantize_cache.onnx", "coarse.quantize_cache.onnx"
    }  # fmt: skip
    assert {*shipped.manifest.files} <= {*again.manifest.files}
    own, expected = (Networks(bundle, Device("cpu", 1)) for bundle in (again, shipped))
    random = np.random.default_rng(1)
    for stage in ("semantic", "coarse"):  # keys and values are scaled, and so rounded in another way
        prompt = random.integers(0, 300, 200)
        logits, known = (getattr(n, stage).prefill(getattr(n, stage).new_cache(), prompt) for n in (own, expected))
        assert np.linalg.norm(logits - known) < 0.1 * np.linalg.norm(known)
    codes = random.integers(0, 100, (1, 8, nano.vocabulary.fine_window))
    assert np.array_equal(*(n.fine.logits(codes, 3) for n in (own, expected)))
    assert np.array_equal(*(n.codec.decode(codes[0, :, :90]) for n in (own, expected)))


@pytest.mark.parametrize("voice", UNITS_OF)
def test_each_voice_has_its_own_units(nano: Bark, voice: str) -> None:
    speech = nano.generate(held_out()[0], voice=voice, options=GREEDY, seed=0)
    assert voice_of(speech.tokens.semantic) == UNITS_OF[voice]


@pytest.mark.parametrize("voice", [pytest.param("en_female", marks=pytest.mark.full), "en_male"])
def test_a_recogniser_hears_the_words(nano: Bark, voice: str) -> None:
    """As few sentences tell: the model card has the figures of all."""
    sentences = held_out()[::12]
    speeches = [nano.generate(sentence, voice=voice, options=GREEDY, seed=0) for sentence in sentences]
    heard = [recognise(speech.waveform, speech.sample_rate) for speech in speeches]
    assert word_errors(sentences, heard).rate < WORD_ERRORS[voice]
    assert {voice_of(speech.tokens.semantic) for speech in speeches} == {UNITS_OF[voice]}
