"""Hugging Face's layout: config.json, generation_config.json and one state dict with all four networks."""

import reprlib
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial

from bark_onnx.errors import BarkError
from bark_onnx.model.vocabulary import Vocabulary

from ..errors import CheckpointError
from ..sources.configuration import Section, read_json
from ..sources.directory import CheckpointDirectory
from ..sources.state_files import StateFiles
from ..weights.encodec import load_huggingface_codec
from ..weights.transformer import HUGGING_FACE, load_transformer
from ..weights.weights import Weights

# For each network: its section of config.json, and the prefix of its tensors.
_NETWORKS = {
    "semantic": ("semantic_config", "semantic."),
    "coarse": ("coarse_acoustics_config", "coarse_acoustics."),
    "fine": ("fine_acoustics_config", "fine_acoustics."),
    "codec": ("codec_config", "codec_model."),
}

# For each section of generation_config.json: the names of its fields, and ours in Vocabulary.
_TOKEN_SPACE = {
    "semantic_config": {
        "text_encoding_offset": "text_offset",
        "text_pad_token": "text_pad",
        "max_input_semantic_length": "text_window",
        "semantic_vocab_size": "semantic_size",
        "semantic_pad_token": "semantic_pad",
        "eos_token_id": "semantic_pad",  # the same id; transformers uses this field
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


def read_vocabulary(directory: CheckpointDirectory) -> Vocabulary:
    """Return the token space in generation_config.json; a field that it leaves out has its published value."""
    if not directory.has("generation_config.json"):
        return Vocabulary()
    path = directory.file("generation_config.json")
    config = Section(path.name, read_json(path))
    constants = _constants(config, _SHARED_TOKEN_SPACE)
    for section, names in _TOKEN_SPACE.items():
        constants |= _constants(config.section(section), names)
    try:
        return Vocabulary(**constants)  # type: ignore[arg-type]
    except BarkError as error:
        raise CheckpointError(f"{path.name} states an {error}") from error


def _constants(config: Section, names: dict[str, str]) -> dict[str, int | float]:
    """Return the fields of a section that have values, by our names. Raises CheckpointError."""
    types = {field.name: field.type for field in fields(Vocabulary)}
    constants: dict[str, int | float] = {}
    for theirs, ours in names.items():
        value = config.values.get(theirs)
        if theirs == "eos_token_id" and isinstance(value, list) and len(value) == 1:
            value = value[0]  # transformers accepts a list too
        if value is None:
            continue
        if type(value) is not int and not (types[ours] is float and type(value) is float):
            raise CheckpointError(f"{theirs} in {config.where} is {reprlib.repr(value)}, not a number")
        constants[ours] = value
    return constants


def open_networks(directory: CheckpointDirectory, vocabulary: Vocabulary) -> dict[str, Callable[[], Weights]]:
    """Return a function for each network that loads it.

    Raises:
        CheckpointError: a file is missing, incomplete, or cannot be read, or this is not a Bark.
    """
    config = Section("config.json", read_json(directory.file("config.json")))
    config.require({"model_type": "bark"})
    files = StateFiles.find(directory)
    return {stage: partial(_load, stage, directory.name, config, files, vocabulary) for stage in _NETWORKS}


def _load(stage: str, name: str, config: Section, files: StateFiles, vocabulary: Vocabulary) -> Weights:
    section, prefix = _NETWORKS[stage]
    others = tuple(other for _, other in _NETWORKS.values() if other != prefix)
    tensors = files.read(others)
    if stage == "codec":
        return load_huggingface_codec(name, config.section(section), tensors, vocabulary, prefix)
    return load_transformer(stage, name, config.section(section), tensors, replace(HUGGING_FACE, prefix=prefix))
