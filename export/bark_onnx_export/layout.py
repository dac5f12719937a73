"""Which of the two layouts a checkpoint is read in, and which files that takes; decided before any is downloaded."""

from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .configuration import read_json
from .directory import CheckpointDirectory
from .state_files import INDEX, weight_files
from .suno import FILES, ModelSize
from .weights import CheckpointError

DESCRIPTIONS = ("config.json", "generation_config.json", f"model.safetensors{INDEX}", f"pytorch_model.bin{INDEX}")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")

_CODEC_ADVICE = (
    "give --codec facebook/encodec_24khz to have it from the hub, or --codec with Meta's encodec_24khz-*.th "
    "or the directory of a Hugging Face EncodecModel"
)


@dataclass(frozen=True)
class Layout:
    """How a checkpoint is to be read.

    Attributes:
        suno: which of Suno's models; None for Hugging Face's layout.
        codec: Meta's EnCodec file beside Suno's; None where the codec comes from elsewhere.
        files: the files that hold its weights and what describes them.
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
    """Decide by the files that there are.

    Hugging Face's layout needs weights of its own and a config.json, and where Suno's files are there too, one that
    describes a Bark: any tool may have left a config.json beside Suno's files.

    Args:
        directory: where those of `DESCRIPTIONS` lie that there are.
        names: all files of the checkpoint; they may still be on the hub.
        model_size: which of Suno's models, and Suno's layout with it.
        codec_elsewhere: whether the user has said where the codec comes from.
        local: whether all files are in the directory, so that reading the codec out of large ones costs no download.

    Raises:
        CheckpointError: files are missing in either layout, or there is a choice to make.
    """
    sizes = [size for size, files in FILES.items() if any(file in names for file in files.values())]
    weights = [name for file in _WEIGHTS for name in (file, file + INDEX) if name in names]
    if model_size is None and weights and "config.json" in names and (not sizes or _is_bark(directory)):
        descriptions = [name for name in DESCRIPTIONS[:2] if name in names]
        return Layout(None, None, (*descriptions, *weight_files(directory, names)))
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
    if len(sizes) == 1:
        return sizes[0]
    if sizes:
        raise CheckpointError(
            f"{directory.name} holds Suno's small and large models: choose with --model-size small or large"
        )
    if weights:
        raise CheckpointError(f"{directory.name} has {weights[0]} but no config.json: {directory.advice}")
    if "config.json" in names:
        raise CheckpointError(
            f"{directory.name} has neither model.safetensors nor pytorch_model.bin: {directory.advice}"
        )
    raise CheckpointError(
        f"{directory.name} holds neither a Hugging Face model (config.json, model.safetensors or pytorch_model.bin) "
        f"nor Suno's (text.pt or text_2.pt ...): {directory.advice}"
    )


def _find_codec(directory: CheckpointDirectory, names: Collection[str], *, in_weights: bool) -> str | None:
    """Meta's EnCodec file, if exactly one is there; None if the codec is in Hugging Face's weights."""
    found = sorted(name for name in names if fnmatchcase(name, "encodec*.th"))
    if len(found) > 1:
        raise CheckpointError(f"{directory.name} holds {len(found)} EnCodec files (encodec*.th): choose with --codec")
    if found:
        return found[0]
    if in_weights and _is_bark(directory):
        return None
    raise CheckpointError(f"{directory.name} has no EnCodec file (encodec*.th) beside Suno's: {_CODEC_ADVICE}")


def _is_bark(directory: CheckpointDirectory) -> bool:
    """Whether there is a config.json of a Bark in Hugging Face's layout."""
    if not directory.has("config.json"):
        return False
    try:
        config = read_json(directory.file("config.json"))
    except CheckpointError:
        return False
    return config.get("model_type") == "bark"
