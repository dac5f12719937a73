"""Suno's layout: one torch.save file for each transformer, with its sizes in it. The codec is not part of it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from ..errors import CheckpointError
from ..sources.configuration import Section
from ..sources.directory import CheckpointDirectory
from ..sources.tensor_files import check_complete, read_pickle, state_dict
from ..weights.transformer import SUNO, load_transformer
from ..weights.weights import Weights

ModelSize = Literal["small", "large"]

FILES: dict[ModelSize, dict[str, str]] = {
    "small": {"semantic": "text.pt", "coarse": "coarse.pt", "fine": "fine.pt"},
    "large": {"semantic": "text_2.pt", "coarse": "coarse_2.pt", "fine": "fine_2.pt"},
}


def open_transformers(directory: CheckpointDirectory, size: ModelSize) -> dict[str, Callable[[], Weights]]:
    """Return a function for each transformer that loads it.

    Raises:
        CheckpointError: a file is missing, incomplete, or cannot be read.
    """
    paths = {stage: directory.file(file) for stage, file in FILES[size].items()}
    for path in paths.values():
        check_complete(path)
    return {stage: partial(_load, stage, path) for stage, path in paths.items()}


def _load(stage: str, path: Path) -> Weights:
    checkpoint = read_pickle(path)
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model_args"), dict):
        raise CheckpointError(f"{path.name} is not Suno's (it has no model_args): download it again")
    tensors = state_dict(checkpoint.get("model"), path.name)
    config = Section(f"model_args of {path.name}", _with_both_vocabularies(checkpoint["model_args"]))
    return load_transformer(stage, path.name, config, tensors, SUNO)


def _with_both_vocabularies(arguments: dict[str, object]) -> dict[str, object]:
    """Return the sizes with an input and an output vocabulary; older files have one `vocab_size` for both."""
    if "vocab_size" not in arguments or "input_vocab_size" in arguments:
        return arguments
    return arguments | dict.fromkeys(("input_vocab_size", "output_vocab_size"), arguments["vocab_size"])
