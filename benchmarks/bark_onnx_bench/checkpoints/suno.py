"""Write a checkpoint in the layouts of suno-ai/bark and facebookresearch/encodec, from transformers' models."""

import re
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BarkModel

from .huggingface import with_hooks

# From transformers' names to suno-ai/bark's.
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
    """Write the transformers of `model` as suno-ai/bark's files, and its codec as a file of facebookresearch/encodec.

    Args:
        size: decides the files' names.
        prefix: of the tensors' names; torch.compile adds `_orig_mod.`.
        vocab_size_only: write one `vocab_size` for networks with as many input ids as output ids, as old files do.
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
    """Return a network's sizes by suno-ai/bark's names."""
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
    """Return the state dict of a network by suno-ai/bark's names."""
    return {_suno_name(name): _suno_value(tensor) for name, tensor in network.state_dict().items()}


def _suno_name(name: str) -> str:
    for hugging_face, suno in _SUNO_MODULES.items():
        if hugging_face.startswith(".") or name.startswith(hugging_face):
            name = name.replace(hugging_face, suno, 1)
    return name


def _suno_value(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype is torch.bool else tensor  # the causal mask is boolean in transformers


def meta_codec(model: BarkModel) -> dict[str, Tensor]:
    """Return the state dict of the codec by facebookresearch/encodec's names."""
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
