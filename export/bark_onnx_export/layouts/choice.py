"""Choose the layout that a checkpoint is read in, and the files to read, before any weights are downloaded."""

from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..errors import CheckpointError
from ..sources.configuration import read_json
from ..sources.directory import CheckpointDirectory
from ..sources.state_files import INDEX, WEIGHT_FILES, weight_files
from .suno import FILES, ModelSize

_CONFIGURATIONS = ("config.json", "generation_config.json")
DESCRIPTIONS = (*_CONFIGURATIONS, *(file + INDEX for file in WEIGHT_FILES))  # small files that the choice needs

_CODEC_ADVICE = (
    "give --codec facebook/encodec_24khz to download it from the hub, or --codec with Meta's encodec_24khz-*.th "
    "or the directory of a Hugging Face EncodecModel"
)


@dataclass(frozen=True)
class Layout:
    """How to read a checkpoint.

    Attributes:
        suno: the size of Suno's model to read; None for Hugging Face's layout.
        codec: Meta's EnCodec file beside Suno's files; None if the codec comes from elsewhere.
        files: the files of its weights and configuration.
    """

    suno: ModelSize | None
    codec: str | None
    files: tuple[str, ...]


def choose_layout(
    directory: CheckpointDirectory,
    names: Collection[str],
    model_size: ModelSize | None,
    *,
    codec_elsewhere: bool,
    local: bool = True,
) -> Layout:
    """Choose by the files that the checkpoint has.

    Hugging Face's layout needs a config.json and weights in that layout. If Suno's files are there too, the config.json
    must be that of a Bark, because any tool may have left another one beside Suno's files.

    Args:
        directory: has the checkpoint's files of `DESCRIPTIONS`.
        names: all files of the checkpoint, which may still be on the hub.
        model_size: read Suno's layout, and this model.
        codec_elsewhere: whether the user has said where the codec comes from.
        local: whether all files are on this machine. If not, the codec is not taken out of Hugging Face's weights,
            since this would be a large download for a small network.

    Raises:
        CheckpointError: the checkpoint is complete in neither layout, or the user must choose.
    """
    sizes = [size for size, files in FILES.items() if any(file in names for file in files.values())]
    weights = [name for file in WEIGHT_FILES for name in (file, file + INDEX) if name in names]
    if model_size is None and weights and "config.json" in names and (not sizes or _is_bark(directory)):
        configurations = [name for name in _CONFIGURATIONS if name in names]
        return Layout(None, None, (*configurations, *weight_files(directory, names)))
    size = model_size or _only_size(directory, sizes, weights, names)
    missing = [file for file in FILES[size].values() if file not in names]
    if missing:
        others = [f"--model-size {other}" for other in sizes if other != size]
        also = f"; it has files of {others[0]}" if others else ""
        also = also or ("; leave --model-size out for its Hugging Face weights" if weights else "")
        raise CheckpointError(
            f"{directory.name} lacks {', '.join(missing)} of Suno's {size} model "
            f"({', '.join(FILES[size].values())}): {directory.advice}{also}"
        )
    codec = None if codec_elsewhere else _find_codec(directory, names, in_weights=local and bool(weights))
    return Layout(size, codec, (*FILES[size].values(), *((codec,) if codec else ())))


def _only_size(
    directory: CheckpointDirectory, sizes: list[ModelSize], weights: list[str], names: Collection[str]
) -> ModelSize:
    """Return the only one of Suno's models that the checkpoint has files of. Raises CheckpointError."""
    if len(sizes) == 1:
        return sizes[0]
    if sizes:
        raise CheckpointError(
            f"{directory.name} holds Suno's small and large models: choose with --model-size small or large"
        )
    if weights:
        raise CheckpointError(f"{directory.name} has {weights[0]} but no config.json: {directory.advice}")
    if "config.json" in names:
        raise CheckpointError(f"{directory.name} has neither {' nor '.join(WEIGHT_FILES)}: {directory.advice}")
    raise CheckpointError(
        f"{directory.name} holds neither a Hugging Face model (config.json, {' or '.join(WEIGHT_FILES)}) "
        f"nor Suno's (text.pt or text_2.pt ...): {directory.advice}"
    )


def _find_codec(directory: CheckpointDirectory, names: Collection[str], *, in_weights: bool) -> str | None:
    """Return Meta's EnCodec file; None if the codec is in Hugging Face's weights. Raises CheckpointError."""
    found = sorted(name for name in names if fnmatchcase(name, "encodec*.th"))
    if len(found) > 1:
        raise CheckpointError(f"{directory.name} holds {len(found)} EnCodec files (encodec*.th): choose with --codec")
    if found:
        return found[0]
    if in_weights and _is_bark(directory):
        return None
    raise CheckpointError(f"{directory.name} has no EnCodec file (encodec*.th) beside Suno's: {_CODEC_ADVICE}")


def _is_bark(directory: CheckpointDirectory) -> bool:
    """Whether the directory has a config.json of a Bark in Hugging Face's layout."""
    if not directory.has("config.json"):
        return False
    try:
        config = read_json(directory.file("config.json"))
    except CheckpointError:
        return False
    return config.get("model_type") == "bark"
