"""The roofline: counts of work, compared with numbers computed by hand for bark-small and with exported graphs."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from bark_onnx.errors import BarkError
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.manifest import CausalPrecision, GraphPrecision
from bark_onnx.model.sizes import CodecSize, TransformerSize
from bark_onnx_bench.roofline.limits import Limits, floor, measure_limits
from bark_onnx_bench.roofline.work import (
    Work,
    codec_weights,
    codec_work,
    decode_work,
    fine_work,
    matrix_bytes,
    prefill_work,
)

SMALL = TransformerSize(12, 12, 768, 1024, 12_096, 12_096)
INT8 = CausalPrecision("int8", "fp16", "fp32", "int8")
FP32 = CausalPrecision("fp32", "fp32", "fp32", "fp32")
CHOICES = 2048

# bark-small, by hand: a layer has 12 * 768^2 = 7 077 888 weights, twelve have 84 934 656, the head 2048 * 768 =
# 1 572 864; a layer has 9 * 768 = 6912 outputs, each with a scale of 4 bytes in int8.


def test_a_decode_step_reads_the_weights_and_the_cache() -> None:
    weights = 84_934_656 + 12 * 6_912 * 4 + 1_572_864 + 2_048 * 4
    cache = 44_236_800  # 2 * 12 layers * 600 positions * 768 * 4 bytes
    assert decode_work(SMALL, INT8, CHOICES, 600) == Work(weights + cache, {"int8": 86_507_520, "fp32": 11_059_200})
    assert decode_work(SMALL, FP32, CHOICES, 600) == Work(4 * 86_507_520 + cache, {"fp32": 86_507_520 + 11_059_200})


def test_rows_share_the_weights_but_not_the_cache() -> None:
    alone, together = decode_work(SMALL, INT8, CHOICES, 600), decode_work(SMALL, INT8, CHOICES, 600, rows=16)
    assert together.bytes_read - alone.bytes_read == 15 * 44_236_800
    assert together.multiply_adds == {form: 16 * count for form, count in alone.multiply_adds.items()}


def test_a_prefill_counts_one_position_of_the_last_layer_and_half_of_the_attention() -> None:
    work = prefill_work(SMALL, INT8, CHOICES, 887)
    whole_layers = 11 * 7_077_888 * 887
    last_layer = 2 * 589_824 * 887 + 10 * 589_824
    assert work.multiply_adds == {
        "int8": whole_layers + last_layer + 1_572_864,  # 70 112 772 096
        "fp32": 2 * 768 * (11 * 393_828 + 887),  # 887 * 888 / 2 pairs; 6 655 480 320
    }
    assert work.multiply_adds["int8"] == 70_112_772_096
    assert work.bytes_read == decode_work(SMALL, INT8, CHOICES, 0).bytes_read


def test_a_prefill_of_one_position_is_as_much_work_as_a_decode_step() -> None:
    assert prefill_work(SMALL, FP32, CHOICES, 1).multiply_adds == decode_work(SMALL, FP32, CHOICES, 1).multiply_adds


def test_a_fine_pass_has_full_attention_and_an_unquantised_head() -> None:
    work = fine_work(SMALL, GraphPrecision("int8", "fp16"), 1024, 1024)
    attention, head = 19_327_352_832, 805_306_368  # 2 * 12 * 1024^2 * 768; 1024 * 1024 * 768
    assert work.multiply_adds == {"int8": 86_973_087_744, "fp32": attention + head}
    assert work.bytes_read == 84_934_656 + 12 * 6_912 * 4 + 1_572_864


def test_each_codec_layer_is_used_at_its_own_rate() -> None:
    assert list(codec_weights(CodecSize())) == [
        (458_752, 1), (4_194_304, 1),
        (2_097_152, 1), (196_608, 8),
        (327_680, 8), (49_152, 40),
        (65_536, 40), (12_288, 160),
        (8_192, 160), (3_072, 320),
        (224, 320),
    ]  # fmt: skip
    assert codec_work(CodecSize(), 384) == Work(4 * 7_412_960, {"fp32": 384 * 19_863_552})


def test_the_bytes_of_a_matrix_include_its_scales() -> None:
    sizes = {form: matrix_bytes((768, 3072), form) for form in ("fp32", "fp16", "int8", "int4-32", "int8-32")}
    weights = 768 * 3072
    assert sizes["fp32"] == 2 * sizes["fp16"] == 4 * weights
    assert sizes["int8"] == weights + 4 * 3072
    assert sizes["int4-32"] == weights / 2 + 4 * 24 * 3072
    assert sizes["int8-32"] == weights + 4 * 24 * 3072
    assert matrix_bytes((768, 3072), "bf16") == sizes["fp16"]
    assert matrix_bytes((768, 3072), "int8-32", scale=2) == weights + 2 * 24 * 3072
    for form in ("int3", "int4", "int4-x"):
        with pytest.raises(BarkError, match=f"no floor is known for matrices stored as {form}"):
            matrix_bytes((768, 3072), form)


def test_int4_is_read_as_4_bits_and_multiplied_as_8_bits() -> None:
    work = decode_work(SMALL, CausalPrecision("int4", "fp16", "fp32", "int4"), CHOICES, 0)
    assert work.bytes_read == 86_507_520 // 2 + 4 * 86_507_520 // 32
    assert work.multiply_adds == {"int8": 86_507_520, "fp32": 0}


def test_the_formats_of_the_manifest_are_counted() -> None:
    precision = CausalPrecision("int8", "fp16", "int8", "int4-128")
    narrow = decode_work(SMALL, precision, CHOICES, 0).bytes_read
    wide = {"head": "int8", "blocks.3.mlp.up": "int8"}
    assert decode_work(SMALL, precision, CHOICES, 0, forms=wide).bytes_read - narrow == (
        (1_572_864 + 2_359_296) // 2 - 4 * 5 * (2_048 + 3_072)  # one scale for each output instead of six
    )
    weight_only = CausalPrecision("w4a16", "fp16", "fp16", "w4a16")
    assert decode_work(SMALL, weight_only, CHOICES, 0).bytes_read == 84_934_656 * (0.5 + 2 / 32) + 2 * 1_572_864


def test_the_slower_of_reading_and_multiplying_is_the_floor() -> None:
    limits = Limits(32e9, {"fp32": 100e9, "int8": 400e9})
    step = floor(decode_work(SMALL, INT8, CHOICES, 600), limits)
    assert (step.bound_by, step.seconds) == ("bandwidth", pytest.approx((131_169_280 - 12 * 6_912 - 2_048) / 32e9))
    prefill = floor(prefill_work(SMALL, INT8, CHOICES, 887), limits)
    assert prefill.bound_by == "arithmetic"
    assert prefill.seconds == pytest.approx(70_112_772_096 / 400e9 + 6_655_480_320 / 100e9)


# The exported graphs have as many weights as are counted


def test_the_causal_graphs_have_the_counted_weights(bundle: Path) -> None:
    manifest = Bundle.open(bundle).manifest
    for stage in ("semantic", "coarse"):
        size, precision = getattr(manifest.sizes, stage), getattr(manifest.precisions, stage)
        choices = getattr(manifest.vocabulary, f"{stage}_choices")
        counted = decode_work(size, precision, choices, context=0).bytes_read
        assert counted == 4 * sum(_matrix_products(bundle / f"{stage}.onnx"))


def test_the_codec_has_the_counted_weights(bundle: Path) -> None:
    """Those that its products read, without biases and codebooks."""
    size, model = Bundle.open(bundle).manifest.sizes.codec, onnx.load(bundle / "codec.onnx")
    weights, last = _elements(model), {"Conv": 2, "ConvTranspose": 2, "LSTM": 3}  # the input after the last weight
    nodes = [node for node in model.graph.node if node.op_type in last]
    found = sum(weights[name] for node in nodes for name in node.input[1 : last[node.op_type]])
    assert found == sum(count for count, _ in codec_weights(size))


def _matrix_products(path: Path) -> list[int]:
    model = onnx.load(path)
    weights = _elements(model)
    return [weights[node.input[1]] for node in model.graph.node if node.op_type in ("MatMul", "Gemm")]


def _elements(model: onnx.ModelProto) -> dict[str, int]:
    return {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}


def test_limits_are_measured_in_the_given_formats() -> None:
    limits = measure_limits({"int4"}, width=64)
    assert set(limits.multiply_adds_per_s) == {"fp32", "int8"}
    assert all(1e6 < speed < 1e15 for speed in limits.multiply_adds_per_s.values())
    assert limits.to_json()["read_bandwidth_gb_s"] > 0
    assert set(measure_limits({"fp16"}, width=64).multiply_adds_per_s) == {"fp16", "fp32", "int8"}
