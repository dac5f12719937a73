"""Suno's layout: one torch.save file for each transformer; EnCodec comes from Meta's file."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from .configuration import Section
from .state_files import read_pickle, state_dict
from .transformer import SUNO, load_transformer
from .weights import CheckpointError, Weights

ModelSize = Literal["small", "large"]

_FILES: dict[ModelSize, dict[str, str]] = {
    "small": {"semantic": "text.pt", "coarse": "coarse.pt", "fine": "fine.pt"},
    "large": {"semantic": "text_2.pt", "coarse": "coarse_2.pt", "fine": "fine_2.pt"},
}
_COMPILED = "_orig_mod."  # torch.compile's mark on the names of a model that was saved compiled


def open_transformers(directory: Path, name: str, model_size: ModelSize | None) -> dict[str, Callable[[], Weights]]:
    """A loader for each transformer in `directory`, which an error calls `name`."""
    sizes = [size for size, files in _FILES.items() if any((directory / file).is_file() for file in files.values())]
    if model_size is None and len(sizes) > 1:
        raise CheckpointError(f"{name} holds Suno's small and large models: choose with --model-size small or large")
    if model_size is None and not sizes:
        raise CheckpointError(
            f"{name} holds neither a Hugging Face model (config.json) nor Suno's (text.pt or text_2.pt)"
        )
    files = _FILES[model_size or sizes[0]]
    missing = [file for file in files.values() if not (directory / file).is_file()]
    if missing:
        raise CheckpointError(f"{name} lacks {', '.join(missing)}: download all of {', '.join(files.values())}")
    return {stage: partial(_load, stage, directory / file) for stage, file in files.items()}


def find_codec(directory: Path, name: str) -> Path:
    """Meta's EnCodec file, if exactly one lies beside the transformers."""
    found = sorted(directory.glob("encodec*.th"))
    if len(found) != 1:
        raise CheckpointError(f"{name} holds {len(found)} EnCodec files (encodec*.th): say which with --codec FILE")
    return found[0]


def _load(stage: str, path: Path) -> Weights:
    checkpoint = read_pickle(path)
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model_args"), dict):
        raise CheckpointError(f"{path.name} is not Suno's (it has no model_args): download it again")
    tensors = state_dict(checkpoint.get("model"), path.name)
    config = Section(f"model_args of {path.name}", _with_both_vocabularies(checkpoint["model_args"]))
    tensors = {name.removeprefix(_COMPILED): tensor for name, tensor in tensors.items()}
    return load_transformer(stage, path.name, config, tensors, SUNO)


def _with_both_vocabularies(arguments: dict[str, object]) -> dict[str, object]:
    """Older files have one `vocab_size` for input and output."""
    if "vocab_size" not in arguments or "input_vocab_size" in arguments:
        return arguments
    return arguments | dict.fromkeys(("input_vocab_size", "output_vocab_size"), arguments["vocab_size"])
