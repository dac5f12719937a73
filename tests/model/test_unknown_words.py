"""Words that a vocabulary lacks: other text keeps its ids, these get another form or are named, in linear time."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as WordPiece

from bark_onnx import Bark, BarkError, BarkWarning, GenerationOptions, NarrationOptions, Request
from bark_onnx.long.guards import Guards
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.manifest import TOKENIZER
from bark_onnx.model.place import EMBEDDED
from bark_onnx.model.tokenizer import Tokenizer
from linear import is_linear
from tiny import SPACE, TINY

SHORT = GenerationOptions(max_seconds=0.2)
LOST = "not spoken, as the model's vocabulary lacks"


class Model:
    """A bundle's tokenizer as the runtime reads it, and as `tokenizers` does, which equals the reference."""

    def __init__(self, directory: Path) -> None:
        self.tokenizer = Tokenizer(directory / TOKENIZER, Bundle.open(directory).manifest.vocabulary)
        self.plain = WordPiece.from_file(str(directory / TOKENIZER))
        self.pieces = {number: piece for piece, number in self.plain.get_vocab().items()}
        self.unknown = self.plain.token_to_id("[UNK]")

    def reference(self, text: str) -> list[int]:
        ids: list[int] = self.plain.encode(" ".join(text.split()), add_special_tokens=False).ids
        return ids

    def words(self, text: str) -> str:
        """What the model reads."""
        pieces = [self.pieces[number] for number in self.tokenizer.read(text).ids]
        return "".join(piece[2:] if piece.startswith("##") else f" {piece}" for piece in pieces).strip()


@pytest.fixture(scope="module", params=[EMBEDDED, TINY], ids=["nano", "tiny"])
def model(request: pytest.FixtureRequest) -> Model:
    return Model(request.param)


@pytest.fixture(scope="module")
def nano() -> Model:
    return Model(EMBEDDED)


@pytest.fixture(scope="module")
def tiny() -> Model:
    return Model(TINY)


# Text that the vocabulary has


def characters(model: Model) -> str:
    return "".join(sorted({character for piece in model.pieces.values() for character in piece}))


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_text_in_the_vocabulary_has_the_ids_of_the_reference(model: Model, data: st.DataObject) -> None:
    """Also where Unicode has another form of it, such as a full stop for an ellipsis."""
    text = data.draw(st.text(st.sampled_from(characters(model) + " \n\t\u3000"), max_size=60))
    expected = model.reference(text)
    if model.unknown not in expected:
        assert model.tokenizer.read(text).ids == expected
        assert model.tokenizer.read(text).lost == []


def test_every_piece_of_the_vocabulary_has_the_ids_of_the_reference(model: Model) -> None:
    pieces = [piece.removeprefix("##") for piece in model.pieces.values() if not piece.startswith("[")]
    known = [piece for piece in pieces if model.unknown not in model.reference(piece)]
    assert len(known) > 100
    for text in [*known, " ".join(known)]:
        assert model.tokenizer.read(text).ids == model.reference(text)


@settings(max_examples=500, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_in_any_text_the_known_words_keep_their_ids(model: Model, text: str) -> None:
    """The ids of the reference without [UNK] are among ours, in the same order."""
    ids = iter(model.tokenizer.read(text).ids)
    assert all(number in ids for number in model.reference(text) if number != model.unknown)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_what_is_lost_is_what_is_unknown(model: Model, text: str) -> None:
    reading = model.tokenizer.read(text)
    if reading.lost:
        assert model.unknown in reading.ids
    if model.unknown not in model.reference(text):
        assert reading.lost == []
    assert [word for word in reading.lost if not any(map(str.isprintable, word))] == []


# Other forms


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("The ﬁrst oﬃce", "the first office"),
        ("ＨＥＬＬＯ １２３", "hello 123"),
        ("½ of 5½", "1 / 2 of 5 1 / 2"),
        ("10² ①②", "10 2 1 2"),
        ("№5 ㎏ ™", "no5 kg tm"),
        ("𝐁𝐨𝐥𝐝 𝟓𝟎", "bold 50"),
        ("It’s “fine” – or not…", 'it \' s " fine " - or not . . .'),
        ("It is £5.", "it is [UNK] 5 ."),
        ("20€ each😀😀!", "20 [UNK] each [UNK] !"),
        ("50°C", "50 [UNK] c"),
        ("co\u00adoperate", "cooperate"),
        ("ERROR: The Server", "error : the server"),
        ("naïve Ελλάδα now", "naive [UNK] now"),
        ("Z\u0337a\u0336l\u0335go", "zalgo"),
        ("[laughs] ♪ la ♪", "[ laughs ] [UNK] la [UNK]"),
        ("1\ufe0f\u20e3 ok", "1 ok"),
    ],
)
def test_words_get_a_form_that_nano_has(nano: Model, text: str, read: str) -> None:
    assert nano.words(text) == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Hello ﬁre", "Hello fire"),
        ("ÀÀ é", "AA é"),  # É is in the vocabulary, À is not
        ("HELLO", "HELLO"),
        ("你好☃", "你 好 [UNK]"),
        ("Đorđe", "[UNK]"),  # a letter is not left out of a word
        ("e\u0301", "é"),
    ],
)
def test_other_vocabularies_have_other_forms(tiny: Model, text: str, read: str) -> None:
    assert tiny.words(text) == read


@pytest.mark.parametrize("length", [100, 101, 200, 201, 1000])
def test_long_words_are_divided(model: Model, length: int) -> None:
    ids = model.tokenizer.read("a" * length).ids
    assert model.unknown not in ids
    assert len(ids) == length
    assert (model.reference("a" * length) == ids) == (length <= 100)


def test_a_long_word_is_not_divided_before_an_accent(tiny: Model) -> None:
    assert tiny.words("e\u0301" * 60).split() == ["é" * 50, "é" * 10]


@pytest.mark.parametrize(
    "unit",
    ["ж", "жа ", "\u0301", "a\u0301\u0323", "ﷺ", "½", "😀", "£5", "a😀", "[UNK]", "ﬁ’", "\u1100", "क्ष", "\u200d❤️"],
    ids=ascii,
)
def test_unknown_words_take_linear_time(nano: Model, unit: str) -> None:
    assert is_linear(nano.tokenizer.read, unit)


# What is told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hello мир", f"{LOST} it: мир (it covers Latin)"),
        ("It is £5.", f"{LOST} it: £"),
        ("hi мир 😀 мир", f"{LOST} them: мир, 😀 (it covers Latin)"),
        ("a б в г д е ж з", f"{LOST} them: б, в, г, д, е and 2 more (it covers Latin)"),
        (f"a {'ж' * 90}", f"{LOST} it: {'ж' * 30}… (it covers Latin)"),
    ],
)
def test_a_warning_names_the_words(nano: Model, text: str, told: str) -> None:
    with pytest.warns(BarkWarning) as caught:
        nano.tokenizer.encode(text)
    assert [str(warning.message) for warning in caught] == [told]
    assert caught[0].filename == __file__


@pytest.mark.parametrize("text", ["hello", "It’s “fine” — ok • §", "ﬁrst ½", "。a", "a" * 150])
def test_nothing_is_told_about_words_that_are_spoken(nano: Model, text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nano.tokenizer.encode(text)


def test_a_known_word_behind_the_cut_does_not_count(nano: Model) -> None:
    with pytest.raises(BarkError, match="lacks all words"):
        nano.tokenizer.encode("ж " * 300 + "hello")
    with pytest.warns(BarkWarning, match="are cut off"):
        nano.tokenizer.encode("hello " + "ж " * 300)


def told(caught: pytest.WarningsRecorder) -> list[str]:
    return [str(warning.message) for warning in caught if LOST in str(warning.message)]


def test_every_call_warns_once(bark: Bark) -> None:
    calls = (
        lambda: bark.generate("Hello Ελλάδα", options=SHORT),
        lambda: list(bark.stream("Hello Ελλάδα", options=SHORT)),
        lambda: bark.semantic("Hello Ελλάδα", options=SHORT),
        lambda: bark.generate_batch([Request("Hello Ελλάδα", options=SHORT)]),
        lambda: bark.engine(slots=1).submit(Request("Hello Ελλάδα", options=SHORT)),
    )
    for call in calls:
        with pytest.warns(BarkWarning) as caught:
            call()
        assert told(caught) == [f"{LOST} it: Ελλάδα (it covers Latin)"]


def test_a_worker_warns_its_caller(bark: Bark) -> None:
    with bark.worker(slots=1) as worker, pytest.warns(BarkWarning, match="Ελλάδα"):
        worker.submit(Request("Hello Ελλάδα", options=SHORT)).result()


TEXT = "Hello Ελλάδα.\n\nΚόσμε!\n\nThe dog £."


@pytest.fixture(params=[False, True], ids=["engine", "worker"])
def narrated(request: pytest.FixtureRequest, short: Bark) -> Iterator[tuple[list[str], list[str], list[str]]]:
    """What was told at the call and while it was spoken, and the passages."""
    worker = short.worker(slots=2) if request.param else None
    options = NarrationOptions(passage_seconds=1, guards=Guards(retries=1))
    with pytest.warns(BarkWarning) as first:
        spoken = short.generate_long(TEXT, options=SHORT, seed=1, narration=options, worker=worker)
    with warnings.catch_warnings(record=True) as later:
        warnings.simplefilter("always")
        passages = [passage.text for passage in spoken]
    yield told(first), [str(warning.message) for warning in later if LOST in str(warning.message)], passages
    if worker is not None:
        worker.close()


def test_a_long_text_warns_once_at_the_call(narrated: tuple[list[str], list[str], list[str]]) -> None:
    first, later, passages = narrated
    assert (first, later) == ([f"{LOST} them: Ελλάδα, Κόσμε, £ (it covers Latin)"], [])
    assert passages == ["Hello Ελλάδα.", "The dog £."]  # the model would invent words for the other one


def test_an_item_of_a_batch_that_says_nothing_to_the_model_is_named(bark: Bark) -> None:
    with pytest.raises(BarkError, match="1 of 2 utterances failed; request 1: there is nothing to say") as caught:
        bark.generate_batch([Request("Hello", options=SHORT), Request("Κόσμε", options=SHORT)])
    assert list(caught.value.errors) == [1]


# Which scripts


def test_a_model_names_its_scripts(bark: Bark) -> None:
    assert bark.scripts == ("Latin",)


def test_a_script_needs_twenty_letters(tmp_path: Path) -> None:
    def scripts(text: str) -> tuple[str, ...]:
        plain = WordPiece.from_file(str(TINY / TOKENIZER))
        plain.add_tokens(list(text))
        plain.save(str(tmp_path / TOKENIZER))
        return Tokenizer(tmp_path / TOKENIZER, SPACE).scripts

    cyrillic = "абвгдежзийклмнопрстуфхц"
    assert scripts(cyrillic[:19]) == scripts("") == ("Latin",)
    assert scripts(cyrillic) == ("Latin", "Cyrillic")
    han = "".join(map(chr, range(0x4E00, 0x4E00 + 400)))
    kana = "".join(map(chr, range(0x3041, 0x3061)))
    assert scripts(han + kana) == ("Han", "Latin", "Hiragana")
    mathematical = "".join(map(chr, range(0x1D400, 0x1D430)))
    assert scripts(mathematical + "ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶ") == ("Latin",)
