"""The texts that the synthesizer speaks: a mixture of WordNet's sentences and templates, decided by a seed.

WordNet's examples are short sentences of ordinary English; its definitions have rare words. The templates add numbers,
times, dates, names, questions and greetings. Lists of words teach the pronunciation of words that no sentence has.
Examples in which words are exchanged teach words that are common, but too rare in the sentences to be learnt from them.
The sentences of the evaluation occur in none of the texts.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import accumulate
from pathlib import Path
from random import Random

from . import wordnet
from .phrases import EVERYDAY, phrase
from .words import words_of

# 120 of WordNet's examples, of 4 to 13 words. Each of their words occurs at least twelve times in the glosses.
HELD_OUT = Path(__file__).parents[1] / "held_out.txt"
MARKS = ("[laughs]", "[laughter]", "[sighs]", "[music]", "[gasps]", "[clears throat]")

LONGEST = 150  # characters of one utterance, about ten seconds
_EXCHANGED_WORDS = 0.6  # share of an example's words of four letters and more that are exchanged


def held_out() -> list[str]:
    """Return the sentences of the evaluation."""
    return HELD_OUT.read_text(encoding="utf-8").splitlines()


@dataclass(frozen=True)
class Mixture:
    """The share of each kind of utterance; the remainder comes from templates.

    Args:
        examples: one of WordNet's examples, or several if they are short.
        definitions: one of WordNet's definitions.
        lists: two to five words with commas between them.
        rows: two to six words without commas.
        everyday: an everyday phrase.
        exchanged: one of WordNet's examples in which words are exchanged for others of the vocabulary.
    """

    examples: float
    definitions: float
    lists: float
    rows: float
    everyday: float = 0.04
    exchanged: float = 0.0

    def kind(self, share: float) -> str:
        """Return the kind of utterance to which a number from 0 to 1 belongs; "template" for the remainder."""
        names = [field.name for field in fields(self)]
        limits = accumulate(getattr(self, name) for name in names)
        return next((name for name, limit in zip(names, limits, strict=True) if share < limit), "template")


SPOKEN = Mixture(0.58, 0.12, 0.06, 0.04)
# For the semantic model, which needs many words: most words of the language occur in the definitions, and in the
# exchanged examples all words of the vocabulary are equally frequent.
TIMED = Mixture(0.22, 0.22, 0.05, 0.05, 0.02, 0.38)


def training_texts(count: int, seed: int, mixture: Mixture, without: Iterable[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield `count` pairs: the text that the model reads, and the text that is spoken.

    The two differ only by marks such as `[laughs]`, which are not spoken.

    Args:
        without: examples that are left out, besides the sentences of the evaluation.
    """
    random = Random(seed)
    forbidden = {_normal(text) for text in held_out()}
    left_out = forbidden | {_normal(part) for text in without for part in re.split(r"[.?!] ", text)}
    sources = {
        "examples": [text for text in wordnet.examples() if _normal(text) not in left_out],
        "definitions": wordnet.definitions(),
        "words": wordnet.words(),
        "vocabulary": wordnet.vocabulary(),
    }
    decks: dict[str, list[str]] = {name: [] for name in sources}

    def draw(source: str) -> str:
        """Return the next text of a source. No text is repeated before all have been drawn."""
        if not decks[source]:
            decks[source] = random.sample(sources[source], len(sources[source]))
        return decks[source].pop()

    made = 0
    while made < count:
        text = _utterance(draw, random, mixture)
        if len(text) <= LONGEST and not any(part in _normal(text) for part in forbidden):
            made += 1
            yield _with_marks(text, random), text


def _normal(text: str) -> str:
    """The text without case and punctuation, for comparisons."""
    return " ".join(words_of(text))


def _utterance(draw: Callable[[str], str], random: Random, mixture: Mixture) -> str:
    kind = mixture.kind(random.random())
    if kind == "examples":
        parts = [_sentence(draw("examples"), random)]
        while len(" ".join(parts)) < 45 and random.random() < 0.75:
            parts.append(_sentence(draw("examples"), random))
        return " ".join(parts)
    if kind == "definitions":
        return _sentence(draw("definitions"), random)
    if kind == "lists":
        return _sentence(", ".join(draw("words") for _ in range(random.randint(2, 5))), random)
    if kind == "rows":
        return _sentence(" ".join(draw("words") for _ in range(random.randint(2, 6))), random)
    if kind == "everyday":
        return random.choice(EVERYDAY)
    if kind == "exchanged":
        return _sentence(_exchanged(draw("examples"), lambda: draw("vocabulary"), random), random)
    return " ".join(phrase(random) for _ in range(random.choice((1, 1, 1, 2))))


def _exchanged(text: str, draw: Callable[[], str], random: Random) -> str:
    """Exchange some of a text's longer words for words from `draw`."""
    return re.sub(r"[A-Za-z]{4,}", lambda found: draw() if random.random() < _EXCHANGED_WORDS else found[0], text)


def _sentence(text: str, random: Random) -> str:
    """Write a text as people type it: usually with a capital and a full stop, sometimes without one or both."""
    if random.random() < 0.8:
        text = text[0].upper() + text[1:]
    if text[-1] in ".?!":
        return text
    question = re.match(r"(?i)(who|what|why|where|when|how|do|did|does|is|are|can|could|will|would) ", text)
    ending = random.random()
    return text + ("?" if question and ending < 0.8 else "." if ending < 0.8 else "!" if ending < 0.85 else "")


def _with_marks(text: str, random: Random) -> str:
    """Add a mark to 6 % of the texts, at the start, at the end or between two words."""
    if random.random() >= 0.06 or len(text) > LONGEST - 20:
        return text
    parts = text.split(" ")
    parts.insert(random.choice((0, len(parts), len(parts), random.randrange(len(parts) + 1))), random.choice(MARKS))
    return " ".join(parts)


def without_marks(text: str) -> str:
    """Return the part of a text that is spoken."""
    for mark in MARKS:
        text = text.replace(f"{mark} ", "").replace(f" {mark}", "")
    return text
