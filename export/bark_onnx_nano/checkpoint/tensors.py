"""The networks' tensors by the names of transformers' BarkModel."""

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor

from bark_onnx_export.modules.codec import CodecModule, Residual, Stage
from bark_onnx_export.weights.transformer import HUGGING_FACE

from ..training.transformer import Causal, Fine, checkpoint_tensors

# The logits are multiplied by these factors. Sampling at the usual temperatures of 0.7, 0.7 and 0.5 then equals
# sampling at 0.23, 0.29 and 0.17; the most probable token does not change. The factors are needed because at 0.7 a
# model this small invents words, and because the codec was trained on the fine model's most probable codes.
SHARPENING = {"semantic": 3.0, "coarse": 2.4, "fine": 3.0}


def transformer_tensors(module: Causal | Fine, stage: str) -> dict[str, Tensor]:
    """Return a transformer's tensors without the prefix of its section, with the logits sharpened."""
    own = checkpoint_tensors(module)
    # The fine model's heads are also its embeddings, so the factor goes into the last LayerNorm.
    for name in ("norm.weight", "norm.bias") if stage == "fine" else ("head.weight",):
        own[name] = own[name] * SHARPENING[stage]
    return {_hugging_face_name(name): tensor for name, tensor in own.items()}


def _hugging_face_name(name: str) -> str:
    """Return transformers' name for one of the exporter's names."""
    parts = name.split(".")
    numbers = [part for part in parts if part.isdigit()]
    pattern = ".".join("{}" if part.isdigit() else part for part in parts[:-1])
    return f"{HUGGING_FACE.modules[pattern].format(*numbers)}.{parts[-1]}"


def codec_tensors(decoder: CodecModule) -> Iterator[tuple[str, Tensor]]:
    """Yield the decoder's tensors by the names of transformers' EncodecModel.

    The weight of a convolution is written as magnitude and direction, as weight norm stores it.
    """
    for n, table in enumerate(decoder.codebooks):
        yield f"quantizer.layers.{n}.codebook.embed", table
    yield from _convolution("decoder.layers.0.conv", decoder.stem)
    for name, tensor in decoder.lstm.named_parameters():
        yield f"decoder.layers.1.lstm.{name}", tensor
    layer = 2
    for stage in cast(list[Stage], decoder.stages):
        yield from _convolution(f"decoder.layers.{layer + 1}.conv", stage.upsample)
        for residual in cast(list[Residual], stage.residuals):
            place = f"decoder.layers.{layer + 2}"
            yield from _convolution(f"{place}.block.1.conv", residual.conv_1)
            yield from _convolution(f"{place}.block.3.conv", residual.conv_2)
            yield from _convolution(f"{place}.shortcut.conv", residual.shortcut)
            layer += 1
        layer += 2
    yield from _convolution(f"decoder.layers.{layer + 1}.conv", decoder.last)


def _convolution(name: str, module: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    weight, bias = module.get_parameter("weight"), module.get_parameter("bias")
    # The norm of the fp16 weight, which is the one stored: magnitude times direction is then exactly this weight.
    yield f"{name}.parametrizations.weight.original0", weight.half().float().norm(dim=(1, 2), keepdim=True)
    yield f"{name}.parametrizations.weight.original1", weight
    yield f"{name}.bias", bias
