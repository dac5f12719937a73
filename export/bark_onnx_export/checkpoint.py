"""A checkpoint of Bark, in Hugging Face's layout or Suno's, as clean weights: one network in memory at a time."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bark_onnx.model.sizes import misfits
from bark_onnx.model.vocabulary import Vocabulary

from . import huggingface, suno
from .encodec import load_codec
from .suno import ModelSize
from .weights import CheckpointError, Weights, listing

__all__ = ["STAGES", "Checkpoint", "CheckpointError", "ModelSize", "Weights", "open_checkpoint"]

STAGES = ("semantic", "coarse", "fine", "codec")


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint. Its files are read when a network is loaded.

    Attributes:
        source: the repository on the hub, or the directory's name.
        revision: the commit on the hub, where known.
        tokenizer: tokenizer.json or vocab.txt, where one came with it.
        voices: the directory of voice presets (.npy), where one came with it.
    """

    source: str
    revision: str | None
    vocabulary: Vocabulary
    tokenizer: Path | None
    voices: Path | None
    _networks: Mapping[str, Callable[[], Weights]] = field(repr=False)

    def load(self, stage: str) -> Weights:
        """The weights of one of `STAGES`.

        Raises:
            CheckpointError: the network is incomplete, damaged, or too small for the token space.
        """
        weights = self._networks[stage]()
        if problems := _misfits(stage, weights, self.vocabulary):
            raise CheckpointError(
                f"the {stage} model of {self.source} does not fit its token space ({listing(problems)}): "
                "check generation_config.json"
            )
        return weights


def open_checkpoint(
    path_or_repo: str, *, codec: str | Path | None = None, model_size: ModelSize | None = None
) -> Checkpoint:
    """Open a directory in either layout, or a repository on the Hugging Face hub.

    Args:
        path_or_repo: a directory, or a name such as suno/bark-small.
        codec: EnCodec from elsewhere: Meta's `.th` file, or the directory of a Hugging Face EncodecModel.
        model_size: which of Suno's models, where a directory holds both; for Suno's layout only.
    """
    directory, revision = Path(path_or_repo), None
    if directory.is_dir():
        source = directory.resolve().name
    elif not directory.exists() and re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", path_or_repo):
        source, directory = path_or_repo, huggingface.download(path_or_repo)
        revision = directory.name
    else:
        raise CheckpointError(f"{path_or_repo} is neither a directory nor a name on the hub such as suno/bark-small")

    if model_size is None and (directory / "config.json").is_file():
        vocabulary = huggingface.read_vocabulary(directory)
        networks = huggingface.open_networks(directory, source, vocabulary)
    else:
        vocabulary = Vocabulary()
        networks = suno.open_transformers(directory, source, model_size)
        codec = codec or suno.find_codec(directory, source)
    if codec is not None:
        if not Path(codec).exists():
            raise CheckpointError(f"there is no codec at {codec}: give EnCodec's .th file or a Hugging Face directory")
        networks["codec"] = partial(load_codec, Path(codec), vocabulary)

    tokenizers = [path for name in ("tokenizer.json", "vocab.txt") if (path := directory / name).is_file()]
    voices = directory / "speaker_embeddings"
    return Checkpoint(
        source=source,
        revision=revision,
        vocabulary=vocabulary,
        tokenizer=tokenizers[0] if tokenizers else None,
        voices=voices if voices.is_dir() else None,
        _networks=networks,
    )


def _misfits(stage: str, weights: Weights, vocabulary: Vocabulary) -> list[str]:
    problems = misfits(stage, weights.size, vocabulary)
    if stage == "fine" and (codebooks := len(weights.tensors["token_embeddings"])) != vocabulary.fine_codebooks:
        problems.append(f"{codebooks} codebooks instead of {vocabulary.fine_codebooks}")
    return problems
