"""The tokenizer: WordPiece over single characters, with other pieces at the start of a word than inside it."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from bark_onnx.model.tokenizer import Tokenizer as TextEncoder

from ..units import VOCABULARY

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CHARACTERS = [chr(code) for code in range(33, 127)]
PIECES = [*SPECIAL, *CHARACTERS, *(f"##{c}" for c in CHARACTERS)]


def write(path: Path) -> Path:
    """Write `tokenizer.json`. It strips accents, writes capitals small, and splits words as BERT does.

    The corpus has few capitals inside words, so a network that read them would speak words in capitals as noise.
    """
    tokenizer = Tokenizer(
        models.WordPiece({piece: n for n, piece in enumerate(PIECES)}, unk_token="[UNK]", max_input_chars_per_word=100)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(SPECIAL)
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
    return path


def encoder(path: Path) -> TextEncoder:
    """Open `tokenizer.json` with the runtime's own reader."""
    return TextEncoder(path, VOCABULARY)


def similar_pieces() -> list[tuple[int, int]]:
    """Return pairs of piece ids that usually sound alike: an inner or upper-case letter, and the plain letter."""
    index = {piece: n for n, piece in enumerate(PIECES)}
    pairs = []
    for piece in PIECES[len(SPECIAL) :]:
        plain = piece.removeprefix("##").lower() if len(piece) > 2 else piece.lower()
        if plain != piece:
            pairs.append((index[piece], index[plain]))
    return pairs
