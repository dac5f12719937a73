"""Write a checkpoint in Hugging Face's layout, in the file formats of current and older transformers versions."""

import json
from pathlib import Path
from typing import Literal

import torch
from transformers import BarkModel


def save_huggingface(
    model: BarkModel,
    directory: Path,
    *,
    format: Literal["safetensors", "sharded", "bin", "sharded bin"] = "safetensors",
    weight_norm: Literal["parametrizations", "hooks"] = "parametrizations",
) -> Path:
    """Write `model`. Only older versions of transformers wrote the two `bin` formats.

    Args:
        weight_norm: how the tensors of weight norm are named: `hooks` is torch's older spelling.
    """
    state = dict(model.state_dict())
    if weight_norm == "hooks":
        state = {with_hooks(name): tensor for name, tensor in state.items()}
    if format in ("safetensors", "sharded"):
        model.save_pretrained(directory, state_dict=state, max_shard_size="10GB" if format == "safetensors" else "4MB")
        return directory
    model.config.save_pretrained(directory)
    model.generation_config.save_pretrained(directory)
    if format == "bin":
        torch.save(state, directory / "pytorch_model.bin")
        return directory
    files = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
    weight_map = {name: files[i % 2] for i, name in enumerate(state)}
    for file in files:
        torch.save({name: state[name].clone() for name in state if weight_map[name] == file}, directory / file)
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return directory


def with_hooks(name: str) -> str:
    """Return a tensor's name in torch's older spelling of weight norm."""
    return name.replace("parametrizations.weight.original0", "weight_g").replace(
        "parametrizations.weight.original1", "weight_v"
    )
