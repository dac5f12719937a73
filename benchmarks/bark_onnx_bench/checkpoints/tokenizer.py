"""A cased BERT tokenizer of the same kind as Bark's bert-base-multilingual-cased, with about 300 pieces."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

_SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_CHARACTERS = "".join(map(chr, range(33, 127))) + "áäàâçéèêëíñóöôßúüÄÉÖÜ¿¡你好世界こんにちは안녕привет"
_WORDS = ["hello", "Hello", "world", "the", "is", "of", "dog", "##s", "##ing", "laugh", "##ter", "music", "Suno"]


def write_tokenizer(directory: Path) -> Path:
    """Write tokenizer.json and vocab.txt.

    Returns:
        The path of tokenizer.json.
    """
    characters = list(dict.fromkeys(_CHARACTERS))
    pieces = [*_SPECIAL_TOKENS, *characters, *(f"##{character}" for character in characters), *_WORDS]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(_SPECIAL_TOKENS)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory / "tokenizer.json"
