"""A checkpoint of Bark, in Hugging Face's layout or Suno's, as clean weights: one network in memory at a time."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bark_onnx.model.bundle import STAGES
from bark_onnx.model.sizes import misfits
from bark_onnx.model.vocabulary import Vocabulary

from . import huggingface, suno
from .encodec import load_codec
from .layout import choose_layout
from .sources import asset_files, find_codec, find_source, own_tokenizer, own_voices
from .suno import ModelSize
from .weights import CheckpointError, Weights, listing

__all__ = ["STAGES", "Checkpoint", "CheckpointError", "ModelSize", "Weights", "open_checkpoint"]


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
    path_or_repo: str,
    *,
    codec: str | Path | None = None,
    model_size: ModelSize | None = None,
    revision: str | None = None,
    assets: Collection[str] = ("tokenizer", "voices"),
    quiet: bool = False,
) -> Checkpoint:
    """Open a directory in either layout, or a repository on the Hugging Face hub.

    Args:
        path_or_repo: a directory, or a name such as suno/bark-small or suno/bark-small@REVISION.
        codec: EnCodec from elsewhere: Meta's `.th` file, or a Hugging Face EncodecModel, as a directory or on the hub.
        model_size: which of Suno's models, where both are there, and Suno's layout where it is not the only one.
        revision: a branch, tag, `refs/pr/N` or commit of the repository.
        assets: what is wanted besides the weights; the rest is not downloaded, and None in the result.
        quiet: show no bars while downloading.

    Raises:
        CheckpointError: it cannot be found, downloaded or read, or lacks files; before weights are downloaded if the
            repository lacks them.
    """
    directory, snapshot = find_source(path_or_repo, revision, quiet)
    names = directory.names if snapshot is None else snapshot.names
    local = snapshot is None or snapshot.cached is not None
    layout = choose_layout(directory, names, model_size, codec_elsewhere=codec is not None, local=local)
    codec_source = None if codec is None else find_codec(codec, quiet)
    if snapshot is not None:
        directory = snapshot.download([*layout.files, *asset_files(snapshot, assets)])

    if layout.suno is None:
        vocabulary = huggingface.read_vocabulary(directory)
        networks = huggingface.open_networks(directory, vocabulary)
    else:
        vocabulary = Vocabulary()
        networks = suno.open_transformers(directory, layout.suno)
        if layout.codec is not None:
            codec_source = directory.file(layout.codec)
        elif codec_source is None:
            networks["codec"] = huggingface.open_networks(directory, vocabulary)["codec"]
    if codec_source is not None:
        networks["codec"] = partial(load_codec, codec_source, vocabulary)

    return Checkpoint(
        source=directory.name if snapshot is None else snapshot.repository.name,
        revision=None if snapshot is None else directory.path.name,
        vocabulary=vocabulary,
        tokenizer=own_tokenizer(directory) if "tokenizer" in assets else None,
        voices=own_voices(directory) if "voices" in assets else None,
        _networks=networks,
    )


def _misfits(stage: str, weights: Weights, vocabulary: Vocabulary) -> list[str]:
    problems = misfits(stage, weights.size, vocabulary)
    if stage == "fine" and (codebooks := len(weights.tensors["token_embeddings"])) != vocabulary.fine_codebooks:
        problems.append(f"{codebooks} codebooks instead of {vocabulary.fine_codebooks}")
    return problems
