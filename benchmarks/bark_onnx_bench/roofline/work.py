"""Count the work of a stage: the bytes it must read and the multiply-adds it must do.

The counts are a lower bound for any exact implementation. Small terms are left out: LayerNorm, GELU, softmax, biases,
a few rows of embeddings, and activations, which stay in the caches. Multiply-adds of weight matrices are counted in the
number format in which they are multiplied, those of attention in the format of the KV cache.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bark_onnx.errors import BarkError
from bark_onnx.model.manifest import CausalPrecision, GraphPrecision
from bark_onnx.model.sizes import CodecSize, TransformerSize

Matrix = tuple[int, int]  # inputs, outputs

# From the format in which matrices are stored to the format in which they are multiplied. int4 is multiplied as 8 bits
# by 8 bits (accuracy level 4 of MatMulNBits). bf16 runs on GPUs only, at the speed of fp16.
ARITHMETIC = {"fp32": "fp32", "fp16": "fp16", "bf16": "fp16", "int8": "int8", "int4": "int8", "int4-128": "int8",
              "w8a16": "fp16", "w4a16": "fp16"}  # fmt: skip
_FLOAT_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
CACHE_BYTES = {**_FLOAT_BYTES, "int8": 1}  # of one number in the KV cache
# The format of the matrices for which the manifest has none, where it is not the name of the weights.
_FORMS = {"int4": "int4-32", "w8a16": "int8-32", "w4a16": "int4-32"}
_WEIGHT_ONLY = ("w8a16", "w4a16")
_BLOCK_MATRICES = ("attention.qkv", "attention.out", "mlp.up", "mlp.down")


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


def matrix_bytes(matrix: Matrix, stored: str, scale: int = 4) -> float:
    """Return the bytes of a weight matrix with its scales.

    Args:
        stored: a floating-point format; int8, with a scale for each output; or a format of blocks such as int4-128,
            with a scale for each block of 128 inputs of an output.
        scale: bytes of a scale.
    """
    inputs, outputs = matrix
    weights, (form, _, block) = inputs * outputs, stored.partition("-")
    if stored in _FLOAT_BYTES:
        return _FLOAT_BYTES[stored] * weights
    if not (stored == "int8" or (form in ("int8", "int4") and block.isdecimal())):
        raise BarkError(f"no floor is known for matrices stored as {stored}")
    blocks = -(-inputs // int(block)) if block else 1
    return weights * (1 if form == "int8" else 0.5) + scale * blocks * outputs


def decode_work(
    size: TransformerSize,
    precision: CausalPrecision,
    choices: int,
    context: int,
    rows: int = 1,
    forms: Mapping[str, str] | None = None,
) -> Work:
    """A decode step of `rows` sequences with `context` positions each, the new position included.

    `forms` has the formats of matrices by name, from the manifest.

    Read once for all rows: every block's matrices, and the head's rows for the `choices` ids that can be sampled.
    Read per row: a key and a value of `width` numbers per layer and position.
    Multiplied per row: every weight once; in attention, the query with each key, and the weights with each value.
    """
    products = size.layers * 12 * size.width**2 + size.width * choices
    attention = 2 * size.layers * context * size.width
    kv_cache = attention * CACHE_BYTES[precision.kv_cache] * rows
    weights = _causal_weights(size, precision.step_weights, choices, forms or {})
    return Work(
        round(weights + kv_cache),
        _by_format((precision.step_weights, rows * products), (precision.kv_cache, rows * attention)),
    )


def prefill_work(
    size: TransformerSize,
    precision: CausalPrecision,
    choices: int,
    positions: int,
    forms: Mapping[str, str] | None = None,
) -> Work:
    """A prefill of `positions` into an empty cache. `forms` has the formats of matrices by name, from the manifest.

    Only the logits of the last position are needed. So the last layer computes keys and values (2 width^2) of all
    positions, but query, output and MLP (10 width^2) of one position. Attention is causal: position n attends to n
    keys, so in all but the last layer positions * (positions + 1) / 2 pairs are multiplied twice, with the key and
    with the value.
    """
    square, width = size.width**2, size.width
    products = (size.layers - 1) * 12 * square * positions + 2 * square * positions + 10 * square + width * choices
    pairs = (size.layers - 1) * positions * (positions + 1) // 2 + positions
    weights = _causal_weights(size, precision.weights, choices, forms or {})
    counts = ((precision.weights, products), (_attention_format(precision), 2 * width * pairs))
    return Work(round(weights), _by_format(*counts))


def fine_work(
    size: TransformerSize,
    precision: GraphPrecision,
    codebook_size: int,
    frames: int,
    forms: Mapping[str, str] | None = None,
) -> Work:
    """A pass over `frames` that returns the logits of one codebook for every frame.

    `forms` has the formats of matrices by name, from the manifest.

    Attention is not causal: every frame attends to every frame. The head is an embedding table, which is never
    quantised.
    """
    floating = "fp16" if ARITHMETIC[precision.weights] == "fp16" else "fp32"
    products = size.layers * 12 * size.width**2 * frames
    attention = 2 * size.layers * frames**2 * size.width
    head = size.width * codebook_size
    weights = _block_weights(size, precision.weights, forms or {})
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


def _causal_weights(size: TransformerSize, weights: str, choices: int, forms: Mapping[str, str]) -> float:
    head = "fp16" if weights in _WEIGHT_ONLY else forms.get("head", _FORMS.get(weights, weights))
    return _block_weights(size, weights, forms) + matrix_bytes((size.width, choices), head)


def _block_weights(size: TransformerSize, weights: str, forms: Mapping[str, str]) -> float:
    """The bytes of the matrices in all transformer blocks; `weights` is the manifest's name for them."""
    scale, form = 2 if weights in _WEIGHT_ONLY else 4, _FORMS.get(weights, weights)
    names = [(f"blocks.{n}.{name}", matrix) for n in range(size.layers)
             for name, matrix in zip(_BLOCK_MATRICES, layer_matrices(size.width), strict=True)]  # fmt: skip
    return sum(matrix_bytes(matrix, forms.get(name, form), scale) for name, matrix in names)


def _attention_format(precision: CausalPrecision) -> str:
    """The format of a prefill's attention. An int8 cache is quantised after the attention, so that runs in fp32."""
    return "fp32" if precision.kv_cache == "int8" else precision.kv_cache


def _by_format(*counts: tuple[str, int]) -> dict[str, int]:
    """Add up multiply-adds by the format in which they are done, from pairs of stored format and count."""
    total: Counter[str] = Counter()
    for stored, count in counts:
        total[ARITHMETIC[stored]] += count
    return dict(total)
