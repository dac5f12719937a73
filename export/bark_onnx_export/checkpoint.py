"""A checkpoint of Bark, from a directory or the hub, in Hugging Face's layout or Suno's.

Opening it finds its files and checks that they are complete. Its networks are loaded one at a time, since together they
may not fit in memory.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bark_onnx.model.sizes import misfits
from bark_onnx.model.vocabulary import Vocabulary

from .errors import CheckpointError, listing
from .layouts import huggingface, suno
from .layouts.choice import choose_layout
from .layouts.parts import asset_files, downloaded, find_codec, find_source, own_tokenizer, own_voices
from .layouts.suno import ModelSize
from .weights.encodec import open_codec
from .weights.weights import Weights


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint.

    Attributes:
        source: the repository on the hub, or the directory's name.
        revision: the commit on the hub; None for a directory.
        vocabulary: its token space.
        tokenizer: its tokenizer.json or vocab.txt; None if it has none, or none was asked for.
        voices: its directory of voice presets; None if it has none, or none was asked for.
    """

    source: str
    revision: str | None
    vocabulary: Vocabulary
    tokenizer: Path | None
    voices: Path | None
    _networks: Mapping[str, Callable[[], Weights]] = field(repr=False)

    def load(self, stage: str) -> Weights:
        """Return the weights of the semantic, coarse, fine or codec network.

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
        codec: an EnCodec from elsewhere: Meta's `.th` file, or a Hugging Face EncodecModel in a directory or on the
            hub.
        model_size: read Suno's layout, and this model.
        revision: a branch, tag, `refs/pr/N` or commit of the repository.
        assets: which of `tokenizer` and `voices` are needed. The rest is not downloaded, and None in the result.
        quiet: show no progress bars for downloads.

    Raises:
        CheckpointError: the checkpoint cannot be found or read, or files are missing or incomplete. Missing files of a
            repository are found before any weights are downloaded.
        HubError: a repository cannot be read or downloaded.
    """
    directory, snapshot = find_source(path_or_repo, revision, quiet)
    names = directory.names if snapshot is None else snapshot.names
    local = snapshot is None or snapshot.cached is not None
    layout = choose_layout(directory, names, model_size, codec_elsewhere=codec is not None, local=local)
    codec_source = None if codec is None else find_codec(codec, quiet)
    if snapshot is not None:
        directory = downloaded(snapshot, [*layout.files, *asset_files(snapshot, assets)])

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
        networks["codec"] = open_codec(codec_source, vocabulary)

    return Checkpoint(
        source=directory.name if snapshot is None else snapshot.repository.name,
        revision=None if snapshot is None else directory.path.name,
        vocabulary=vocabulary,
        tokenizer=own_tokenizer(directory) if "tokenizer" in assets else None,
        voices=own_voices(directory) if "voices" in assets else None,
        _networks=networks,
    )


def _misfits(stage: str, weights: Weights, vocabulary: Vocabulary) -> list[str]:
    """Return why a network does not fit the token space."""
    problems = misfits(stage, weights.size, vocabulary)
    if stage == "fine" and (codebooks := len(weights.tensors["token_embeddings"])) != vocabulary.fine_codebooks:
        problems.append(f"{codebooks} codebooks instead of {vocabulary.fine_codebooks}")
    return problems
