"""Count the work of a stage: the bytes it must read and the multiply-adds it must do.

The counts are a lower bound for any exact implementation. Small terms are left out: LayerNorm, GELU, softmax, biases,
a few rows of embeddings, and activations, which stay in the caches. Multiply-adds of weight matrices are counted in the
number format in which they are multiplied, those of attention in the format of the KV cache.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from bark_onnx.errors import BarkError
from bark_onnx.model.bundle import CausalPrecision, GraphPrecision
from bark_onnx.model.sizes import CodecSize, TransformerSize

Matrix = tuple[int, int]  # inputs, outputs

# From the format in which matrices are stored to the format in which they are multiplied. int4 is multiplied as 8 bits
# by 8 bits (accuracy level 4 of MatMulNBits). bf16 runs on GPUs only, at the speed of fp16.
ARITHMETIC = {"fp32": "fp32", "fp16": "fp16", "bf16": "fp16", "int8": "int8", "int4": "int8", "int4-128": "int8",
              "w8a16": "fp16", "w4a16": "fp16"}  # fmt: skip
_FLOAT_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
CACHE_BYTES = {**_FLOAT_BYTES, "int8": 1}  # of one number in the KV cache
# Block-quantised formats: bytes of a weight, bytes of a scale, inputs that share a scale; then the same for the head.
_BLOCKS = {
    "int4": ((0.5, 4, 32), (1, 4, 32)),
    "int4-128": ((0.5, 4, 128), (1, 4, 128)),
    "w8a16": ((1, 2, 32), (2, 0, 32)),
    "w4a16": ((0.5, 2, 32), (2, 0, 32)),
}


@dataclass(frozen=True)
class Work:
    """The work of one run: bytes that must be read from memory, and multiply-adds by number format."""

    bytes_read: int
    multiply_adds: dict[str, int]


def layer_matrices(width: int) -> list[Matrix]:
    """The weight matrices of a transformer block, 12 width^2 weights.

    They are: query, key and value in one matrix; the attention's output; the MLP up to 4 width; the MLP back down.
    """
    return [(width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)]


def matrix_bytes(matrix: Matrix, stored: str) -> float:
    """Return the bytes of a weight matrix with its scales.

    int8 has a scale of 4 bytes and a zero point of 1 byte per output. int4 has a scale of 4 bytes per block of 32 (or
    128) inputs of an output; its head (`int4 head`) has the same scales and 8-bit weights. The weight-only formats
    w8a16 and w4a16 have scales of 2 bytes and a head in fp16.
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
    """A decode step of `rows` sequences with `context` positions each, the new position included.

    Read once for all rows: every block's matrices, and the head's rows for the `choices` ids that can be sampled.
    Read per row: a key and a value of `width` numbers per layer and position.
    Multiplied per row: every weight once; in attention, the query with each key, and the weights with each value.
    """
    products = size.layers * 12 * size.width**2 + size.width * choices
    attention = 2 * size.layers * context * size.width
    kv_cache = attention * CACHE_BYTES[precision.kv_cache] * rows
    weights = _causal_weights(size, precision.step_weights, choices)
    return Work(
        round(weights + kv_cache),
        _by_format((precision.step_weights, rows * products), (precision.kv_cache, rows * attention)),
    )


def prefill_work(size: TransformerSize, precision: CausalPrecision, choices: int, positions: int) -> Work:
    """A prefill of `positions` into an empty cache.

    Only the logits of the last position are needed. So the last layer computes keys and values (2 width^2) of all
    positions, but query, output and MLP (10 width^2) of one position. Attention is causal: position n attends to n
    keys, so in all but the last layer positions * (positions + 1) / 2 pairs are multiplied twice, with the key and
    with the value.
    """
    square, width = size.width**2, size.width
    products = (size.layers - 1) * 12 * square * positions + 2 * square * positions + 10 * square + width * choices
    pairs = (size.layers - 1) * positions * (positions + 1) // 2 + positions
    weights = _causal_weights(size, precision.weights, choices)
    counts = ((precision.weights, products), (_attention_format(precision), 2 * width * pairs))
    return Work(round(weights), _by_format(*counts))


def fine_work(size: TransformerSize, precision: GraphPrecision, codebook_size: int, frames: int) -> Work:
    """A pass over `frames` that returns the logits of one codebook for every frame.

    Attention is not causal: every frame attends to every frame. The head is an embedding table, which is never
    quantised.
    """
    floating = "fp16" if ARITHMETIC[precision.weights] == "fp16" else "fp32"
    products = size.layers * 12 * size.width**2 * frames
    attention = 2 * size.layers * frames**2 * size.width
    head = size.width * codebook_size
    weights = size.layers * sum(matrix_bytes(matrix, precision.weights) for matrix in layer_matrices(size.width))
    table = head * _FLOAT_BYTES[precision.embeddings]
    counts = ((precision.weights, products), (floating, attention + head * frames))
    return Work(round(weights + table), _by_format(*counts))


def codec_work(size: CodecSize, frames: int) -> Work:
    """Decoding `frames` in fp32. Each weight is multiplied once for every sample that its layer reads."""
    layers = list(codec_weights(size))
    multiply_adds = frames * sum(weights * uses for weights, uses in layers)
    return Work(4 * sum(weights for weights, _ in layers), {"fp32": multiply_adds})


def codec_weights(size: CodecSize) -> Iterator[tuple[int, int]]:
    """Yield for each layer of the decoder: the number of its weights, and how often one frame uses each of them.

    A convolution has kernel * inputs * outputs weights; an LSTM layer four gates of (inputs + state) * state. A
    transposed convolution from c to c / 2 channels has a kernel of twice its ratio, so c^2 * ratio weights; it uses
    them once per input sample.
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


def _attention_format(precision: CausalPrecision) -> str:
    """The format of a prefill's attention. An int8 cache is quantised after the attention, so that runs in fp32."""
    return "fp32" if precision.kv_cache == "int8" else precision.kv_cache


def _by_format(*counts: tuple[str, int]) -> dict[str, int]:
    """Add up multiply-adds by the format in which they are done, from pairs of stored format and count."""
    total: Counter[str] = Counter()
    for stored, count in counts:
        total[ARITHMETIC[stored]] += count
    return dict(total)
