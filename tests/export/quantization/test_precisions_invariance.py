"""Batch invariance of every CPU precision, on random weights of a width at which kernels take several paths."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import invariance
from bark_onnx import Bark
from bark_onnx.engine.speech import Speech
from bark_onnx.graphs.device import Device
from bark_onnx.graphs.networks import Networks
from bark_onnx.model.bundle import Bundle
from bark_onnx_bench.checkpoints import SMALL_VOCABULARY, make_bark, save_huggingface, write_tokenizer
from bark_onnx_export.quantization.choice import rounded_matrices
from bark_onnx_export.quantization.passes import Passes, matrices
from bark_onnx_export.quantization.precision import Forms
from bark_onnx_export.quantization.rounding import Rounded, round_matrix
from generated import export
from tiny import SHORT_WINDOWS, sign

ALL_WIDE = pytest.param("mixed, all matrices wide", marks=pytest.mark.full)
W8A16 = pytest.param("w8a16", marks=pytest.mark.full)  # slow on CPUs
PRECISIONS = ("fp32", "int8", "int4", "mixed", "mixed, every second matrix wide", ALL_WIDE, W8A16)
SHORT = ("mixed", "w8a16")  # with short windows: the first has the fine graph of int8, the second is slow on CPUs
OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["prefill", "decode", "decode", "decode"]), st.integers(1, 255)), min_size=5, max_size=20
)


@pytest.fixture(scope="module")
def wide_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = make_bark(
        layers=2, heads=4, width=256, vocabulary=SMALL_VOCABULARY, seed=3, filters=2, codec_width=8
    )  # the codec has the sizes of the committed bundle's, so that it is traced only once in a run of the tests
    directory = save_huggingface(model, tmp_path_factory.mktemp("wide") / "checkpoint")
    write_tokenizer(directory)
    return directory


@pytest.fixture(scope="module", params=PRECISIONS)
def exported(request: pytest.FixtureRequest, wide_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    precision, _, wide = request.param.partition(", ")
    step = 1 if wide.startswith("all") else 2

    def widened(passes: Passes, forms: Forms, budget: float) -> dict[str, Rounded]:
        found, own = rounded_matrices(passes, forms, budget), matrices(passes.module)
        if forms.wide is None:
            return found
        return found | {name: round_matrix(own[name].weight, forms.wide) for name in [*found][::step]}

    with pytest.MonkeyPatch.context() as patch:
        if wide:
            patch.setattr("bark_onnx_export.graphs.export.rounded_matrices", widened)
        target = export(wide_checkpoint, tmp_path_factory.mktemp("wide") / "bundle", precision)
    if wide:
        formats = {*Bundle.open(target).manifest.matrices["coarse.step.onnx"].values()}
        assert formats == ({"int8"} if step == 1 else {"int8", "int4-128"})
    if precision in SHORT:
        sign(target, lambda manifest: replace(manifest, vocabulary=SHORT_WINDOWS))
    return target


@pytest.fixture(scope="module")
def model(exported: Path) -> Bark:
    return Bark.load(exported, device="cpu", threads=1)


@pytest.fixture(scope="module")
def decoders(exported: Path) -> Networks:
    """On two threads, which a kernel may share out differently for one row and for several."""
    return Networks(Bundle.open(exported), Device("cpu", 2))


@pytest.fixture(scope="module")
def alone(model: Bark) -> list[Speech]:
    return invariance.alone(model)


@pytest.mark.parametrize("stage", ["semantic", "coarse"])
@settings(max_examples=5, deadline=None, derandomize=True)
@given(operations=OPERATIONS, seed=st.integers(0, 2**32))
def test_a_row_has_the_same_logits_beside_any_others(
    decoders: Networks, stage: str, operations: list[tuple[str, int]], seed: int
) -> None:
    decoder = getattr(decoders, stage)
    invariance.assert_rows_do_not_depend_on_each_other(decoder, [("prefill", 0b10100), *operations], seed)


@settings(max_examples=2, deadline=None, derandomize=True)
@given(slots=st.integers(1, 8), order=st.permutations(range(len(invariance.TEXTS))))
def test_a_request_has_the_same_tokens_beside_any_others(
    model: Bark, alone: list[Speech], slots: int, order: list[int]
) -> None:
    invariance.assert_tokens_do_not_depend_on_company(model, alone, slots, order, None)
