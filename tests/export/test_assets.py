"""What a bundle gets besides the graphs: voices and a tokenizer, each from either of its formats."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertTokenizer

from bark_onnx import BarkError, Vocabulary, VoiceError, VoicePreset
from bark_onnx.model.bundle import TOKENIZER
from bark_onnx.model.tokenizer import Tokenizer
from bark_onnx_bench.checkpoints import write_tokenizer as write_test_tokenizer
from bark_onnx_export.assets import read_voices, write_tokenizer, write_voices
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle
from voice_directories import ensure, make_voice, write_triple

# Voices


def test_the_names_of_voices_are_their_paths(tmp_path: Path) -> None:
    make_voice(1).save(ensure(tmp_path / "a" / "b") / "c.npz")
    write_triple(tmp_path, "d.e", make_voice(2))
    (tmp_path / "README.md").write_text("not a voice")
    found = dict(read_voices(tmp_path))
    assert list(found) == ["a/b/c", "d.e"]
    assert np.array_equal(found["d.e"].semantic, make_voice(2).semantic)


def test_the_real_presets_become_voices(voices: Path, tmp_path: Path) -> None:
    assert write_voices(voices, tmp_path / "voices", Vocabulary()) == 13
    for path in voices.rglob("*.npz"):
        copy = VoicePreset.load(tmp_path / "voices" / path.relative_to(voices))
        assert np.array_equal(copy.fine, VoicePreset.load(path).fine)


def test_a_link_out_of_the_directory_is_not_followed(tmp_path: Path) -> None:
    make_voice().save(ensure(tmp_path / "elsewhere") / "secret.npz")
    make_voice().save(ensure(tmp_path / "presets") / "mine.npz")
    (tmp_path / "presets" / "secret.npz").symlink_to(tmp_path / "elsewhere" / "secret.npz")
    assert [name for name, _ in read_voices(tmp_path / "presets")] == ["mine"]


def spoil_voices(directory: Path, how: str) -> None:
    write_triple(directory, "good", make_voice())
    if how == "incomplete":
        (directory / "good_fine_prompt.npy").unlink()
    elif how == "pickle":
        np.save(directory / "good_coarse_prompt.npy", np.array([{}], object))
    elif how == "damaged":
        (directory / "good_fine_prompt.npy").write_bytes(b"\x93NUMPY\x01\x00")
    elif how == "text":
        (directory / "good_semantic_prompt.npy").write_text("hello")
    elif how == "another model":
        np.save(directory / "good_semantic_prompt.npy", np.array([10_000]))
    elif how == "float":
        np.save(directory / "good_semantic_prompt.npy", np.zeros(9))
    elif how == "nothing":
        for path in directory.iterdir():
            path.unlink()
    elif how == "twice":
        make_voice(3).save(directory / "good.npz")


@pytest.mark.parametrize(
    ("how", "fragments"),
    [
        ("incomplete", ["good_semantic_prompt.npy", "good_fine_prompt.npy"]),
        ("pickle", ["good_coarse_prompt.npy", "cannot be read"]),
        ("damaged", ["good_fine_prompt.npy", "cannot be read"]),
        ("text", ["good_semantic_prompt.npy", "cannot be read"]),
        ("another model", ["good", "does not fit"]),
        ("float", ["good", "float64"]),
        ("nothing", ["has no voices", ".npz", ".npy"]),
        ("twice", ["good"]),
    ],
)
def test_a_voice_that_is_none_is_named(tmp_path: Path, how: str, fragments: list[str]) -> None:
    spoil_voices(tmp_path / "presets", how)
    with pytest.raises(VoiceError) as caught:
        write_voices(tmp_path / "presets", tmp_path / "voices", Vocabulary())
    message = str(caught.value)
    assert message.isprintable()
    assert [fragment for fragment in fragments if fragment not in message] == [], message


@pytest.mark.parametrize("name", ["a:b", "a\\b"])
def test_a_name_that_a_bundle_cannot_have_fails_before_the_work(checkpoint: Path, tmp_path: Path, name: str) -> None:
    make_voice().save(ensure(tmp_path / "presets") / f"{name}.npz")
    report: list[str] = []
    options = ExportOptions(voices=tmp_path / "presets", verify=False)
    with pytest.raises(BarkError):
        export_bundle(open_checkpoint(str(checkpoint)), tmp_path / "bundle", options, report.append)
    assert report == []


@pytest.mark.parametrize(("option", "message"), [("tokenizer", "no such file"), ("voices", "no such directory")])
def test_an_asset_that_is_not_there_is_named(checkpoint: Path, tmp_path: Path, option: str, message: str) -> None:
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
    "\N{COMBINING ACUTE ACCENT}",
    "ｆｕｌｌ　ｗｉｄｔｈ",
]

TEXT_ID_SPACE = Vocabulary(text_window=4096)


@pytest.fixture(scope="module")
def vocab_txt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BERT's own format, with pieces of many scripts and all the specials in their usual places."""
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


def assert_same_ids(ours: Tokenizer, reference: BertTokenizer, text: str) -> None:
    ids = ours.encode(text)
    expected = reference(" ".join(text.split()), add_special_tokens=False)["input_ids"]
    assert ids[ids != TEXT_ID_SPACE.text_pad].tolist() == [id + TEXT_ID_SPACE.text_offset for id in expected]


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_a_vocab_txt_makes_berts_cased_tokenizer(
    from_vocab_txt: Tokenizer, reference: BertTokenizer, text: str
) -> None:
    assert_same_ids(from_vocab_txt, reference, text)


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(str.strip))
def test_a_vocab_txt_makes_berts_cased_tokenizer_for_any_text(
    from_vocab_txt: Tokenizer, reference: BertTokenizer, text: str
) -> None:
    assert_same_ids(from_vocab_txt, reference, unicodedata.normalize("NFC", text))


def test_both_formats_of_a_tokenizer_are_the_same(checkpoint: Path, from_vocab_txt: Tokenizer) -> None:
    from_json = Tokenizer(checkpoint / TOKENIZER, TEXT_ID_SPACE)
    for text in TEXTS:
        assert np.array_equal(from_json.encode(text), from_vocab_txt.encode(text))


def test_a_tokenizer_that_cuts_and_pads_of_itself_is_tamed(checkpoint: Path, tmp_path: Path) -> None:
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
    ],
)
def test_a_tokenizer_that_is_none_is_named(tmp_path: Path, name: str, content: str, fragment: str) -> None:
    (tmp_path / name).write_text(content, encoding="latin-1")
    with pytest.raises(BarkError) as caught:
        write_tokenizer(tmp_path / name, tmp_path / "written.json", Vocabulary())
    assert str(caught.value).isprintable()
    assert str(tmp_path / name) in str(caught.value)
    assert fragment in str(caught.value)


def test_a_tokenizer_with_ids_beyond_the_text_space_is_refused(
    vocab_txt: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """The pad ends the text's ids; the message names the file that the user gave."""
    pieces = len(vocab_txt.read_text(encoding="utf-8").splitlines())
    largest_that_fits = Vocabulary().text_pad - pieces
    write_tokenizer(vocab_txt, tmp_path / "fits.json", Vocabulary(text_offset=largest_that_fits))
    for source in (vocab_txt, checkpoint / TOKENIZER):
        with pytest.raises(BarkError, match=f"{source.name}.*{Vocabulary().text_pad}"):
            write_tokenizer(source, tmp_path / "written.json", Vocabulary(text_offset=largest_that_fits + 1))
