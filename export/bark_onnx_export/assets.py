"""What a bundle holds beside its graphs: the tokenizer and the voices."""

import warnings
from pathlib import Path

from tokenizers import Tokenizer as WordPieceTokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from bark_onnx.errors import BarkError, BarkWarning, VoiceError, reason
from bark_onnx.model.tokenizer import Tokenizer
from bark_onnx.model.vocabulary import Vocabulary
from bark_onnx.model.voice import VoicePreset

from .directory import LFS_POINTER, is_lfs_pointer
from .voice_files import read_voices

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def write_tokenizer(source: Path, target: Path, vocabulary: Vocabulary) -> None:
    """Copy a `tokenizer.json`, or make one of BERT's `vocab.txt` (multilingual cased). Raises BarkError."""
    if is_lfs_pointer(source):
        raise BarkError(f"{source} {LFS_POINTER}")
    try:
        is_json = source.suffix == ".json"
        tokenizer = WordPieceTokenizer.from_file(str(source)) if is_json else _from_vocabulary(source)
    except BarkError:
        raise
    except Exception as error:  # what `tokenizers` raises is a bare Exception
        raise BarkError(f"{source} is neither a tokenizer.json nor a BERT vocab.txt: {reason(error)}") from None
    target.write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    try:
        Tokenizer(target, vocabulary)
    except BarkError as error:
        raise BarkError(f"{source} does not fit the model: {error}") from None


def _from_vocabulary(source: Path) -> WordPieceTokenizer:
    """BERT's tokenizer as `bert-base-multilingual-cased` configures it."""
    ids = WordPiece.read_file(str(source))
    missing = [token for token in SPECIAL_TOKENS if token not in ids]
    if missing:
        raise BarkError(f"{source} lacks {', '.join(missing)}: not a BERT vocab.txt")
    tokenizer = WordPieceTokenizer(WordPiece(ids, unk_token="[UNK]"))
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.normalizer = BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.decoder = WordPieceDecoder()
    return tokenizer


def write_voices(
    source: Path, target: Path, vocabulary: Vocabulary, *, checkpoint: Path | None = None
) -> dict[str, VoicePreset]:
    """Copy every voice below `source` (`.npz`, or triples of `.npy`) to `target`; returns them by name.

    Args:
        checkpoint: the directory of the checkpoint that the voices came with. One that cannot be used is left out then,
            with a warning, since the export is as good without it; of voices that the user gave, none may be left out.

    Raises:
        VoiceError: the user's own voices hold none, or one that cannot be used.
    """
    found = read_voices(source, vocabulary, within=checkpoint)
    problems = found.problems()
    if not found.presets and not problems:
        problems = ["it has no voices: neither .npz files nor .npy triples (NAME_semantic_prompt.npy ...)"]
    if problems and checkpoint is None:
        raise VoiceError(f"{source}: {'; '.join(problems)}")
    for problem in problems:
        warnings.warn(f"{source.name} of the checkpoint: {problem}", BarkWarning, stacklevel=2)
    for name, voice in found.presets.items():
        path = target / f"{name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        voice.save(path)
    return found.presets
