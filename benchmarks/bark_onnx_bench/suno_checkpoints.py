"""Checkpoints in the layout of suno-ai/bark and facebookresearch/encodec, written from transformers' models."""

import re
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BarkModel

from .checkpoints import with_hooks

_SUNO_MODULES = {
    "input_embeds_layer.": "transformer.wte.",
    "input_embeds_layers.": "transformer.wtes.",
    "position_embeds_layer.": "transformer.wpe.",
    "layernorm_final.": "transformer.ln_f.",
    "layers.": "transformer.h.",
    ".layernorm_1.": ".ln_1.",
    ".layernorm_2.": ".ln_2.",
    ".attn.att_proj.": ".attn.c_attn.",
    ".attn.out_proj.": ".attn.c_proj.",
    ".mlp.in_proj.": ".mlp.c_fc.",
    ".mlp.out_proj.": ".mlp.c_proj.",
}


def save_suno(
    model: BarkModel,
    directory: Path,
    *,
    size: Literal["small", "large"] = "small",
    prefix: Literal["_orig_mod.", ""] = "_orig_mod.",
    vocab_size_only: bool = False,
) -> Path:
    """Write `model` as suno-ai/bark's files, and its codec as facebookresearch/encodec's.

    With `vocab_size_only`, a network with as many input as output ids states them as one `vocab_size`, as old files do.
    """
    directory.mkdir(parents=True, exist_ok=True)
    suffix = "_2" if size == "large" else ""
    networks = {"text": model.semantic, "coarse": model.coarse_acoustics, "fine": model.fine_acoustics}
    for name, network in networks.items():
        checkpoint = {
            "model_args": suno_arguments(network.config, vocab_size_only),
            "model": {prefix + name: tensor for name, tensor in suno_tensors(network).items()},
            "best_val_loss": np.float64(2.5),
            "iter_num": 1000,
        }
        torch.save(checkpoint, directory / f"{name}{suffix}.pt")
    torch.save(meta_codec(model), directory / "encodec_24khz-test.th")
    return directory


def suno_arguments(config: object, vocab_size_only: bool = False) -> dict[str, object]:
    """A network's sizes under suno-ai/bark's names."""
    names = {
        "n_layer": "num_layers",
        "n_head": "num_heads",
        "n_embd": "hidden_size",
        "block_size": "block_size",
        "bias": "bias",
        "dropout": "dropout",
        "input_vocab_size": "input_vocab_size",
        "output_vocab_size": "output_vocab_size",
        "n_codes_total": "n_codes_total",
        "n_codes_given": "n_codes_given",
    }
    arguments = {suno: getattr(config, name) for suno, name in names.items() if hasattr(config, name)}
    if vocab_size_only and arguments["input_vocab_size"] == arguments["output_vocab_size"]:
        arguments["vocab_size"] = arguments.pop("input_vocab_size")
        del arguments["output_vocab_size"]
    return arguments


def suno_tensors(network: nn.Module) -> dict[str, Tensor]:
    """The state dict of a network under suno-ai/bark's names."""
    return {_suno_name(name): _suno_value(tensor) for name, tensor in network.state_dict().items()}


def _suno_name(name: str) -> str:
    for theirs, suno in _SUNO_MODULES.items():
        if theirs.startswith(".") or name.startswith(theirs):
            name = name.replace(theirs, suno, 1)
    return name


def _suno_value(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype is torch.bool else tensor  # the causal mask


def meta_codec(model: BarkModel) -> dict[str, Tensor]:
    """The state dict of the codec under facebookresearch/encodec's names."""
    codec = model.codec_model
    transposed = {name for name, module in codec.named_modules() if isinstance(module, nn.ConvTranspose1d)}
    state = {}
    for name, tensor in codec.state_dict().items():
        module, _, parameter = with_hooks(name).rpartition(".")
        if module.endswith(".conv"):
            kind = "convtr" if module in transposed else "conv"
            module = f"{module.removesuffix('.conv')}.{kind}.{kind}"
        module = re.sub(r"^(encoder|decoder)\.layers", r"\1.model", module)
        module = re.sub(r"^quantizer\.layers\.(\d+)\.codebook", r"quantizer.vq.layers.\1._codebook", module)
        state[f"{module}.{parameter}"] = tensor
    return state
