"""The sizes of an EnCodec: from Hugging Face's configuration, or from the shapes of Meta's tensors.

Sources: facebookresearch/encodec, `encodec/modules/seanet.py`; transformers, `models/encodec/configuration_encodec.py`.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

import torch

from bark_onnx.model.sizes import CodecSize
from bark_onnx.model.vocabulary import Vocabulary

from ..errors import CheckpointError
from ..sources.configuration import Section
from .codec_names import META, weight_norm_names
from .weights import Shape

_PUBLISHED = CodecSize()

_FIELDS = {  # for each size of ours: the field of Hugging Face's configuration
    "codebook_size": "codebook_size",
    "width": "hidden_size",
    "filters": "num_filters",
    "residual_layers": "num_residual_layers",
    "kernel": "kernel_size",
    "last_kernel": "last_kernel_size",
    "residual_kernel": "residual_kernel_size",
    "dilation_growth": "dilation_growth_rate",
    "compress": "compress",
    "lstm_layers": "num_lstm_layers",
}

_ARCHITECTURE = {  # the only values that CodecModule supports
    "model_type": "encodec",
    "audio_channels": 1,
    "norm_type": "weight_norm",
    "use_causal_conv": True,
    "pad_mode": "reflect",
    "trim_right_ratio": 1.0,
}


def size_from_configuration(config: Section, vocabulary: Vocabulary) -> CodecSize:
    """Return the sizes in Hugging Face's configuration, with as many codebooks as Bark predicts.

    Raises:
        CheckpointError: the configuration describes another architecture or sample rate, or an impossible size.
    """
    config.require(_ARCHITECTURE | {"sampling_rate": vocabulary.sample_rate})
    sizes = {ours: config.integer(theirs, getattr(_PUBLISHED, ours), most=8192) for ours, theirs in _FIELDS.items()}
    return CodecSize(
        codebooks=vocabulary.fine_codebooks,
        ratios=_ratios(config),
        shortcut=config.flag("use_conv_shortcut", _PUBLISHED.shortcut),
        **sizes,
    )


def _ratios(config: Section) -> tuple[int, ...]:
    ratios = config.values.get("upsampling_ratios", list(_PUBLISHED.ratios))
    if isinstance(ratios, list) and 1 <= len(ratios) <= 8 and all(type(r) is int and 1 <= r <= 64 for r in ratios):
        return tuple(ratios)
    raise CheckpointError(f"upsampling_ratios in {config.where} is not a list of up to 8 numbers from 1 to 64")


def size_from_shapes(where: str, tensors: Mapping[str, torch.Tensor], vocabulary: Vocabulary) -> CodecSize:
    """Return the sizes of a codec in Meta's layout, whose files have no configuration.

    The shapes of the convolutions give all sizes except the dilation. They do not show whether the convolutions are
    causal. Meta's only other model, for 48 kHz, is recognised because it has no weight norm.

    Args:
        where: the file's name in errors.

    Raises:
        CheckpointError: these are not the tensors of the 24 kHz model.
    """
    ends = _convolution_shapes(tensors, r"\.conv\.conv")
    upsamples = _convolution_shapes(tensors, r"\.convtr\.convtr")
    residuals = _convolution_shapes(tensors, r"\.block\.1\.conv\.conv")
    rank_3 = all(len(shape) == 3 and min(shape) > 0 for shape in ends + upsamples + residuals)
    if not (rank_3 and len(ends) == 2 and upsamples and residuals):
        raise CheckpointError(f"{where} is not the causal 24 kHz EnCodec with weight norm: give encodec_24khz-*.th")
    (stem_channels, width, kernel), (_, _, last_kernel) = ends
    hidden, channels, residual_kernel = residuals[0]
    return replace(
        _PUBLISHED,
        codebooks=vocabulary.fine_codebooks,
        codebook_size=vocabulary.codebook_size,
        width=width,
        filters=stem_channels >> len(upsamples),
        ratios=tuple(shape[2] // 2 for shape in upsamples),
        residual_layers=len(residuals) // len(upsamples),
        kernel=kernel,
        last_kernel=last_kernel,
        residual_kernel=residual_kernel,
        compress=max(1, channels // hidden),
        lstm_layers=max(1, sum(name.startswith(f"{META.lstm}.weight_ih_l") for name in tensors)),
        shortcut=any(name.startswith("decoder.") and ".shortcut." in name for name in tensors),
    )


def _convolution_shapes(tensors: Mapping[str, torch.Tensor], kind: str) -> list[Shape]:
    """Return the shapes of the weights of Meta's convolutions of one kind, in the decoder's order."""
    _, direction = weight_norm_names(tensors)
    pattern = re.compile(r"decoder\.model\.(\d+)" + kind + re.escape(direction))
    layers = {int(match[1]): name for name in tensors if (match := pattern.fullmatch(name))}
    return [tuple(tensors[layers[layer]].shape) for layer in sorted(layers)]
