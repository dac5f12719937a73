"""The sizes of Bark's networks, as a checkpoint has them and a bundle's manifest carries them."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from .vocabulary import Vocabulary

_MOST = 8192  # the largest number that is believed of a codec


@dataclass(frozen=True)
class TransformerSize:
    """One GPT-style transformer. Published: small 12 layers, 12 heads, width 768; large 24, 16, 1024."""

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
    """EnCodec's quantizer and SEANet decoder. The defaults are the published 24 kHz model's."""

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
        """Samples of waveform that a frame of codes becomes."""
        return math.prod(self.ratios)

    @property
    def first_frames(self) -> int:
        """Frames that an utterance's first chunk must have if more follow; the published codec's are 7.

        A convolution makes what is left of the first sample by reflecting what is right of it, which must be there.
        """
        return max((frames for _, _, frames in _codec_state(self)), default=1)


def codec_state(size: CodecSize) -> dict[str, tuple[int, ...]]:
    """What the codec's decoder takes over from chunk to chunk: names and shapes, without the batch, in running order.

    Of every convolution with a context, that context [channels, context]; of every transposed convolution, which spills
    over into the next input's samples, the last input [channels, 1]; of every layer of the LSTM, h and c, each [width].
    """
    return {name: shape for name, shape, _ in _codec_state(size)}


def _codec_state(size: CodecSize) -> Iterator[tuple[str, tuple[int, ...], int]]:
    """Each name and shape, and how many frames of an utterance must be there to fill it when the utterance begins."""

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
    """Whether the numbers are ones that a decoder can have, since they decide how much memory is asked for."""
    counts = [value for value in asdict(size).values() if type(value) is int]  # not shortcut
    in_range = all(1 <= count <= _MOST for count in counts) and max(size.residual_layers, size.lstm_layers) <= 64
    ratios = 1 <= len(size.ratios) <= 8 and all(1 <= ratio <= 64 for ratio in size.ratios)
    return in_range and ratios and size.dilation_growth ** (size.residual_layers - 1) * size.residual_kernel <= _MOST


def misfits(stage: str, size: TransformerSize | CodecSize, vocabulary: Vocabulary) -> list[str]:
    """Where a network's sizes do not do for the ids, windows and frames of a token space."""
    space = vocabulary
    if isinstance(size, CodecSize):
        if not _possible(size):
            return ["impossible"]
        exact = {
            "codebooks": (size.codebooks, space.fine_codebooks),
            "codes in a codebook": (size.codebook_size, space.codebook_size),
            "samples in a frame": (size.frame_samples, space.frame_samples),
        }
        return [f"{has} {what} instead of {needed}" for what, (has, needed) in exact.items() if has != needed]
    needs = {
        "semantic": {
            "input_vocabulary": max(space.text_pad, space.semantic_infer) + 1,
            "output_vocabulary": space.semantic_pad + 1,
            "context": space.text_window + space.max_semantic_tokens,  # the infer token, but not the last one sampled
        },
        "coarse": {
            "input_vocabulary": max(space.coarse_semantic_pad, space.coarse_infer) + 1,
            "output_vocabulary": space.semantic_size + space.coarse_choices,
            "context": space.coarse_semantic_window + 1 + space.max_coarse_history,
        },
        "fine": {"input_vocabulary": space.codebook_size + 1, "context": space.fine_window},
    }
    return [
        f"{name} is {getattr(size, name)} where {least} is needed"
        for name, least in needs[stage].items()
        if getattr(size, name) < least
    ]
