"""Splitting: sentences in Bark's 13 languages, and passages that fit and lose nothing, in linear time."""

import time
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bark_onnx.splitting.passages import Passage, estimate_seconds, passages, sentence_ends, unwrap
from bark_onnx.splitting.punctuation import WIDE_STOPS
from linear import is_linear

# A sentence ends at " | ", or at "|" if no space follows.
SENTENCES = {
    "en": [
        "Dr. Smith met Mr. Jones at 3.30 p.m. | They spoke of e.g. Berlin, i.e. the city.",
        "J. R. R. Tolkien wrote it. | Who else?!",
        "It costs $3.14 or 1,000.50. | Really?",
        "“Really?” she asked. | “Yes.” | He left.",
        '"Really?" she asked. | "Yes." | He left.',
        "I chose plan B. | Then we left.",
        "Visit www.example.com or read main.py. | Write to me@example.com!",
        "See No. 5 and p. 12. | No. | Five.",
        "Well... I see. | I... I don't know... maybe. | Wait... | What?",
        "He lives in the U.S. | He likes it. | The U.S. Army came.",
        "Apple Inc. and Mt. Everest. | Batman vs. Superman etc. and so on. | OK.",
        "In Washington, D.C. | They met at St. Paul. | Ph.D. students came.",
        "I said NO. | STOP. | MR. BROWN LEFT.",
        "hello there. | how are you? | i am fine, e.g. now.",
        "He was here — I think — yesterday. | Bye.",
        "1. Introduction",
        "I am 12. | My brother is 5. | Fine.",
        "He (!) said so (really?). | (Yes.) | No.",
        "It fell 5 m. | Then it stopped. | Come on. | Let's go with me. | Now.",
        "On Dec. 5 we left. | At 10 a.m. | We came back.",
        "Great! | 😀 Next one. | Bye 😀",
    ],
    "de": [
        "Am 3. Mai kam Dr. Müller, z. B. Berlin. | Das war gut.",
        "„Wirklich?“, fragte sie. | „Ja.“ | Er ging.",
        "Der 2. Weltkrieg usw. war schlimm. | Es kostet 1.000,50 €. | Gut.",
        "Es war der 3. Versuch. | Um 10.30 Uhr, d. h. bald.",
        "Das ist eine andere Art. | Der Mann ging. | Ich danke dir. | Dann ging er.",
        "»Komm her!« | »Nein.« | Er ging.",
        "Um 500 v. Chr. | Dann kam Rom.",
        "Das... Das war es.",
    ],
    "es": [
        "¿Qué tal? | ¡Hola! | El Sr. García vive aquí.",
        "—¿Vienes? —preguntó ella. | —Sí.",
        "Son 1.000,50 euros, p. ej. Madrid. | Bien.",
        "En el 44 a. C. | Después murió.",
        "«¿Por qué?», dijo. | «Porque sí.» | Fin.",
    ],
    "fr": [
        "M. Dupont est là. | Mme Durand aussi !",
        "« Quoi ! » dit-il. | « Oui ! » | Il partit.",
        "Il en a. | Elle aussi. | Allons-y. | On part ?",
        "Le 1er mai, p. 5. | Voilà… peut-être.",
    ],
    "hi": [
        "यह है। | वह है॥ | क्या?",
        "यह है।|वह है।",
        "डॉ. शर्मा आए। | ए. पी. जे. अब्दुल कलाम महान थे।",
        "मैं... मैं नहीं जानता। | यह ३.१४ है।",
        "“तुम कौन हो?” | उसने पूछा।",
    ],
    "it": [
        "Il sig. Rossi è qui. | Così è. | Poi andò via.",
        "«Vieni?» chiese. | «Sì.» | Il dott. Bianchi rise.",
        "È il n. 5 a pag. 12. | Costa 3,14 euro!",
    ],
    "ja": [
        "こんにちは。|元気ですか？|はい！",
        "「行くの？」と彼女は聞いた。|「うん。」|彼は笑った。",
        "私は……知らない。|え！？|本当？！",
        "価格は3.14円です。|OK。",
    ],
    "ko": [
        "안녕하세요. | 잘 지내요? | 네!",
        "글쎄... 잘 모르겠어요. | “안녕.”이라고 말했다. | 끝.",
        "3.14는 숫자다. | 응. | 나. | 가자.",
    ],
    "pl": [
        "Dnia 3. maja, np. Kraków, itp. i tak. | Pan prof. Nowak.",
        "To był on. | W 1990 r. | Potem wyszedł.",
        "Ok. 5 osób, ul. Długa, m.in. Anna. | „Tak?” | Nie.",
    ],
    "pt": [
        "O Sr. Silva chegou. | A Dra. Ana também! | Assim é. | Depois saiu.",
        "Pág. 5, 1.000,50 reais. | — Vens? — perguntou ela. | Fim.",
    ],
    "ru": [
        "Это я. | Он ушёл. | В 1990 г. | Потом, т. е. Москва, и т. д. | Он сказал.",
        "А. С. Пушкин жил на ул. Мира. | Стр. 5!",
        "— Ты идёшь? — спросил он. | — Да?.. | Он ушёл.",
        "Это 5 см. | Потом. | «Да!» | Нет.",
    ],
    "tr": [
        "3. Bölüm başladı. | Prof. Dr. Ahmet geldi. | Tamam mı?",
        "2. Dünya Savaşı bitti. | Bu 3. sınıf. | T.C. Anayasası vb. şeyler.",
        "Saat 10.30'da geldi. | “Evet!” | Gitti.",
    ],
    "zh": [
        "你好。|你好吗？|很好！",
        "他说：“你好！”|我走了。|“来吧！”他说。",
        "他说。|“你好。”|她笑了。",
        "你好!|再见!|价格是3.14元。",
        "我……我不知道。|什么？！|《书。》|完。",
    ],
    "marks": [
        "That is funny! | [laughs] And then?? | [sighs] No.",
        "♪ In the jungle, the mighty jungle. The lion sleeps! ♪",
        "He sang. | ♪ la la la. Oh! ♪ | Then he left.",
        "[laughs, e.g. this. One!] Hello. [laughs]",
        "I [clears throat] I mean it. | Yes [gasps]! | Now.",
        "A lone ♪ here. | And [ there. | End.",
    ],
}
EXAMPLES = [(language, example) for language, examples in SENTENCES.items() for example in examples]
ALPHABET = "ab Z.!?…,;:—-\"'“”«»„()[]♪¿你好。！？、「」かカ가है।3\n\t\u0301\u200d\x00\x1c😀"
TEXTS = st.one_of(st.text(ALPHABET, max_size=120), st.text(max_size=80))
M = 1_000_000


def split_sentences(paragraph: str) -> list[str]:
    text = unwrap(paragraph)
    ends = sentence_ends(text, 0, len(text)) if text else []
    return [text[start:end].strip() for start, end in zip([0, *ends], ends, strict=False)]


def visible(text: str) -> str:
    return "".join(text.split())


def up_to(seconds: float) -> Callable[[str], bool]:
    return lambda text: estimate_seconds(text) <= seconds


@pytest.mark.parametrize(("language", "example"), EXAMPLES)
def test_sentences(language: str, example: str) -> None:
    text = example.replace(" | ", " ").replace("|", "")
    assert split_sentences(text) == [sentence.strip() for sentence in example.split("|")]


def test_every_language_has_examples() -> None:
    assert set(SENTENCES) == {*"en de es fr hi it ja ko pl pt ru tr zh".split(), "marks"}


@pytest.mark.parametrize("text", ["", "  \n ", "\u3000"])
def test_an_empty_text_has_no_sentences(text: str) -> None:
    assert split_sentences(text) == []
    assert passages(text, lambda _: True) == []


@pytest.mark.parametrize(
    "text", ["...", "?!", "— — —", "♪", "♪ ♪ ♪", "[", "[[[]", "***", "。。。", "\x00", '"', "[laughs]"]
)
def test_only_marks_and_punctuation_is_one_sentence(text: str) -> None:
    assert split_sentences(text) == [text]
    assert passages(text, lambda _: True) == [Passage(text, True)]


def test_wrapped_lines_become_one() -> None:
    assert unwrap("one\r\n  two\tthree\n你好，\n我们 \n") == "one two three 你好，我们"


@given(TEXTS)
def test_sentences_lose_nothing(text: str) -> None:
    sentences = split_sentences(text)
    assert visible("".join(sentences)) == visible(text)
    assert all(sentences)


@given(TEXTS, st.integers(1, 60))
def test_passages_lose_nothing_and_fit(text: str, limit: int) -> None:
    found = passages(text, lambda part: len(part) <= limit)
    assert visible("".join(passage.text for passage in found)) == visible(text)
    assert all(0 < len(passage.text) <= limit for passage in found)


@given(TEXTS)
def test_words_are_not_cut_while_they_fit(text: str) -> None:
    limit = max(map(len, text.split()), default=1)
    found = passages(text, lambda part: len(part) <= limit)
    # CJK lines are joined and may be cut elsewhere. A sentence ends after a danda, also inside a word.
    if not any(character >= "\u2e80" or character in WIDE_STOPS for character in text):
        assert [word for passage in found for word in passage.text.split()] == text.split()


@given(TEXTS, st.sets(st.integers(1, 40)))
def test_no_text_is_lost_if_longer_parts_fit_and_shorter_do_not(text: str, lengths: set[int]) -> None:
    found = passages(text, lambda part: len(part) in lengths)
    assert visible("".join(passage.text for passage in found)) == visible(text)


@given(st.lists(TEXTS.map(lambda text: " ".join(text.split())).filter(bool), max_size=4))
def test_no_passage_crosses_a_paragraph(paragraphs: list[str]) -> None:
    found = passages("\n \n".join(paragraphs), lambda _: True, "HOST")
    assert [visible(passage.text) for passage in found] == [visible(paragraph) for paragraph in paragraphs]
    assert all(passage.ends_paragraph and passage.speaker == "HOST" for passage in found)


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("One. Two. Three.", 9, ["One. Two.", "Three."]),
        ("你好。我是人。再见吧。", 7, ["你好。我是人。", "再见吧。"]),
        ("Red apples, green pears; blue plums too", 26, ["Red apples, green pears;", "blue plums too"]),
        ("one two three four five six", 25, ["one two three", "four five six"]),  # not a tiny rest: "six"
        ("a" * 22, 20, ["a" * 11, "a" * 11]),
        ("He said to them all: «Come here now, friends»", 30, ["He said to them all:", "«Come here now, friends»"]),
        ("Il a dit « Bonjour » hier", 12, ["Il a dit", "« Bonjour »", "hier"]),
        ("Then [clears throat] we", 16, ["Then", "[clears throat]", "we"]),
        ("Oh ♪ la la, la la ♪ yes", 17, ["Oh", "♪ la la, la la ♪", "yes"]),
        ("♪ la la la, lo lo lo ♪", 12, ["♪ la la la,", "lo lo lo ♪"]),
        ("今天天气很好，我们去散步", 8, ["今天天气很好，", "我们去散步"]),
        ("1,000,000.50 euros", 13, ["1,000,000.50", "euros"]),
    ],
)
def test_cuts(text: str, limit: int, expected: list[str]) -> None:
    assert [passage.text for passage in passages(text, lambda part: len(part) <= limit)] == expected


def test_the_last_passage_of_a_paragraph_ends_it() -> None:
    found = passages("One. Two.\r\n\r\n\u2028 Three\nfour.", lambda part: len(part) <= 5)
    assert [(passage.text, passage.ends_paragraph) for passage in found] == [
        ("One.", False),
        ("Two.", True),
        ("Three", False),
        ("four.", True),
    ]


def test_a_character_is_not_cut_from_its_accents() -> None:
    found = passages("e\u0301" * 20, lambda part: len(part) <= 5)
    assert all(not passage.text.startswith("\u0301") for passage in found)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        ("[laughs]", 1),
        ("abc def ghi jkl", 1),
        ("Привет, дорогие", 1),
        ("我" * 9, 2),
        ("か" * 7, 1),
        ("가" * 6, 1),
        ("क" * 14, 1),
        ("25", 0.6),
    ],
)
def test_estimated_seconds(text: str, seconds: float) -> None:
    assert estimate_seconds(text) == pytest.approx(seconds, rel=0.01)


@pytest.mark.parametrize("text", ["Wie geht es dir, né?", "ガ가é"])
def test_composed_and_decomposed_text_take_the_same_time(text: str) -> None:
    assert estimate_seconds(unicodedata.normalize("NFD", text)) == pytest.approx(estimate_seconds(text))


@given(TEXTS, TEXTS)
def test_more_text_takes_no_less_time(text: str, more: str) -> None:
    assert estimate_seconds(f"{text} x {more}") >= 0
    assert estimate_seconds(f"{text} {'word ' * 20}") > estimate_seconds(text)


LONG = {
    "no spaces": "a" * M,
    "stops": ". " * (M // 2),
    "quotes": '。"' * (M // 2),
    "open brackets": "[a " * (M // 3),
    "song": "♪" + "la la, " * (M // 7) + "♪",
}


@pytest.mark.parametrize("name", LONG)
def test_a_megabyte_takes_seconds(name: str) -> None:
    started = time.perf_counter()
    found = passages(LONG[name], up_to(13))
    assert time.perf_counter() - started < 20  # 1 to 3 s on an idle core
    assert sum(len(visible(passage.text)) for passage in found) == len(visible(LONG[name]))


# Texts that a regular expression or a library may take quadratic time for: runs and repetitions of every class of
# character, alone, in pairs, and as a long run that a short one ends.
UNITS = [
    *".!?…。！、,;:-—\"'“”«»„()[]{}♪¿* _aA1我か가है\u0301\u200d\u200b\u05b0ß😀\x00\t\n\x1c\u2029\ue000",
    "a\n", "a\n\n", "我\n", ". ", "! ", ", ", " - ", "« ", " »", '."', '。"', "。」", "a.", "A. ", "a。", "a: ",
    "?!", ".-", ".[", ".♪", "a[", "[a", "[a]", "[a] ", "♪a", "♪a♪ ", "(.", "...a", "... A", "I... I... ", "no. 1 ",
    "e.g. ", "z. B. ", "1. ", "\u0301\u0323", "a\u0301\u0323", "\u05b0\u05b4", "क\u094d", "ᄒ\u1161\u11ab",
    "https://a.b/c ", "<a>", "#\n", "A: b\n", " \n", "Hi.\n\n",
    "The quick brown fox, jumped over Dr. Smith's dog. ", "♪" + "la la, " * 1_000 + "♪",
]  # fmt: skip


RUNS = [(".", " a"), ("。", "」。"), ("。", " 」a"), (" ", "a"), ("\u0301\u0323", "a"), ("[", "a]"), ("a", "。")]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: ascii(unit[:12]))
def test_time_grows_with_the_text_and_not_faster(unit: str) -> None:
    assert is_linear(lambda text: passages(text, up_to(13)), unit)


@pytest.mark.parametrize(("run", "end"), RUNS)
def test_time_grows_with_a_run_and_not_faster(run: str, end: str) -> None:
    assert is_linear(lambda text: passages(text, up_to(13)), run, end)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: ascii(unit[:12]))
def test_the_estimate_reads_a_text_a_few_times(unit: str) -> None:
    """Passages call `fits` on texts that together are not much longer than the text, at every level of cutting."""
    text, read = unit * (8_000 // len(unit)), 0

    def fits(part: str) -> bool:
        nonlocal read
        read += len(part)
        return estimate_seconds(part) <= 13

    passages(text, fits)
    assert read <= 24 * len(text) + 1_000
