"""A bundle's tokenizer, from a tokenizer.json or a vocab.txt; and assets that do not exist."""

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertTokenizer

from bark_onnx import BarkError, Vocabulary
from bark_onnx.model.manifest import TOKENIZER
from bark_onnx.model.tokenizer import Tokenizer
from bark_onnx_bench.checkpoints import write_tokenizer as write_test_tokenizer
from bark_onnx_export.bundle.tokenizer import write_tokenizer
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle
from checkpoint_files import LFS_POINTER


@pytest.mark.parametrize(("option", "message"), [("tokenizer", "no such file"), ("voices", "no such directory")])
def test_an_asset_that_does_not_exist_is_named(checkpoint: Path, tmp_path: Path, option: str, message: str) -> None:
    options = ExportOptions(**{option: tmp_path / "nowhere"})  # type: ignore[arg-type]
    with pytest.raises(BarkError, match=f"nowhere: {message}"):
        export_bundle(open_checkpoint(str(checkpoint)), tmp_path / "bundle", options)
    assert list(tmp_path.iterdir()) == []


# Tokenizers


TEXTS = [
    "Hello, my name is Suno. And, uh — and I like pizza. [laughs]",
    "♪ In the jungle, the mighty jungle ♪",
    "¿Qué tal? ÄÖÜ äöü ß, señor! Straße naïve café",
    "e\u0301 is e\u0301, and \u00e9 is not e",
    "你好世界 こんにちは 안녕 привет",
    "hello你好hello",
    "🐶 dogs 👩‍👩‍👧 and 🇫🇷",
    "[CLS] [UNK] [MASK] [PAD] [SEP] [laughter] [MUSIC]",
    "tabs\tand\r\nlines \u00a0 and \u200b nothing \x00 \ufffd",
    "don't... (really?) <|x|> ##ing {a_b} 3.14%",
    "a" * 101,
    "\N{COMBINING ACUTE ACCENT}♪",
    "ｆｕｌｌ　ｗｉｄｔｈ",
]

TEXT_ID_SPACE = Vocabulary(text_window=4096)


@pytest.fixture(scope="module")
def vocab_txt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BERT's own format, with pieces of many scripts, and the special tokens at their usual ids."""
    directory = tmp_path_factory.mktemp("tokenizer")
    return write_test_tokenizer(directory).with_name("vocab.txt")


@pytest.fixture(scope="module")
def from_vocab_txt(vocab_txt: Path) -> Tokenizer:
    target = vocab_txt.with_name("written.json")
    write_tokenizer(vocab_txt, target, TEXT_ID_SPACE)
    return Tokenizer(target, TEXT_ID_SPACE)


@pytest.fixture(scope="module")
def reference(vocab_txt: Path) -> BertTokenizer:
    return BertTokenizer(str(vocab_txt), do_lower_case=False)


def ids_of(reference: BertTokenizer, text: str) -> list[int]:
    ids: list[int] = reference(" ".join(text.split()), add_special_tokens=False)["input_ids"]
    return ids


def assert_same_ids(ours: Tokenizer, reference: BertTokenizer, text: str) -> None:
    """Words that are [UNK] to BERT get another form if there is one. All other ids are the same, in the same order."""
    ids, expected = ours.read(text).ids, ids_of(reference, text)
    if reference.unk_token_id in expected:
        rest = iter(ids)
        assert all(number in rest for number in expected if number != reference.unk_token_id)
    else:
        assert ids == expected


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_ids_from_a_vocab_txt_equal_berts(from_vocab_txt: Tokenizer, reference: BertTokenizer, text: str) -> None:
    assert_same_ids(from_vocab_txt, reference, text)


@pytest.mark.parametrize("text", [text for text in TEXTS if len(text) < 100], ids=ascii)
def test_ids_equal_berts_where_every_character_is_known(vocab_txt: Path, tmp_path: Path, text: str) -> None:
    """Also of ligatures, full-width letters, accents and emoji, which have other forms."""
    pieces = vocab_txt.read_text(encoding="utf-8").splitlines()
    characters = sorted(set("".join(TEXTS)) - set(" \u3000\t\r\n\x00\xa0\u200b\u200d\ufffd"))
    pieces += [piece for character in characters for piece in (character, f"##{character}") if piece not in pieces]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    write_tokenizer(tmp_path / "vocab.txt", tmp_path / "written.json", TEXT_ID_SPACE)
    reference = BertTokenizer(str(tmp_path / "vocab.txt"), do_lower_case=False)
    ids = Tokenizer(tmp_path / "written.json", TEXT_ID_SPACE).encode(text)
    expected = [number + TEXT_ID_SPACE.text_offset for number in ids_of(reference, text)]
    assert ids[ids != TEXT_ID_SPACE.text_pad].tolist() == expected
    assert "[UNK]" in text or reference.unk_token_id not in ids_of(reference, text)


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_ids_from_a_vocab_txt_equal_berts_for_any_text(
    from_vocab_txt: Tokenizer, reference: BertTokenizer, text: str
) -> None:
    assert_same_ids(from_vocab_txt, reference, unicodedata.normalize("NFC", text))


def test_both_formats_give_the_same_ids(checkpoint: Path, from_vocab_txt: Tokenizer) -> None:
    from_json = Tokenizer(checkpoint / TOKENIZER, TEXT_ID_SPACE)
    for text in TEXTS:
        assert from_json.read(text) == from_vocab_txt.read(text)


def test_truncation_in_a_tokenizer_json_is_ignored(checkpoint: Path, tmp_path: Path) -> None:
    content = json.loads((checkpoint / TOKENIZER).read_text(encoding="utf-8"))
    content["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    (tmp_path / TOKENIZER).write_text(json.dumps(content), encoding="utf-8")
    write_tokenizer(tmp_path / TOKENIZER, tmp_path / "written.json", TEXT_ID_SPACE)
    ids = Tokenizer(tmp_path / "written.json", TEXT_ID_SPACE).encode("hello world the dog is music")
    assert (ids != TEXT_ID_SPACE.text_pad).sum() == 6


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("vocab.txt", "hello\nworld\n", "lacks [PAD], [UNK], [CLS], [SEP], [MASK]"),
        ("vocab.txt", "", "lacks [PAD]"),
        ("vocab.txt", "\xff", "neither"),
        ("tokenizer.json", "", "neither a tokenizer.json nor a BERT vocab.txt"),
        ("tokenizer.json", "{}", "neither a tokenizer.json nor a BERT vocab.txt"),
        ("tokenizer.json", LFS_POINTER, "is a Git LFS pointer and not the file itself"),
        ("vocab.txt", LFS_POINTER, "is a Git LFS pointer and not the file itself"),
    ],
)
def test_a_file_that_is_not_a_tokenizer_is_an_error_that_names_it(
    tmp_path: Path, name: str, content: str, fragment: str
) -> None:
    (tmp_path / name).write_text(content, encoding="latin-1")
    with pytest.raises(BarkError) as caught:
        write_tokenizer(tmp_path / name, tmp_path / "written.json", Vocabulary())
    assert str(caught.value).isprintable()
    assert str(tmp_path / name) in str(caught.value)
    assert fragment in str(caught.value)


def test_a_tokenizer_with_ids_beyond_the_text_space_is_refused(
    vocab_txt: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """Text ids must be below the padding id. The error names the file that the user gave."""
    pieces = len(vocab_txt.read_text(encoding="utf-8").splitlines())
    largest_offset = Vocabulary().text_pad - pieces
    write_tokenizer(vocab_txt, tmp_path / "fits.json", Vocabulary(text_offset=largest_offset))
    for source in (vocab_txt, checkpoint / TOKENIZER):
        with pytest.raises(BarkError, match=f"{source.name}.*{Vocabulary().text_pad}"):
            write_tokenizer(source, tmp_path / "written.json", Vocabulary(text_offset=largest_offset + 1))
