"""Write a bundle's tokenizer, from a tokenizer.json or BERT's vocab.txt."""

from pathlib import Path

from tokenizers import Tokenizer as WordPieceTokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from bark_onnx.errors import BarkError, reason
from bark_onnx.model.tokenizer import Tokenizer
from bark_onnx.model.vocabulary import Vocabulary

from ..sources.directory import LFS_POINTER, is_lfs_pointer

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def write_tokenizer(source: Path, target: Path, vocabulary: Vocabulary) -> None:
    """Write a tokenizer.json from another one, or from the vocab.txt of BERT (multilingual cased).

    Raises:
        BarkError: the source is neither, or its ids do not fit the token space.
    """
    if is_lfs_pointer(source):
        raise BarkError(f"{source} {LFS_POINTER}")
    try:
        is_json = source.suffix == ".json"
        tokenizer = WordPieceTokenizer.from_file(str(source)) if is_json else _from_vocabulary(source)
    except BarkError:
        raise
    except Exception as error:  # `tokenizers` raises no other type
        raise BarkError(f"{source} is neither a tokenizer.json nor a BERT vocab.txt: {reason(error)}") from None
    target.write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    try:
        Tokenizer(target, vocabulary)
    except BarkError as error:
        raise BarkError(f"{source} does not fit the model: {error}") from None


def _from_vocabulary(source: Path) -> WordPieceTokenizer:
    """Return BERT's tokenizer with the settings of `bert-base-multilingual-cased`."""
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
