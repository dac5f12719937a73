"""What a bundle gets besides the graphs: voices and a tokenizer, each from either of its formats."""

import json
import os
import shutil
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertTokenizer

from bark_onnx import BarkError, Vocabulary, VoiceError, VoicePreset
from bark_onnx.bundle import TOKENIZER
from bark_onnx.errors import BarkWarning
from bark_onnx.tokenizer import Tokenizer
from bark_onnx_bench.checkpoints import write_tokenizer as write_test_tokenizer
from bark_onnx_export.assets import write_tokenizer, write_voices
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle
from bark_onnx_export.voice_files import read_voices
from voice_directories import ensure, make_voice, write_triple

# Voices


def test_the_names_of_voices_are_their_paths(tmp_path: Path) -> None:
    make_voice(1).save(ensure(tmp_path / "a" / "b") / "c.npz")
    write_triple(tmp_path, "d.e", make_voice(2))
    write_triple(tmp_path, "of_semantic_prompts", make_voice(3))
    (tmp_path / "README.md").write_text("not a voice")
    found = read_voices(tmp_path, Vocabulary())
    assert (list(found.presets), found.problems()) == (["a/b/c", "d.e", "of_semantic_prompts"], [])
    assert np.array_equal(found.presets["d.e"].semantic, make_voice(2).semantic)


def test_suffixes_may_be_in_upper_case(tmp_path: Path) -> None:
    make_voice(1).save(tmp_path / "a.npz")
    (tmp_path / "a.npz").rename(tmp_path / "a.NPZ")
    write_triple(tmp_path, "b", make_voice(2))
    (tmp_path / "b_fine_prompt.npy").rename(tmp_path / "b_fine_prompt.NPY")
    assert list(read_voices(tmp_path, Vocabulary()).presets) == ["a", "b"]


def test_the_real_presets_become_voices(voices: Path, tmp_path: Path) -> None:
    assert len(write_voices(voices, tmp_path / "voices", Vocabulary())) == 13
    for path in voices.rglob("*.npz"):
        copy = VoicePreset.load(tmp_path / "voices" / path.relative_to(voices))
        assert np.array_equal(copy.fine, VoicePreset.load(path).fine)


SPOILT = [
    # What is wrong with the voice `good`, and what names it.
    ("semantic alone", ["good lacks its coarse and its fine part (NAME_coarse_prompt.npy)"]),
    ("no semantic", ["good lacks its semantic part (NAME_semantic_prompt.npy)"]),
    ("fine alone", ["good lacks its semantic and its coarse part"]),
    ("no fine", ["good lacks its fine part (NAME_fine_prompt.npy)"]),
    ("pickle", ["good cannot be used: good_coarse_prompt.npy cannot be read"]),
    ("damaged", ["good cannot be used: good_fine_prompt.npy cannot be read"]),
    ("text", ["good_semantic_prompt.npy cannot be read"]),
    ("npz in npy", ["good cannot be used", "semantic"]),
    ("huge", ["good cannot be used", "cannot be read"]),
    ("another model", ["good cannot be used: the voice does not fit this model: semantic token 10000 of 10000"]),
    ("float", ["good cannot be used", "float64"]),
    ("twice", ["good_*_prompt.npy is there as .npz already"]),
    ("odd name", ["my_voice.npy is not named as a part of a voice (NAME_semantic_prompt.npy, ...)"]),
    ("upper-case name", ["good_Fine_prompt.npy is not named as a part of a voice"]),
    ("LFS", ["good_fine_prompt.npy is a Git LFS pointer and not the file itself: run `git lfs pull`"]),
    ("all LFS", ["3 are left out (good_coarse_prompt.npy; good_fine_prompt.npy; good_semantic_prompt.npy)", "LFS"]),
    (
        "link out",
        ["good_fine_prompt.npy leads out of the checkpoint, to ", "elsewhere/good_fine_prompt.npy", "put the"],
    ),
    ("absolute link out", ["good_fine_prompt.npy leads out of the checkpoint, to "]),
    ("broken link", ["good_fine_prompt.npy is a link that leads nowhere (gone.npy)"]),
    ("loop", ["good_fine_prompt.npy is a link that leads nowhere (good_fine_prompt.npy)"]),
    ("directory", ["good lacks its fine part (NAME_fine_prompt.npy)"]),
    ("pipe", ["good_fine_prompt.npy is not a file"]),
    ("linked directory", ["linked is a link to a directory, and was not followed"]),
    ("linked directory that is gone", ["linked is a link that leads nowhere (gone)"]),
]

LFS_POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 8928\n"


def spoil_voice(directory: Path, how: str) -> None:
    """Write a triple called `good`, and spoil it or put something else beside it."""
    write_triple(directory, "good", make_voice())
    semantic, coarse, fine = (directory / f"good_{part}_prompt.npy" for part in ("semantic", "coarse", "fine"))
    match how:
        case "semantic alone" | "fine alone" | "no semantic" | "no fine":
            for part in (semantic, coarse, fine):
                named = f"_{how.split()[0 if 'alone' in how else 1]}_" in part.name
                if named is not ("alone" in how):
                    part.unlink()
        case "pickle":
            np.save(coarse, np.array([{}], object))
        case "damaged":
            fine.write_bytes(b"\x93NUMPY\x01\x00")
        case "text":
            semantic.write_text("hello")
        case "npz in npy":
            make_voice().save(directory.parent / "voice.npz")
            (directory.parent / "voice.npz").rename(semantic)
        case "huge":
            header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (1099511627776,), }".ljust(117) + b"\n"
            semantic.write_bytes(b"\x93NUMPY\x01\x00v\x00" + header)
        case "another model":
            np.save(semantic, np.array([10_000]))
        case "float":
            np.save(semantic, np.zeros(9))
        case "twice":
            make_voice(3).save(directory / "good.npz")
        case "odd name":
            np.save(directory / "my_voice.npy", np.zeros(9, np.int64))
        case "upper-case name":
            shutil.copy(fine, directory / "good_Fine_prompt.npy")
        case "LFS" | "all LFS":
            for part in (fine,) if how == "LFS" else (semantic, coarse, fine):
                part.write_text(LFS_POINTER)
        case "link out" | "absolute link out":
            target = ensure(directory.parents[1] / "elsewhere") / fine.name
            fine.rename(target)
            fine.symlink_to(target if how.startswith("absolute") else f"../../elsewhere/{fine.name}")
        case "broken link" | "loop":
            fine.unlink()
            fine.symlink_to("gone.npy" if how == "broken link" else fine.name)
        case "directory":
            fine.unlink()
            fine.mkdir()
        case "pipe":
            fine.unlink()
            os.mkfifo(fine)
        case "linked directory":
            (directory / "linked").symlink_to(ensure(directory.parent / "elsewhere"))
        case "linked directory that is gone":
            (directory / "linked").symlink_to("gone")


@pytest.mark.parametrize(("how", "fragments"), SPOILT)
def test_a_voice_that_is_none_is_an_error_where_the_user_gave_it(
    tmp_path: Path, how: str, fragments: list[str]
) -> None:
    directory = ensure(tmp_path / "given" / "presets")
    spoil_voice(directory, how)
    with pytest.raises(VoiceError) as caught:
        write_voices(directory, tmp_path / "voices", Vocabulary())
    message = str(caught.value)
    assert message.isprintable()
    assert message.startswith(f"{directory}: ")
    assert [fragment for fragment in fragments if fragment not in message] == [], message
    assert not (tmp_path / "voices").exists()


@pytest.mark.parametrize(("how", "fragments"), SPOILT)
def test_a_voice_that_is_none_is_left_out_with_a_warning_where_it_came_with_the_checkpoint(
    tmp_path: Path, how: str, fragments: list[str]
) -> None:
    directory = ensure(tmp_path / "checkpoint" / "speaker_embeddings")
    spoil_voice(directory, how)
    write_triple(directory, "v2/other", make_voice(1))
    with pytest.warns(BarkWarning) as caught:
        voices = write_voices(directory, tmp_path / "voices", Vocabulary(), checkpoint=directory.parent)
    (message,) = (str(warning.message) for warning in caught)
    assert message.startswith("speaker_embeddings of the checkpoint: ")
    assert [fragment for fragment in fragments if fragment not in message] == [], message
    whole = {"twice", "odd name", "upper-case name", "linked directory", "linked directory that is gone"}
    assert list(voices) == ["good", "v2/other"] if how in whole else ["v2/other"]
    assert (
        VoicePreset.load(tmp_path / "voices" / "v2" / "other.npz").to_prompt().keys() == make_voice().to_prompt().keys()
    )


def test_no_voices_are_an_error_or_a_warning(tmp_path: Path) -> None:
    directory = ensure(tmp_path / "speaker_embeddings")
    with pytest.raises(
        VoiceError, match=r"speaker_embeddings: it has no voices: neither \.npz files nor \.npy triples"
    ):
        write_voices(directory, tmp_path / "voices", Vocabulary())
    with pytest.warns(BarkWarning, match="speaker_embeddings of the checkpoint: it has no voices"):
        assert write_voices(directory, tmp_path / "voices", Vocabulary(), checkpoint=tmp_path) == {}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every directory")
def test_a_directory_that_cannot_be_entered_is_named(tmp_path: Path) -> None:
    write_triple(tmp_path, "good", make_voice())
    ensure(tmp_path / "closed").chmod(0)
    found = read_voices(tmp_path, Vocabulary())
    (tmp_path / "closed").chmod(0o700)
    assert (list(found.presets), found.problems()) == (["good"], ["closed cannot be read (Permission denied)"])


def test_many_voices_with_one_fault_are_one_warning(tmp_path: Path) -> None:
    for n in range(25):
        (tmp_path / f"{n:02}_fine_prompt.npy").write_text(LFS_POINTER)
    (problem,) = read_voices(tmp_path, Vocabulary()).problems()
    assert problem.startswith("25 are left out (00_fine_prompt.npy; 01_fine_prompt.npy; ")
    assert " and 15 more), each is a Git LFS pointer" in problem


def test_an_export_goes_on_without_the_checkpoint_s_bad_voices(checkpoint: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(checkpoint, tmp_path / "bark"))
    ensure(source / "speaker_embeddings")
    report: list[str] = []

    def stop_at_the_graphs(line: str) -> None:
        report.append(line)
        if line.endswith("exporting"):
            raise KeyboardInterrupt

    with warnings.catch_warnings(record=True) as caught, pytest.raises(KeyboardInterrupt):
        export_bundle(open_checkpoint(str(source)), tmp_path / "bundle", ExportOptions(), stop_at_the_graphs)
    assert report == ["voices: 0", "semantic: exporting"]
    assert ["has no voices" in str(warning.message) for warning in caught] == [True]


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
        ("tokenizer.json", LFS_POINTER, "is a Git LFS pointer and not the file itself"),
        ("vocab.txt", LFS_POINTER, "is a Git LFS pointer and not the file itself"),
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
