"""The sizes of Bark's networks. They come from a checkpoint, and a bundle's manifest holds them."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from .vocabulary import Vocabulary

_MOST = 8192  # a codec with a larger number than this is refused


@dataclass(frozen=True)
class TransformerSize:
    """The size of a GPT-style transformer.

    Published sizes: small has 12 layers, 12 heads and width 768; large has 24 layers, 16 heads and width 1024.
    """

    layers: int
    heads: int
    width: int
    context: int
    input_vocabulary: int
    output_vocabulary: int

    @property
    def head_size(self) -> int:
        return self.width // self.heads

    @property
    def no_history_id(self) -> int:
        """The history id that adds nothing: the graph has one embedding more than the vocabulary, all zeros."""
        return self.input_vocabulary


@dataclass(frozen=True)
class CodecSize:
    """The size of EnCodec's quantizer and SEANet decoder. The defaults are those of the published 24 kHz model."""

    codebooks: int = 8
    codebook_size: int = 1024
    width: int = 128
    filters: int = 32
    ratios: tuple[int, ...] = (8, 5, 4, 2)
    residual_layers: int = 1
    kernel: int = 7
    last_kernel: int = 7
    residual_kernel: int = 3
    dilation_growth: int = 2
    compress: int = 2
    lstm_layers: int = 2
    shortcut: bool = True

    @property
    def frame_samples(self) -> int:
        """How many audio samples one frame of codes becomes."""
        return math.prod(self.ratios)

    @property
    def first_frames(self) -> int:
        """How many frames the first chunk of an utterance must have if more follow: 7 in the published codec.

        A convolution pads the beginning of an utterance with its reflection, which needs that many frames.
        """
        return max((frames for _, _, frames in _codec_state(self)), default=1)


def codec_state(size: CodecSize) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the state that the codec's decoder keeps between chunks, without the batch axis.

    The order is that of the network. A convolution keeps its context [channels, context]. A transposed convolution
    keeps its last input [channels, 1], which also contributes to the next samples. An LSTM layer keeps h and c, each
    [width].
    """
    return {name: shape for name, shape, _ in _codec_state(size)}


def _codec_state(size: CodecSize) -> Iterator[tuple[str, tuple[int, ...], int]]:
    """Yield name, shape, and how many frames the beginning of an utterance needs in order to fill the tensor."""

    def context(name: str, channels: int, length: int, rate: int) -> Iterator[tuple[str, tuple[int, ...], int]]:
        if length:
            yield name, (channels, length), -(-(length + 1) // rate)

    channels, rate = size.filters << len(size.ratios), 1
    yield from context("stem", size.width, size.kernel - 1, rate)
    for layer in range(size.lstm_layers):
        for half in ("h", "c"):
            yield f"lstm.{layer}.{half}", (channels,), 1
    for stage, ratio in enumerate(size.ratios):
        yield f"stages.{stage}.upsample", (channels, 1), 1
        channels, rate = channels // 2, rate * ratio
        for j in range(size.residual_layers):
            length = size.dilation_growth**j * (size.residual_kernel - 1)
            yield from context(f"stages.{stage}.residuals.{j}.conv_1", channels, length, rate)
    yield from context("last", channels, size.last_kernel - 1, rate)


def _possible(size: CodecSize) -> bool:
    """Whether a decoder can have these sizes. They decide how much memory is allocated, and may be hostile."""
    counts = [value for value in asdict(size).values() if type(value) is int]  # not shortcut
    in_range = all(1 <= count <= _MOST for count in counts) and max(size.residual_layers, size.lstm_layers) <= 64
    ratios = 1 <= len(size.ratios) <= 8 and all(1 <= ratio <= 64 for ratio in size.ratios)
    return in_range and ratios and size.dilation_growth ** (size.residual_layers - 1) * size.residual_kernel <= _MOST


def misfits(stage: str, size: TransformerSize | CodecSize, vocabulary: Vocabulary) -> list[str]:
    """List what does not fit between a network's sizes and the ids, windows and frames of a vocabulary."""
    if isinstance(size, CodecSize):
        if not _possible(size):
            return ["impossible"]
        exact = {
            "codebooks": (size.codebooks, vocabulary.fine_codebooks),
            "codes in a codebook": (size.codebook_size, vocabulary.codebook_size),
            "samples in a frame": (size.frame_samples, vocabulary.frame_samples),
        }
        return [f"{has} {what} instead of {needed}" for what, (has, needed) in exact.items() if has != needed]
    needs = {
        "semantic": {
            "input_vocabulary": max(vocabulary.text_pad, vocabulary.semantic_infer) + 1,
            "output_vocabulary": vocabulary.semantic_pad + 1,
            # The last token sampled is not an input.
            "context": vocabulary.longest_prompt("semantic") + vocabulary.max_semantic_tokens - 1,
        },
        "coarse": {
            "input_vocabulary": max(vocabulary.coarse_semantic_pad, vocabulary.coarse_infer) + 1,
            "output_vocabulary": vocabulary.semantic_size + vocabulary.coarse_choices,
            "context": vocabulary.longest_prompt("coarse"),
        },
        "fine": {"input_vocabulary": vocabulary.codebook_size + 1, "context": vocabulary.fine_window},
    }
    return [
        f"{name} is {getattr(size, name)} where {least} is needed"
        for name, least in needs[stage].items()
        if getattr(size, name) < least
    ]
