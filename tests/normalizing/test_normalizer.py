"""What is written becomes what a person reads; the rest stays as it is."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bark_onnx import BarkError
from bark_onnx.normalizing import libraries
from bark_onnx.normalizing.choice import chosen_language, chosen_normalizer, for_single, language_of
from bark_onnx.normalizing.language import LANGUAGES
from bark_onnx.normalizing.libraries import LIBRARIES
from bark_onnx.normalizing.marks import MarkFilter, unmarked
from bark_onnx.normalizing.normalizer import normalizer
from bark_onnx.normalizing.numerals import cardinal, ordinal
from bark_onnx.normalizing.passages import NormalizingSplitter, normalized_passages
from bark_onnx.splitting.passages import estimate_seconds
from bark_onnx.splitting.pieces import PieceSplitter
from linear import is_linear

for library in LIBRARIES:
    pytest.importorskip(library)

ENGLISH = {
    "On 2024-03-05.": "On March fifth, twenty twenty-four.",
    "3/5/2024": "March fifth, twenty twenty-four",
    "13/5/24": "May thirteenth, twenty twenty-four",
    "March 5th and 5 March 1905": "March fifth and March fifth, nineteen oh-five",
    "99/99/2024 is no date": "ninety-nine/ninety-nine/twenty twenty-four is no date",
    "the 1990s and '80s": "the nineteen nineties and eighties",
    "At 10:30 pm, 10:05, 9:00.": "At ten thirty P M, ten oh five, nine o'clock.",
    "It ends at 5 p.m. We go.": "It ends at five P M. We go.",
    "Until 5 p.m.": "Until five P M.",
    "$3.50, €20, $1, $0.99": "three dollars and fifty cents, twenty euros, one dollar, ninety-nine cents",
    "$5 million or $10-20": "five million dollars or ten to twenty dollars",
    "5 kr or 7 CZK": "five kr or seven Czech korunas",
    "3.14, 1,000,000, 007": "three point one four, one million, zero zero seven",
    "He has 2. 3 left, .5 too": "He has two. Three left, point five too",
    "50% of 5 kg at -20°C": "fifty percent of five kilograms at minus twenty degrees Celsius",
    "1 kg, 100 km/h, 10-20 m": "one kilogram, one hundred kilometers per hour, ten to twenty meters",
    "1st, 22nd": "first, twenty-second",
    "Dr. Lee, 5 Main St. in St. Louis, No. 5": "Doctor Lee, five Main Street in Saint Louis, number five",
    "Dr. Lee is in.": "Doctor Lee is in.",
    "He lives in St. Louis": "He lives in Saint Louis",
    "Cats, e.g. mine, etc. He left.": "Cats, for example mine, et cetera. He left.",
    "555-123-4567": "five five five, one two three, four five six seven",
    "v2.0 and 1.2.3": "version two point zero and one point two point three",
    "1/2, 3/4, 2 1/2, 1½, 7/8": "one half, three quarters, two and a half, one and a half, seven eighths",
    "a.b@example.com": "a dot b at example dot com",
    "See https://example.com/docs/.": "See example dot com slash docs.",
    "Good 👍🏽👍🏽!": "Good thumbs up!",
    "5 + 3 = 8 & 3x4": "five plus three equals eight and three by four",
    "mp3, COVID-19, #1": "mp three, COVID-nineteen, number one",
    "1e999999": "one e nine hundred and ninety-nine thousand nine hundred and ninety-nine",
    "12345678901234567": "one two three four five six seven eight nine zero one two three four five six seven",
    "[laughs] 5 ♪ 6 ♪ [5 dogs]": "[laughs] five ♪ six ♪ [5 dogs]",
    "**Bold** and [a link](https://x.y), 5 * 3, snake_case": "Bold and a link, five times three, snake_case",
    "# Title\n- one\n- two\n": "Title.\none.\ntwo.\n",
}
OTHERS = {
    "de": (
        "Am 5. März 2024 um 14:30 Uhr kosten 1.000,5 kg z. B. 3,50 €.",
        "Am fünften März zweitausendvierundzwanzig um vierzehn Uhr dreißig kosten eintausend Komma fünf Kilogramm "
        "zum Beispiel drei Euro und fünfzig Cent.",
    ),
    "es": ("21 km, 3,50 € a las 1:30", "veintiún kilómetros, tres euros con cincuenta céntimos a las una y treinta"),
    "fr": (
        "Le 1er mars, 5 l'heure, 1 000 km, 50 %",
        "Le premier mars, cinq l'heure, mille kilomètres, cinquante pour cent",
    ),
    "hi": ("12,34,567 और ₹3.50", "बारह लाख चौंतीस हजार पाँच सौ सड़सठ और तीन रुपये और पचास पैसे"),
    "it": ("Il 5/3/2024, 2º posto", "Il cinque marzo duemilaventiquattro, secondo posto"),
    "ja": ("2024年3月5日、3.5kg、¥500", "二千二十四年三月五日、三点五キログラム、五百円"),
    "ko": ("3:30, ₩500", "세 시 삼십 분, 오백 원"),
    "pl": ("3,50 zł i 5 km", "trzy złote pięćdziesiąt groszy i pięć kilometrów"),
    "pt": ("R$ 3,50 às 14h30", "três reais e cinquenta centavos às catorze e trinta"),
    "ru": (
        "5 марта 2024, 23 мая, 21 руб., 5 кг, 60 км/ч, 5 млн человек",
        "пятое марта две тысячи двадцать четвёртого года, двадцать третье мая, двадцать один рубль, пять килограмм, "
        "шестьдесят километров в час, пять миллионов человек",
    ),
    "tr": ("%50, 1.234", "yüzde elli, bin iki yüz otuz dört"),
    "zh": ("2024年，10203，¥3.50，50%", "二零二四年，一万零二百零三，三点五零元，百分之五十"),
}
PLAIN = st.text(st.sampled_from("abcdefghijklmnop ABCÄßéжи你好,;:!?'\"()♪\n-—…"), max_size=80)


def capital(words: str) -> str:
    """Words that begin a sentence, unless they stand there as they were."""
    return words if words.startswith(("the", "mp")) else words[:1].upper() + words[1:]


@pytest.mark.parametrize("written", ENGLISH)
def test_english(written: str) -> None:
    assert normalizer("en")(written) == capital(ENGLISH[written])


@pytest.mark.parametrize("code", OTHERS)
def test_another_language(code: str) -> None:
    written, read = OTHERS[code]
    assert normalizer(code)(written) == capital(read)


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_language_reads_everything_that_english_reads(code: str) -> None:
    """No rule fails, and no digit is left."""
    for written in [*ENGLISH, *(written for written, _ in OTHERS.values())]:
        read = normalizer(code)(written.replace("[5 dogs]", ""))
        assert not re.search(r"\d", read), read


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(LANGUAGES), PLAIN)
def test_a_text_with_nothing_to_rewrite_stays_as_it_is(code: str, text: str) -> None:
    text = re.sub(r"^[\s-]+|\n\s*-+|-{2,}", "", text)  # a dash at the beginning of a line is a mark of Markdown
    assert normalizer(code)(text) == text


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("ab你*_`#-[]()!|\n 1.~"), max_size=60), st.lists(st.integers(1, 60), max_size=5))
def test_how_a_text_is_cut_into_pieces_does_not_change_its_marks(text: str, cuts: list[int]) -> None:
    marks, ends = MarkFilter(), sorted({*cuts, len(text)})
    pieces = [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    assert "".join(map(marks.push, pieces)) + marks.flush() == unmarked(text)


@pytest.mark.parametrize("code", ["en", "de", "zh"])
@pytest.mark.parametrize(
    "unit", ["1", "1.", "1,", "1-", "1/", "🇩", "[a](", "*", "**a", "a@", "http://", "Dr. ", "1 1/2 "]
)
def test_hostile_text_takes_linear_time(code: str, unit: str) -> None:
    assert is_linear(lambda text: normalizer(code)(text[: len(text) // 8]), unit)


@pytest.mark.parametrize("code", LANGUAGES)
def test_numbers_of_up_to_15_digits_have_words(code: str) -> None:
    numbers = [0, 1, 10, 11, 20, 100, 101, 110, 1001, 10_000, 10_010, 100_000, 1_000_100, 10**9, 10**15 - 1]
    words = [cardinal(code, number) for number in numbers]
    assert len({*words}) == len(numbers)
    assert not any(re.search(r"[\d,]", word) for word in [*words, *(ordinal(code, number) for number in numbers)])


def test_the_numbers_that_num2words_lacks() -> None:
    assert [cardinal("zh", n) for n in (10, 12, 110, 1001, 1010, 10_010, 100_001, 20_000_000)] == [
        "十", "十二", "一百一十", "一千零一", "一千零一十", "一万零一十", "十万零一", "二千万",
    ]  # fmt: skip
    assert cardinal("hi", 10_00_21_099) == "दस करोड़ इक्कीस हजार निन्यानबे"


def fits(text: str) -> bool:
    return estimate_seconds(text) <= 13


def test_passages_keep_what_is_written_and_their_words_fit() -> None:
    text = "He paid $1,234,567.89 in 2024. " * 6
    found = normalized_passages(text, fits, normalizer("en"))
    assert " ".join(passage.as_written for passage in found) == text.strip()
    assert all(fits(passage.text) and not re.search(r"\d", passage.text) for passage in found)


def test_a_text_that_comes_piece_by_piece_has_the_same_sentences() -> None:
    """Normalising moves no end of a sentence, and no sentence comes later."""
    text = "Dr. Lee paid 5 dollars in 2024. It was **really** cheap at 5 p.m. She then left for home, e.g. by bus.\n\n"
    plain, normal = PieceSplitter(fits), NormalizingSplitter(fits, True, normalizer("en"))
    for letter in text.replace("*", ""):
        expected, got = plain.push(letter), normal.push(letter)
        assert [passage.text for passage in expected.passages] == [passage.as_written for passage in got.passages]
        assert expected.ends_paragraph == got.ends_paragraph


def test_the_language_is_that_of_the_name_of_the_voice() -> None:
    names = ["v2/de_speaker_3", "en_male", "voices/fr_anna.npz", "anna", "xx_anna", None, object(), "end_male"]
    assert [language_of(name) for name in names] == ["de", "en", "fr", None, None, None, None, None]
    assert chosen_language("auto", "v2/de_speaker_3") == "de"
    assert chosen_language("auto", "anna") == chosen_language("off", "en_male") == for_single("auto") == "off"
    assert chosen_language("fr", "en_male") == for_single("fr") == "fr"
    with pytest.raises(BarkError, match="normalize must be auto, off, en"):
        chosen_language("EN", None)


def test_without_the_libraries_auto_is_off_and_a_language_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    libraries.missing.cache_clear()
    normalizer.cache_clear()
    monkeypatch.setattr(libraries, "LIBRARIES", ("num2words", "no_such_library"))
    try:
        assert chosen_normalizer("auto", "en_male") is None
        with pytest.raises(BarkError, match=r"normalize='en' needs no_such_library: .*\[text\]"):
            chosen_normalizer("en", None)
    finally:
        libraries.missing.cache_clear()
