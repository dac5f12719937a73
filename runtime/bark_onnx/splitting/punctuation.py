"""Punctuation of Bark's 13 languages: stops, quotes, brackets, and the full stops that do not end a sentence.

The language of a text is unknown and may change within the text, so one set of tables holds all languages. A string
that is an abbreviation in one language and a word in another counts as an abbreviation only if the next word fits.
"""

import re
import unicodedata

WIDE_STOPS = "。！？｡।॥"  # no space has to follow them, and they do nothing but end sentences
STOPS = ".!?…" + WIDE_STOPS
OPENING = "«»‹›“”„‟‘’‚\"'「『（(【《〈｢{¿¡"  # some of these open in one language and close in another
CLOSING = "«»‹›“”‟‘’\"'」』）)】》〉｣}]"
WIDE_CLOSING = "»›”’」』）)】》〉｣}]"
DASHES = "-–—―"
HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA = "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"
CJK = HAN + KANA + "\u3000-\u3004\u3006\u3008-\u303f\uff01-\uff65"  # not Hangul: Korean has spaces between words
COMBINING = "\u0300-\u036f\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963\u3099\u309a\u200d\ufe00-\ufe0f"

# Bark's own marks, such as [laughs] and ♪ a song ♪. What is inside them is not punctuation. The bound is for a bracket
# that is never closed: without it the mark would reach to a bracket far away.
MARK = r"\[[^\[\]]{1,80}\]"
SONG = "♪[^♪]*♪"

# These never end a sentence: a name, a number or an explanation follows. One written with a capital matches only a
# capital.
CONTINUES = frozenset(
    # English, and titles that many languages share
    "mr mrs Ms dr prof rev Fr hon gov Gen Sen Rep Capt Lt Sgt Col Cmdr Maj Pres Supt messrs Mt approx cf viz e.g i.e "
    # German
    "Hr hrn frl dipl dipl.-ing bzw ca evtl ggf inkl sog vgl nr z.b d.h i.d.r z.t s.o s.u m.e o.ä "
    # Spanish, Portuguese
    "sr sra sres srta Sto Sta dra dña exmo exma avda p.ej p.ex "
    # French, Italian
    "MM Mgr Mlle Mme bld boul c.-à-d sig sigg dott dott.ssa avv geom spett egr "
    # Polish
    "np tzn tj tzw m.in św ul al inż mgr hab gł płk ks por zob wg "
    # Russian
    "т.е т.к т.н напр см ср ул проф акад доц гос просп бул наб "
    # Turkish
    "sn doç yrd öğr Av hz alb bkz örn cad sok mah "
    # Hindi
    "डॉ श्री प्रो सुश्री पं".split()
)
# These are abbreviations if a number follows. Otherwise they are words, and may end a sentence.
BEFORE_NUMBER = frozenset(
    "no nos núm num nº n° n art arts p pp pg pág págs pag s str стр с ст рис гл п пп табл № fig figs abb abs kap rozdz "
    "cap caps ch chap vol vols bd sec sect tab tel ext ok ок около poz pkt ust bl rn st tom т кв д корп оф pt op eq v "
    "vv jan feb mar apr jun jul aug sep sept oct nov dec okt dez janv févr avr juil août ene abr ago dic gen giu lug "
    "ott fev rs रु सं min max circa c".split()
)
# These end a sentence only if the next word is a typical first word of a sentence (STARTERS).
UNSURE = frozenset("st vs jr snr inc ltd co corp bros v.chr n.chr u.s u.k ph.d".split())
# Letters with full stops between them that often end a sentence. They do if a capital follows.
MAY_END = frozenset("a.m p.m a.c d.c b.c a.d n.e u.a u.s.w o.o т.д т.п н.э др v.chr n.chr п.н.э p.n.e".split())
COMPOUNDS = CONTINUES | MAY_END
ONE_LETTER_WORDS = frozenset("aàeéèiíoóuyяоуа")  # "Это я.", "Il en a.", "Allons-y."
STARTERS = frozenset(
    "the he she it they we you i this that these those there then but and so when what why how if my his her its our "
    "der die das er sie es wir ihr ich dann aber und doch dies diese dieser man als wenn "
    "él ella ellos ellas nosotros pero entonces después esto eso yo "
    "il elle ils elles nous vous je tu ce cela mais puis c lui lei noi voi loro ma poi allora questo egli "
    "ele ela eles elas nós mas depois isso isto eu ona oni one my wy ale potem to ten ta "
    "он она оно они мы вы это но потом затем я в на bu o şu ama sonra ben biz siz onlar".split()
)
MONTHS = frozenset(
    "january february march april may june july august september october november december "
    "januar jänner februar märz mai juni juli august september oktober november dezember "
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre "
    "ocak şubat mart nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık "
    "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia".split()
)
# Words with a capital that follow an ordinal number ("2. Weltkrieg", "3. Bölüm"): German and Turkish.
COUNTED = frozenset(
    "weltkrieg jahrhundert jahrhunderts jahrtausend bundesliga liga klasse stock etage platz kapitel lebensjahr "
    "geburtstag mal tag bölüm dünya cadde sokak kat yüzyıl sınıf lig ordu perde".split()
)
COUNTING = re.compile(  # a number after one of these is an ordinal: "der 3. Versuch", but not "I am 12. My brother"
    r"(?:^|\W)(?:der|dem|den|des|die|das|vom|zum|zur|beim|im|ins|ein|einem|einen|seinem|seinen|ihrem|ihren|(?<!\bI )am)"
    r" \d{1,3}$",
    re.IGNORECASE,
)
LETTER_NAMES = frozenset("ए बी सी डी ई एफ जी एच आई जे के एल एम एन ओ पी क्यू आर एस टी यू वी डब्ल्यू एक्स वाई".split())
NEAR = 32  # how many characters before a full stop are examined; every abbreviation is shorter

_WORD = re.compile(r"[\w\u0900-\u0963\u0966-\u097f]{1,40}")
_LAST_WORD = re.compile(r"[\w\u0900-\u0963\u0966-\u097f№°]*")  # applied to reversed text
_LETTERS = re.compile(r"(?:(?<=\W)|^)(?:[^\W\d_]{1,3}\. ?){1,5}[^\W\d_]{1,4}\Z")
_UNIT = re.compile(r"(?:\d ?[^\W\d_]{1,4}|\b[IVXLCM]+ ?[^\W\d_])\Z")  # "5 см", "1990 г", "XX в"


def caseless(character: str) -> bool:
    """Whether a character belongs to a script without capitals."""
    return unicodedata.category(character) in ("Lo", "Mc", "Mn")


def next_word(text: str, at: int) -> str:
    """Return the word that begins at `at`, or "" if no word begins there."""
    word = _WORD.match(text, at)
    return word.group() if word else ""


def last_word(text: str, at: int) -> str:
    """Return the word that ends at `at`, or "" if no word ends there."""
    word = _LAST_WORD.match(text[max(0, at - NEAR) : at][::-1])
    return word.group()[::-1] if word else ""


def is_abbreviation(text: str, start: int, stop: int, following: int) -> bool:
    """Whether the full stop at `stop` belongs to the word before it and does not end a sentence.

    Args:
        start: where the sentence begins.
        following: where the next word begins.
    """
    before = text[max(start, stop - NEAR) : stop]
    word, after = last_word(before, len(before)), next_word(text, following)
    if word.isdigit():
        return _is_ordinal(text[start:stop] if stop - start <= NEAR else before, word, after)
    if after[:1].isdigit() and word.casefold() in BEFORE_NUMBER:
        return True
    if f"{word}.{after}".casefold() in COMPOUNDS:
        return True  # "z. B.", "v. Chr."
    if word.islower() and _UNIT.search(before):
        return False
    letters = None if caseless(word[-1:] or " ") else _LETTERS.search(before[-NEAR // 2 :])
    if letters and (" " not in letters.group() or len(word) == 1 or _compact(letters.group()) in COMPOUNDS):
        return _continues_after_letters(_compact(letters.group()), after)
    if word in CONTINUES or word.casefold() in CONTINUES:
        return True
    if word.casefold() in UNSURE:
        return after.casefold() not in STARTERS
    if len(word) == 1 and not caseless(word):
        return _is_letter(before, word, text[following : following + 2], after)
    return word in LETTER_NAMES and _beside_a_letter_name(before, word, text[following : following + NEAR])


def _is_ordinal(before: str, digits: str, after: str) -> bool:
    if after[:1].islower() or after.casefold() in MONTHS or after.casefold() in COUNTED:
        return True
    alone = not any(character.isalnum() for character in before[: -len(digits)])  # "1. Introduction"
    return len(digits) <= 3 and (alone or COUNTING.search(before) is not None)


def _compact(letters: str) -> str:
    return letters.replace(" ", "").casefold()


def _continues_after_letters(letters: str, after: str) -> bool:
    """Whether the sentence continues after letters with full stops: "e.g.", "z. B.", "U.S.", "p.m.", "J. R. R."."""
    if letters in CONTINUES:
        return True
    if letters in MAY_END:
        return False
    return after.casefold() not in STARTERS


def _is_letter(before: str, letter: str, following: str, after: str) -> bool:
    """Whether a single letter is an initial, a unit, or half of an abbreviation."""
    if len(following) == 2 and following[0].isalpha() and following[1] == ".":
        return True  # "J. R.", "z. B."
    if letter.isupper():
        return after.casefold() not in STARTERS
    return letter.islower() and letter not in ONE_LETTER_WORDS


def _beside_a_letter_name(before: str, word: str, ahead: str) -> bool:
    """Whether the word is an initial in Hindi, which spells letters out: "ए. पी. जे. अब्दुल कलाम"."""
    name = next_word(ahead, 0)
    if name in LETTER_NAMES and ahead[len(name) : len(name) + 1] == ".":
        return True
    former = before[: -len(word)].rstrip()
    return former.endswith(".") and last_word(former, len(former) - 1) in LETTER_NAMES
