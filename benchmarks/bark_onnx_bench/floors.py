"""Floors: the least time that a stage's work can take on a machine, by what it must read and what it must multiply.

Every count below is what an exact implementation cannot do without. Left out is what is small: LayerNorm, GELU,
softmax, biases, a few rows of embeddings, activations (which the caches hold). Multiply-adds of weight matrices are
counted in the format in which they are multiplied, those of attention in the KV cache's.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bark_onnx.errors import BarkError
from bark_onnx.model.bundle import CausalPrecision, GraphPrecision
from bark_onnx.model.sizes import CodecSize, TransformerSize

Matrix = tuple[int, int]  # inputs, outputs

# The format in which matrices stored so are multiplied: int4's products are of 8 bits by 8 bits too (accuracy level 4).
# bfloat16, which a CPU does not multiply here, runs on a GPU at fp16's rate.
ARITHMETIC = {"fp32": "fp32", "fp16": "fp16", "bf16": "fp16", "int8": "int8", "int4": "int8", "int4-128": "int8",
              "w8a16": "fp16", "w4a16": "fp16"}  # fmt: skip
_FLOAT_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
_CACHE_BYTES = {**_FLOAT_BYTES, "int8": 1}
# Bytes of a weight and of a scale, inputs that share one; and the same of the head.
_BLOCKS = {
    "int4": ((0.5, 4, 32), (1, 4, 32)),
    "int4-128": ((0.5, 4, 128), (1, 4, 128)),
    "w8a16": ((1, 2, 32), (2, 0, 32)),
    "w4a16": ((0.5, 2, 32), (2, 0, 32)),
}


@dataclass(frozen=True)
class Work:
    """What a run has to do: bytes that no cache holds from the run before, and multiply-adds by number format."""

    bytes_read: int
    multiply_adds: dict[str, int]


@dataclass(frozen=True)
class Limits:
    """What a machine can do: bytes a second, and multiply-adds a second by number format."""

    bytes_per_s: float
    multiply_adds_per_s: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        speeds = {form: round(speed / 1e9, 1) for form, speed in self.multiply_adds_per_s.items()}
        return {"read_bandwidth_gb_s": round(self.bytes_per_s / 1e9, 1), "matrix_giga_multiply_adds_s": speeds}


@dataclass(frozen=True)
class Floor:
    """The least seconds that work takes, and what sets them: `bandwidth` or `arithmetic`."""

    seconds: float
    bound_by: str


def floor(work: Work, limits: Limits) -> Floor:
    """Reading and multiplying can go on at the same time, multiplying in two formats cannot."""
    reading = work.bytes_read / limits.bytes_per_s
    multiplying = sum(count / limits.multiply_adds_per_s[form] for form, count in work.multiply_adds.items())
    return Floor(reading, "bandwidth") if reading >= multiplying else Floor(multiplying, "arithmetic")


def layer_matrices(width: int) -> list[Matrix]:
    """A block's: query, key and value in one; output; the MLP up to four times the width and down: 12 width^2."""
    return [(width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)]


def matrix_bytes(matrix: Matrix, stored: str) -> float:
    """Bytes of a weight matrix with its scales.

    int8 has a scale of 4 bytes and a zero point of 1 byte for each output. int4 has a scale of 4 bytes for each block
    of 32 inputs of an output, or of 128; so has its head (`int4 head`), which is in 8 bits. Weight-only formats have
    scales of 2 bytes, and a head of fp16.
    """
    inputs, outputs = matrix
    weights, form = inputs * outputs, stored.removesuffix(" head")
    if form in _BLOCKS:
        weight, scale, block = _BLOCKS[form][stored != form]
        return weight * weights + scale * -(-inputs // block) * outputs
    if stored == "int8":
        return weights + 5 * outputs
    if stored in _FLOAT_BYTES:
        return _FLOAT_BYTES[stored] * weights
    raise BarkError(f"no floor is known for matrices stored as {stored}")


def decode_work(size: TransformerSize, precision: CausalPrecision, choices: int, context: int, rows: int = 1) -> Work:
    """A decode step of `rows` sequences that have `context` positions each, the new one included.

    Read once, whatever the rows: every matrix, and the head's rows for the ids that can be sampled. Read for each row:
    a key and a value of `width` numbers for every layer and position.
    Multiplied for each row: every weight once; in attention, a query with each key and a share with each value.
    """
    products = size.layers * 12 * size.width**2 + size.width * choices
    attention = 2 * size.layers * context * size.width
    kv_cache = attention * _CACHE_BYTES[precision.kv_cache] * rows
    weights = _causal_weights(size, precision.step_weights, choices)
    return Work(
        round(weights + kv_cache),
        _sum((precision.step_weights, rows * products), (precision.kv_cache, rows * attention)),
    )


def prefill_work(size: TransformerSize, precision: CausalPrecision, choices: int, positions: int) -> Work:
    """A prompt of `positions`, none of them in the cache.

    Only the last position's logits are wanted: so the last layer needs keys and values (2 width^2) of all positions,
    but query, output and MLP (10 width^2) of one. Attention is causal: position n sees n keys, so in all but the last
    layer positions * (positions + 1) / 2 pairs are multiplied twice, with the key and with the value.
    """
    square, width = size.width**2, size.width
    products = (size.layers - 1) * 12 * square * positions + 2 * square * positions + 10 * square + width * choices
    pairs = (size.layers - 1) * positions * (positions + 1) // 2 + positions
    weights = _causal_weights(size, precision.weights, choices)
    return Work(round(weights), _sum((precision.weights, products), (_attended(precision), 2 * width * pairs)))


def fine_work(size: TransformerSize, precision: GraphPrecision, codebook_size: int, frames: int) -> Work:
    """A pass over `frames`, with logits of one codebook for all of them.

    Attention is not causal: every frame sees every frame. The head is an embedding table, which no quantizer touches.
    """
    floating = "fp16" if ARITHMETIC[precision.weights] == "fp16" else "fp32"
    products = size.layers * 12 * size.width**2 * frames
    attention = 2 * size.layers * frames**2 * size.width
    head = size.width * codebook_size
    weights = size.layers * sum(matrix_bytes(matrix, precision.weights) for matrix in layer_matrices(size.width))
    table = head * _FLOAT_BYTES[precision.embeddings]
    return Work(round(weights + table), _sum((precision.weights, products), (floating, attention + head * frames)))


def codec_work(size: CodecSize, frames: int) -> Work:
    """An utterance of `frames`, in fp32. Each weight is multiplied once for every sample that its layer takes."""
    parts = list(codec_weights(size))
    return Work(4 * sum(weights for weights, _ in parts), {"fp32": frames * sum(w * uses for w, uses in parts)})


def codec_weights(size: CodecSize) -> Iterator[tuple[int, int]]:
    """The decoder's weights, layer by layer, and how often a frame uses each of them.

    A convolution has kernel * inputs * outputs, an LSTM layer four gates of (inputs + state) * state. A transposed
    convolution from c to c / 2 channels has a kernel of twice its ratio: c^2 * ratio, used once for every input sample.
    """
    channels, rate = size.filters << len(size.ratios), 1
    yield size.kernel * size.width * channels, rate
    yield size.lstm_layers * 4 * (channels + channels) * channels, rate
    for ratio in size.ratios:
        yield channels * (channels // 2) * 2 * ratio, rate
        channels, rate = channels // 2, rate * ratio
        hidden = channels // size.compress
        residual = size.residual_kernel * channels * hidden + hidden * channels + size.shortcut * channels**2
        yield size.residual_layers * residual, rate
    yield size.last_kernel * size.filters, rate


def _causal_weights(size: TransformerSize, stored: str, choices: int) -> float:
    layer = sum(matrix_bytes(matrix, stored) for matrix in layer_matrices(size.width))
    return size.layers * layer + matrix_bytes((size.width, choices), f"{stored} head" if stored in _BLOCKS else stored)


def _attended(precision: CausalPrecision) -> str:
    """The format of a prefill's attention: that of a cache in 8 bits is wider before it is kept."""
    return "fp32" if precision.kv_cache == "int8" else precision.kv_cache


def _sum(*counts: tuple[str, int]) -> dict[str, int]:
    """Multiply-adds by the format in which they are done."""
    total: Counter[str] = Counter()
    for stored, count in counts:
        total[ARITHMETIC[stored]] += count
    return dict(total)
