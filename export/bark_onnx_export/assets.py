"""What a bundle holds beside its graphs: the tokenizer and the voices."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer as WordPieceTokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from bark_onnx.errors import BarkError, VoiceError, reason
from bark_onnx.model.bundle import is_plain
from bark_onnx.model.tokenizer import Tokenizer
from bark_onnx.model.vocabulary import Vocabulary
from bark_onnx.model.voice import VoicePreset

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TRIPLE = ("semantic", "coarse", "fine")


def write_tokenizer(source: Path, target: Path, vocabulary: Vocabulary) -> None:
    """Copy a `tokenizer.json`, or make one of BERT's `vocab.txt` (multilingual cased). Raises BarkError."""
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


def write_voices(source: Path, target: Path, vocabulary: Vocabulary) -> int:
    """Copy every voice below `source` (`.npz`, or triples of `.npy`); returns how many. Raises VoiceError."""
    names = set()
    for name, voice in read_voices(source):
        if name in names or not is_plain(name):
            raise VoiceError(
                f"{source / name} cannot go into a bundle: rename it, so that its name is plain and unique"
            )
        try:
            voice.check(vocabulary)
        except VoiceError as error:
            raise VoiceError(f"{source / name}: {error}") from None
        path = target / f"{name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        voice.save(path)
        names.add(name)
    if not names:
        raise VoiceError(f"{source} has no voices: neither .npz files nor .npy triples (NAME_semantic_prompt.npy ...)")
    return len(names)


def read_voices(directory: Path) -> Iterator[tuple[str, VoicePreset]]:
    """Names (relative, without suffix) and presets, sorted. Symbolic links out of the directory are not followed."""
    root = directory.resolve()
    files = [path for path in sorted(directory.rglob("*.np[yz]")) if path.resolve().is_relative_to(root)]
    for path in files:
        name = path.relative_to(directory).with_suffix("").as_posix()
        if path.suffix == ".npz":
            yield name, VoicePreset.load(path)
        elif name.endswith("_semantic_prompt"):
            yield name.removesuffix("_semantic_prompt"), _read_triple(path)


def _read_triple(semantic: Path) -> VoicePreset:
    arrays = {}
    for part in TRIPLE:
        path = semantic.with_name(semantic.name.replace("_semantic_prompt", f"_{part}_prompt"))
        try:
            arrays[part] = np.load(path, allow_pickle=False)
        except FileNotFoundError:
            raise VoiceError(f"{semantic.name} has no {path.name} beside it") from None
        except (OSError, ValueError) as error:
            raise VoiceError(f"{path} cannot be read: {reason(error)}") from None
    try:
        return VoicePreset(**arrays)
    except VoiceError as error:
        raise VoiceError(f"{semantic}: {error}") from None
