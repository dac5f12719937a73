"""Hugging Face's layout: config.json, generation_config.json and one state dict with all four networks.

A repository on the hub is downloaded into the hub's own cache, only what is needed of it.
"""

import reprlib
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

from huggingface_hub import snapshot_download

from bark_onnx.errors import BarkError
from bark_onnx.model.vocabulary import Vocabulary

from .configuration import Section, read_json
from .encodec import load_huggingface_codec
from .state_files import StateFiles
from .transformer import HUGGING_FACE, load_transformer
from .weights import CheckpointError, Weights

# Of each network: its section of config.json, and the prefix of its tensors.
_NETWORKS = {
    "semantic": ("semantic_config", "semantic."),
    "coarse": ("coarse_acoustics_config", "coarse_acoustics."),
    "fine": ("fine_acoustics_config", "fine_acoustics."),
    "codec": ("codec_config", "codec_model."),
}

# Of each section of generation_config.json: what its fields are called in Vocabulary.
_TOKEN_SPACE = {
    "semantic_config": {
        "text_encoding_offset": "text_offset",
        "text_pad_token": "text_pad",
        "max_input_semantic_length": "text_window",
        "semantic_vocab_size": "semantic_size",
        "semantic_pad_token": "semantic_pad",
        "eos_token_id": "semantic_pad",  # the same, and the one that transformers goes by
        "semantic_infer_token": "semantic_infer",
        "semantic_rate_hz": "semantic_rate",
        "max_new_tokens": "max_semantic_tokens",
    },
    "coarse_acoustics_config": {
        "n_coarse_codebooks": "coarse_codebooks",
        "coarse_rate_hz": "coarse_rate",
        "coarse_semantic_pad_token": "coarse_semantic_pad",
        "coarse_infer_token": "coarse_infer",
        "max_coarse_input_length": "coarse_semantic_window",
        "max_coarse_history": "max_coarse_history",
    },
    "fine_acoustics_config": {
        "n_fine_codebooks": "fine_codebooks",
        "max_fine_input_length": "fine_window",
        "max_fine_history_length": "fine_history",
    },
}
_SHARED_TOKEN_SPACE = {"codebook_size": "codebook_size", "sample_rate": "sample_rate"}

_DESCRIPTIONS = ["config.json", "generation_config.json", "tokenizer.json", "vocab.txt", "speaker_embeddings/*"]
_WEIGHTS = [
    ["model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"],
    ["pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"],
]


def download(repository: str) -> Path:
    """The snapshot of a repository on the hub; the directory's name is the commit."""
    for weights in _WEIGHTS:
        try:
            snapshot = Path(snapshot_download(repository, allow_patterns=_DESCRIPTIONS + weights))
        except Exception as error:  # the network, the hub and its client each have errors of their own
            raise CheckpointError(
                f"{repository} is no directory, and could not be downloaded from the Hugging Face hub "
                f"({type(error).__name__}): check the name and the network"
            ) from error
        if any((snapshot / name).is_file() for name in weights[:2]):
            return snapshot
    raise CheckpointError(f"{repository} on the Hugging Face hub has no model.safetensors or pytorch_model.bin")


def read_vocabulary(directory: Path) -> Vocabulary:
    """The token space that generation_config.json states; published values for what it leaves out."""
    path = directory / "generation_config.json"
    if not path.is_file():
        return Vocabulary()
    config = Section(path.name, read_json(path))
    constants = _constants(config, _SHARED_TOKEN_SPACE)
    for section, names in _TOKEN_SPACE.items():
        constants |= _constants(config.section(section), names)
    try:
        return Vocabulary(**constants)  # type: ignore[arg-type]
    except BarkError as error:
        raise CheckpointError(f"{path.name} states an {error}") from error


def _constants(config: Section, names: dict[str, str]) -> dict[str, int | float]:
    types = {field.name: field.type for field in fields(Vocabulary)}
    constants: dict[str, int | float] = {}
    for theirs, ours in names.items():
        value = config.values.get(theirs)
        if value is None:
            continue
        if type(value) is not int and not (types[ours] is float and type(value) is float):
            raise CheckpointError(f"{theirs} in {config.where} is {reprlib.repr(value)}, not a number")
        constants[ours] = value
    return constants


def open_networks(directory: Path, name: str, vocabulary: Vocabulary) -> dict[str, Callable[[], Weights]]:
    """A loader for each network of the checkpoint in `directory`, which an error calls `name`."""
    config = Section("config.json", read_json(directory / "config.json"))
    config.require({"model_type": "bark"})
    files = StateFiles.find(directory, name)
    return {stage: partial(_load, stage, name, config, files, vocabulary) for stage in _NETWORKS}


def _load(stage: str, name: str, config: Section, files: StateFiles, vocabulary: Vocabulary) -> Weights:
    section, prefix = _NETWORKS[stage]
    others = tuple(other for _, other in _NETWORKS.values() if other != prefix)
    tensors = files.read(others)
    if stage == "codec":
        return load_huggingface_codec(name, config.section(section), tensors, vocabulary, prefix)
    return load_transformer(stage, name, config.section(section), tensors, replace(HUGGING_FACE, prefix=prefix))
