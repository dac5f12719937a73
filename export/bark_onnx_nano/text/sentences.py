"""The sentences that are spoken: WordNet's examples and definitions, and templates for what those lack.

WordNet's examples are ordinary English, and short; its definitions bring rare words; the templates bring numbers,
times, dates, names, questions and greetings. Word lists teach spelling to sound beyond what sentences reach, and
examples with other words put in teach those words that are common enough to be met, and too rare to be learnt. All of
it is a function of a seed. Sentences that are held out for the evaluation occur in none of it.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass
from itertools import accumulate
from pathlib import Path
from random import Random

from .phrases import EVERYDAY, phrase

WORDNET = Path("/usr/share/wordnet")
HELD_OUT = Path(__file__).with_name("held_out.txt")
MARKS = ("[laughs]", "[laughter]", "[sighs]", "[music]", "[gasps]", "[clears throat]")

LONGEST = 150  # characters of one utterance: about ten seconds
_SEVERAL = 5  # times that the glosses use a word for it to be one of the vocabulary
_EXCHANGED = 0.6  # of an example's words of four letters and more, where words are exchanged
_PLAIN = re.compile(r"[A-Za-z0-9 ,.;:?!'$%&()-]+")
_ORDINARY = re.compile(r"[A-Za-z][A-Za-z' ]+")


def examples(directory: Path = WORDNET) -> list[str]:
    """The quoted examples of WordNet's glosses, sorted, each once."""
    found = {_clean(match) for gloss in _glosses(directory) for match in re.findall(r'"([^"]+)"', gloss)}
    return sorted(text for text in found if _speakable(text))


def definitions(directory: Path = WORDNET) -> list[str]:
    """The definitions of WordNet's glosses without remarks in parentheses, sorted, each once."""
    found = {_clean(re.sub(r"\([^)]*\)", "", gloss.split('"')[0])) for gloss in _glosses(directory)}
    return sorted(text for text in found if _speakable(text) and len(text) > 20)


def words(directory: Path = WORDNET) -> list[str]:
    """WordNet's words of one part, sorted, each once."""
    lines = [line for name in ("noun", "verb", "adj", "adv") for line in _lines(directory / f"index.{name}")]
    return sorted({line.split()[0] for line in lines if re.match(r"[a-z]{3,12} ", line)})


def vocabulary(directory: Path = WORDNET) -> list[str]:
    """The words that the glosses use several times, sorted, each once."""
    times = Counter(word for text in examples(directory) + definitions(directory) for word in spelled(text))
    return sorted(word for word, count in times.items() if count >= _SEVERAL and re.fullmatch("[a-z]{4,}", word))


def _glosses(directory: Path) -> Iterator[str]:
    for name in ("noun", "verb", "adj", "adv"):
        yield from (line.split(" | ", 1)[1] for line in _lines(directory / f"data.{name}"))


def _lines(path: Path) -> list[str]:
    """The lines of one of WordNet's files, without the licence at its top."""
    return [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line[:1] != " "]


def _clean(text: str) -> str:
    text = " ".join(text.replace("`", "'").replace("--", ", ").split())
    return re.sub(r" ([,.;:?!])", r"\1", text).strip(" .;:,-'")


def _speakable(text: str) -> bool:
    return 8 < len(text) < 110 and _PLAIN.fullmatch(text) is not None and text[0].isalnum()


def spelled(text: str) -> list[str]:
    """The words of a text as they are counted: in lower case."""
    return re.findall(r"[a-z']+", text.lower())


def choose_held_out(count: int, seed: int = 7) -> list[str]:
    """Examples of 4 to 14 ordinary words."""
    everything = examples()
    frequency = Counter(word for text in everything + definitions() for word in spelled(text))
    common = {word for word, times in frequency.items() if times >= 12}
    ordinary = [
        text
        for text in everything
        if _ORDINARY.fullmatch(text) and 4 <= len(spelled(text)) <= 14 and set(spelled(text)) <= common
    ]
    return sorted(Random(seed).sample(ordinary, count))


def held_out() -> list[str]:
    """The sentences of the evaluation."""
    return HELD_OUT.read_text(encoding="utf-8").splitlines()


@dataclass(frozen=True)
class Mixture:
    """How often an utterance is made of examples, a definition, a list of words, words in a row, an everyday phrase, an
    example with other words put in; the rest comes from templates."""

    examples: float
    definitions: float
    lists: float
    rows: float
    everyday: float = 0.04
    exchanged: float = 0.0


SPOKEN = Mixture(0.58, 0.12, 0.06, 0.04)
# Much to read: most of the language's words are in the definitions, and all that are used a few times come equally
# often in the exchanged examples.
TIMED = Mixture(0.22, 0.22, 0.05, 0.05, 0.02, 0.38)


def training_texts(count: int, seed: int, mixture: Mixture, without: Iterable[str] = ()) -> Iterator[tuple[str, str]]:
    """Pairs of what the model reads and what is spoken; the two differ only by marks such as `[laughs]`.

    Args:
        without: texts that no pair repeats, beside the sentences that are held out.
    """
    random = Random(seed)
    forbidden = {" ".join(spelled(text)) for text in held_out()}
    sources = [examples(), definitions(), words(), vocabulary()]
    kept_out = forbidden | {" ".join(spelled(part)) for text in without for part in re.split(r"[.?!] ", text)}
    sources[0] = [text for text in sources[0] if " ".join(spelled(text)) not in kept_out]
    decks: list[list[str]] = [[] for _ in sources]

    def draw(kind: int) -> str:
        """The next text of a source; each comes once before any comes again."""
        if not decks[kind]:
            decks[kind] = random.sample(sources[kind], len(sources[kind]))
        return decks[kind].pop()

    made = 0
    while made < count:
        text = _utterance(draw, random, mixture)
        if len(text) <= LONGEST and not any(part in " ".join(spelled(text)) for part in forbidden):
            made += 1
            yield _with_marks(text, random), text


def _utterance(draw: Callable[[int], str], random: Random, mixture: Mixture) -> str:
    kind = random.random()
    limits = list(accumulate(astuple(mixture)))
    if kind < limits[0]:
        parts = [_sentence(draw(0), random)]
        while len(" ".join(parts)) < 45 and random.random() < 0.75:
            parts.append(_sentence(draw(0), random))
        return " ".join(parts)
    if kind < limits[1]:
        return _sentence(draw(1), random)
    if kind < limits[2]:
        return _sentence(", ".join(draw(2) for _ in range(random.randint(2, 5))), random)
    if kind < limits[3]:
        return _sentence(" ".join(draw(2) for _ in range(random.randint(2, 6))), random)
    if kind < limits[4]:
        return random.choice(EVERYDAY)
    if kind < limits[5]:
        return _sentence(_exchanged(draw(0), lambda: draw(3), random), random)
    return " ".join(phrase(random) for _ in range(random.choice((1, 1, 1, 2))))


def _exchanged(text: str, draw: Callable[[], str], random: Random) -> str:
    """An example with some of its longer words exchanged for others of the vocabulary."""
    return re.sub(r"[A-Za-z]{4,}", lambda found: draw() if random.random() < _EXCHANGED else found[0], text)


def _sentence(text: str, random: Random) -> str:
    """As people type: mostly with a capital and a full stop, sometimes with neither."""
    if random.random() < 0.8:
        text = text[0].upper() + text[1:]
    if text[-1] in ".?!":
        return text
    question = re.match(r"(?i)(who|what|why|where|when|how|do|did|does|is|are|can|could|will|would) ", text)
    ending = random.random()
    return text + ("?" if question and ending < 0.8 else "." if ending < 0.8 else "!" if ending < 0.85 else "")


def _with_marks(text: str, random: Random) -> str:
    """Once in a while a mark that is not spoken, at either end or between words."""
    if random.random() >= 0.06 or len(text) > LONGEST - 20:
        return text
    parts = text.split(" ")
    parts.insert(random.choice((0, len(parts), len(parts), random.randrange(len(parts) + 1))), random.choice(MARKS))
    return " ".join(parts)


def without_marks(text: str) -> str:
    """What is spoken of a text that is read."""
    for mark in MARKS:
        text = text.replace(f"{mark} ", "").replace(f" {mark}", "")
    return text
