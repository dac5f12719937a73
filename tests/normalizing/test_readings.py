"""Writing that was once read wrongly: what it becomes, in whole sentences."""

import pytest

from bark_onnx.normalizing.libraries import LIBRARIES
from bark_onnx.normalizing.normalizer import normalizer
from linear import is_linear

for library in LIBRARIES:
    pytest.importorskip(library)

ENGLISH = {
    # letters after a number, and magnitudes
    "He lives at 221B Baker St. in London.": "He lives at two hundred and twenty-one B Baker Street in London.",
    "Gate 4B, a 70B model, a 3M tape": "Gate four B, a seventy B model, a three M tape",
    "We have 5M users, 1.5B views.": "We have five million users, one point five billion views.",
    "Buses 747s, a 4k film, 10x more": "Buses seven hundred and forty-sevens, a four k film, ten times more",
    "Version v2.0, v3.1": "Version two point zero, version three point one",
    "Roe v. 12 others": "Roe v. twelve others",
    "Error 0x8F": "Error zero x eight F",
    # saints, streets, doctors
    "St. John met Dr. Lee on Oak Dr. in town.": "Saint John met Doctor Lee on Oak Drive in town.",
    "The shop is on Main St. She left St. Paul.": "The shop is on Main Street. She left Saint Paul.",
    "At 9 Main St, Reno, NV 89501": "At nine Main Street, Reno, NV eight nine five zero one",
    # Roman numerals, where the word before makes them certain
    "World War II, Henry VIII, Chapter IV": "World War two, Henry the eighth, Chapter four",
    "I am I. Malcolm X, IV fluids, Part I is": "I am I. Malcolm X, IV fluids, Part I is",
    # money
    "Pay $5-$10 or $.50.": "Pay five dollars to ten dollars or fifty cents.",
    "Pay $1M-$2M.": "Pay one million dollars to two million dollars.",
    "Is it <$5, $-5 or 50¢?": "Is it less than five dollars, minus five dollars or fifty cents?",
    "Rent is $20/hr, $75k/yr, AU$5.": (
        "Rent is twenty dollars per hour, seventy-five thousand dollars per year, five dollars."
    ),
    # dates and times
    "The 1st of May, May 5-7, 2024": "The first of May, May fifth to seventh, twenty twenty-four",
    "On 2024/03/05, 05-Mar-2024": "On March fifth, twenty twenty-four, March fifth, twenty twenty-four",
    "At 2024-03-05T10:30.": "At March fifth, twenty twenty-four ten thirty.",
    "Open 9-5pm, 9am-5pm, 9:30-11:00.": "Open nine to five P M, nine A M to five P M, nine thirty to eleven o'clock.",
    "Open Mon-Fri, the 1920s-30s": "Open Monday to Friday, the nineteen twenties to thirties",
    # telephones, cards and other long numbers
    "Call 020 7946 0958 or 1-800-FLOWERS.": (
        "Call zero two zero, seven nine four six, zero nine five eight or one, eight zero zero-FLOWERS."
    ),
    "Card 4111 1111 1111 1111, not 2019 2020 2021": (
        "Card four one one one, one one one one, one one one one, one one one one, "
        "not twenty nineteen twenty twenty twenty twenty-one"
    ),
    "Order 987654321": "Order nine eight seven six five four three two one",
    "We have 1 000 000 left": "We have one million left",
    # sums and signs
    "So 5 - 3 = 2, 1+1=2, +/-5": "So five minus three equals two, one plus one equals two, plus or minus five",
    "If x <= 5, 10+ users, 10^6, 3 cm²": (
        "If x less than or equal to five, ten plus users, ten to the power of six, three square centimeters"
    ),
    "It is 8/10, 50/50, 1/2 kg": "It is eight out of ten, fifty-fifty, one half kilogram",
    "Mix 1:1:2, 1,000th, 5'11 tall": "Mix one to one to two, one thousandth, five foot eleven tall",
    "Read report_v2.pdf, 1️⃣": "Read report underscore v two dot pdf, one",
    # Markdown
    "Do:\n1. Eat\n2) Sleep\n- [x] Go\n": "Do:\none. Eat.\nTwo) Sleep.\nGo.\n",
    "| A | B |\n|---|:-:|\n|c|d|\n": "A , B ,\n\nc,d,\n",
}  # fmt: skip
OTHERS = {
    "de": (
        "Die 2. Liga gewann 2:1 im 19. Jahrhundert, am 05.03.24 um 14.30 Uhr. Es war 1 Hund.",
        "Die zweite Liga gewann zwei zu eins im neunzehnten Jahrhundert, am fünften März zweitausendvierundzwanzig um "
        "vierzehn Uhr dreißig. Es war ein Hund.",
    ),
    "es": ("Son 21 años y 1 perro, a las 9 a. m.", "Son veintiún años y un perro, a las nueve A M."),
    "fr": (
        "La 1re fois, 5 M€ à 1h au 06.12.34.56.78",
        "La première fois, cinq millions d'euros à une heure au zéro six, douze, trente-quatre, cinquante-six, "
        "soixante-dix-huit",
    ),
    "hi": ("98765 43210", "नौ आठ सात छह पाँच, चार तीन दो एक शून्य"),
    "it": ("1 cane alle ore 21.30", "Un cane alle ore ventuno e trenta"),
    "ja": ("電話は03-1234-5678、-5℃、50%の人", "電話は零三の一二三四の五六七八、マイナス摂氏五度、五十パーセントの人"),
    "ko": ("오후 2시에 3명, 6월, 50%가", "오후 두 시 에 세 명, 유월, 오십 퍼센트 가"),
    "pl": (
        "5 maja 2024 r., m.in. 3,5 mln zł",
        "Piąty maja dwa tysiące dwadzieścia cztery, między innymi trzy przecinek pięć milionów złotych",
    ),
    "pt": (
        "Ligue (11) 91234-5678 em 2019-2020.",
        "Ligue um um, nove um dois três quatro, cinco seis sete oito em dois mil e dezenove a dois mil e vinte.",
    ),
    "ru": (
        "В 1990 году, 5 мая 2024 года, 2-го, 1-я, 3,5 млн руб.",
        "В тысяча девятьсот девяностом году, пятое мая две тысячи двадцать четвёртого года, второго, первая, "
        "три запятая пять миллионов рублей.",
    ),
    "tr": ("21. yüzyıl, 3. kat", "Yirmi birinci yüzyıl, üçüncü kat"),
    "zh": ("2个人，50%的人，2019-2020年，2:1", "两个人，百分之五十的人，二零一九到二零二零年，二比一"),
}  # fmt: skip


@pytest.mark.parametrize("written", ENGLISH)
def test_english(written: str) -> None:
    assert normalizer("en")(written) == ENGLISH[written]


@pytest.mark.parametrize("code", OTHERS)
def test_another_language(code: str) -> None:
    written, read = OTHERS[code]
    assert normalizer(code)(written) == read


def test_text_that_only_looks_like_such_writing_stays() -> None:
    for text in (
        "I think. A B- and C++.",
        "[laughs] [MAN] ♪ la ♪ ... well — no…",
        "He sat. The sun - a star",
        "IV, XL, VI",
    ):
        assert normalizer("en")(text) == text


@pytest.mark.parametrize("unit", ["0 000 ", "(01) ", "|-", "Main St. ", "a.pdf", "1:1:"])
def test_hostile_text_takes_linear_time(unit: str) -> None:
    assert is_linear(lambda text: normalizer("en")(text[: len(text) // 16]), unit)
