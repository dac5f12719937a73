"""Suno's layout: one torch.save file for each transformer. It has no configuration, and no codec in them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from .configuration import Section
from .directory import CheckpointDirectory
from .state_files import read_pickle, state_dict, unwrapped
from .transformer import SUNO, load_transformer
from .weights import CheckpointError, Weights

ModelSize = Literal["small", "large"]

FILES: dict[ModelSize, dict[str, str]] = {
    "small": {"semantic": "text.pt", "coarse": "coarse.pt", "fine": "fine.pt"},
    "large": {"semantic": "text_2.pt", "coarse": "coarse_2.pt", "fine": "fine_2.pt"},
}


def open_transformers(directory: CheckpointDirectory, size: ModelSize) -> dict[str, Callable[[], Weights]]:
    """A loader for each transformer of one of Suno's models."""
    return {stage: partial(_load, stage, directory.file(file)) for stage, file in FILES[size].items()}


def _load(stage: str, path: Path) -> Weights:
    checkpoint = read_pickle(path)
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model_args"), dict):
        raise CheckpointError(f"{path.name} is not Suno's (it has no model_args): download it again")
    tensors = state_dict(checkpoint.get("model"), path.name)
    config = Section(f"model_args of {path.name}", _with_both_vocabularies(checkpoint["model_args"]))
    tensors = {name: tensors[theirs] for name, theirs in unwrapped(tensors, path.name).items()}
    return load_transformer(stage, path.name, config, tensors, SUNO)


def _with_both_vocabularies(arguments: dict[str, object]) -> dict[str, object]:
    """Older files have one `vocab_size` for input and output."""
    if "vocab_size" not in arguments or "input_vocab_size" in arguments:
        return arguments
    return arguments | dict.fromkeys(("input_vocab_size", "output_vocab_size"), arguments["vocab_size"])
