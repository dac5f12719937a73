"""A Bark with random weights. Its speech is noise; its cost is that of a published Bark of the same size."""

import torch
from torch import nn
from transformers import BarkModel

from bark_onnx.model.vocabulary import Vocabulary

from .configuration import BarkSize, bark_config, generation_config


def make_bark(
    *,
    layers: int = 2,
    heads: int = 2,
    width: int = 32,
    bias: bool = False,
    seed: int = 0,
    vocabulary: Vocabulary | None = None,
    filters: int = 4,
    codec_width: int = 16,
) -> BarkModel:
    """Make a Bark in which every weight changes the output. The same arguments give the same weights.

    Args:
        layers, heads, width, bias: of the three transformers.
        vocabulary: the token space; by default the published one.
        filters, codec_width: of the codec.
    """
    vocabulary = vocabulary or Vocabulary()
    config = bark_config(BarkSize(layers, heads, width, filters, codec_width), vocabulary, bias=bias)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BarkModel(config).eval().requires_grad_(False)
        for network in (model.semantic, model.coarse_acoustics, model.fine_acoustics):
            _randomise_transformer(network, width)
        _randomise_codec(model.codec_model)
    model.generation_config = generation_config(vocabulary)
    return model


def _randomise_transformer(network: nn.Module, width: int) -> None:
    """Set weights that give peaked logits at every width, and LayerNorms different from their defaults."""
    std = (1.28 / width) ** 0.5
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.normal_(std=0.1)
        elif "layernorm" in name:
            parameter.normal_(mean=1.0, std=0.2)
        else:
            parameter.normal_(std=std)


def _randomise_codec(codec: nn.Module) -> None:
    """Set weights that give a waveform of about 0.1.

    Codebooks become non-zero, and the magnitudes of weight norm differ from the norms of their directions.
    """
    for name, tensor in codec.state_dict().items():
        if name.endswith(("codebook.embed", "codebook.embed_avg")):
            tensor.normal_()
        elif name.endswith("conv.bias"):
            tensor.normal_(std=0.05)
        elif name.endswith("original0"):
            tensor.mul_(torch.empty_like(tensor).uniform_(1.1, 1.7))
