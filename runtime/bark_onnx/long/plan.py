"""The plan of a text: passages, voices, history, seed and options, which together decide the result."""

import hashlib
import json
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from ..engine.job import Request
from ..engine.stream import StreamOptions
from ..errors import BarkError, require
from ..model.tokenizer import Tokenizer, require_something_to_say
from ..model.voice import VoicePreset
from ..normalizing.marks import unmarked
from ..normalizing.normalizer import Normalizer
from ..normalizing.passages import in_words, normalized_passages
from ..numbers import SEEDS, check_seed, plain_numbers
from ..splitting.passages import Passage, estimate_seconds
from ..splitting.script import parse_script
from ..stages.options import GenerationOptions
from .guards import Guards

History = Literal["fixed", "rolling", "hybrid"]
HISTORIES: tuple[History, ...] = ("fixed", "rolling", "hybrid")


@dataclass(frozen=True)
class NarrationOptions:
    """How a long text is spoken.

    Args:
        passage_seconds: the most speech in one passage, estimated; an utterance ends after about 15 s.
        sentence_pause, clause_pause, speaker_pause, paragraph_pause: seconds of silence between two passages, by
            what ends there. Inside a passage the model makes the pauses.
        guards: which passages are spoken again.
        block: passages spoken together; each takes memory for its KV caches.
        lookahead: passages that a stream prepares before they are asked for.
        flush_seconds: if a text comes piece by piece and nothing comes for so long, an unfinished sentence is spoken.
        first_clause: if a text comes piece by piece, begin to speak after the first clause instead of the first
            sentence.
    """

    passage_seconds: float = 13.0
    sentence_pause: float = 0.25
    clause_pause: float = 0.08
    speaker_pause: float = 0.4
    paragraph_pause: float = 0.7
    guards: Guards = field(default_factory=Guards)
    block: int = 4
    lookahead: int = 2
    flush_seconds: float = 0.5
    first_clause: bool = True

    def __post_init__(self) -> None:
        plain_numbers(self)
        checks = {f"{name}_pause must be 0 to 60": 0 <= getattr(self, f"{name}_pause") <= 60 for name in _PAUSES} | {
            "passage_seconds must be 1 to 14": 1 <= self.passage_seconds <= 14,
            "block must be 1 to 64": 1 <= self.block <= 64,
            "lookahead must be 1 to 64": 1 <= self.lookahead <= 64,
            "flush_seconds must be 0.05 to 3600": 0.05 <= self.flush_seconds <= 3600,
        }
        require(self, checks)


_PAUSES = ("sentence", "clause", "speaker", "paragraph")


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that decides the result of a text.

    Args:
        passages: what is said, in order.
        voices: the voice of each speaker; the speaker of a text that is not a script is None. A voice of None means
            that the first passage is spoken with a random voice, which the others then take over.
        history: what conditions a passage: always the voice (`fixed`), the passage before (`rolling`), or the end of
            the voice followed by the end of the passage before (`hybrid`).
        bundle: identifies the model.
        streaming: how a stream cuts its passages into chunks; None for passages that are complete. Exact streams give
            complete passages, too.
        single: the text is one utterance, spoken as `generate` speaks it: with the seed itself, neither trimmed nor
            joined.
        growing: the text comes piece by piece, and passages are added to the plan.

    Raises BarkError for an unknown history or an impossible seed.
    """

    passages: list[Passage]
    voices: Mapping[str | None, VoicePreset | None]
    history: History
    seed: int
    options: GenerationOptions
    narration: NarrationOptions
    bundle: str
    streaming: StreamOptions | None = None
    single: bool = False
    growing: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.history, str) or self.history not in HISTORIES:
            raise BarkError(f"history must be {', '.join(HISTORIES)}, not {self.history!r}")
        object.__setattr__(self, "seed", check_seed(self.seed))

    def block(self, start: int, *, voiced: bool) -> range:
        """The passages from `start` that are spoken together.

        A passage is spoken alone if it is conditioned on the passage before it, if it decides the voice of the others,
        if it is given out while it is made, or if the text comes piece by piece.

        Args:
            voiced: whether that voice is known already.
        """
        early = self.streaming is not None and not self.streaming.exact
        alone = self.growing or early or self.history != "fixed" or (None in self.voices.values() and not voiced)
        return range(start, min(len(self.passages), start + (1 if alone else self.narration.block)))

    def fingerprint(self) -> str:
        """A sha256 of the plan, in hexadecimal."""
        voices = {
            str(speaker): None if voice is None else _hash(*voice.to_prompt().values())
            for speaker, voice in self.voices.items()
        }
        document = {
            "passages": [
                {"text": passage.text, "ends_paragraph": passage.ends_paragraph, "speaker": passage.speaker}
                for passage in self.passages  # how it is written changes no sample
            ],
            "voices": voices,
            "options": [self.history, self.seed, asdict(self.options), asdict(self.narration)],
            "streaming": self._cutting,
            "bundle": self.bundle,
        }
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()

    @property
    def _cutting(self) -> dict[str, Any] | None:
        """The options of a stream that its samples depend on; None if they are those of complete passages."""
        if self.streaming is None or self.streaming.exact:
            return None
        cutting = asdict(self.streaming)
        del cutting["playback_speed"]
        return cutting

    @property
    def request(self) -> Request:
        """The request of a text that is one utterance."""
        return Request(self.passages[0].text, voice=self.voices[None], options=self.options, seed=self.seed)

    @property
    def expected_seconds(self) -> float:
        """About how long the speech will be, without pauses."""
        return sum(estimate_seconds(passage.text) for passage in self.passages)

    def pause_before(self, index: int) -> float:
        """Seconds of silence before a passage."""
        if index == 0:
            return 0.0
        before, here = self.passages[index - 1], self.passages[index]
        if before.ends_paragraph:
            return self.narration.paragraph_pause
        if before.speaker != here.speaker:
            return self.narration.speaker_pause
        last = before.text[-1]
        vowel_sign = unicodedata.category(last) in ("Mn", "Mc")  # Hindi words may end in one
        cut = last.isalnum() or vowel_sign or last in ",;:—–、，；："
        return self.narration.clause_pause if cut else self.narration.sentence_pause


def speakable(passages: Sequence[Passage], tokenizer: Tokenizer, *, warns: bool = True) -> list[Passage]:
    """The passages that say something, in themselves and in the model's vocabulary.

    Another passage, such as a line of asterisks, only ends a paragraph: the model would invent words for it. One
    warning names all words that the vocabulary lacks, unless `warns` is False. Raises TextError if no passage says
    anything.
    """
    found: list[Passage] = []
    lost: dict[str, None] = {}  # words in their order
    for passage in passages:
        reading = tokenizer.read(passage.text)
        lost |= dict.fromkeys(reading.lost)
        if reading.says_something:
            found.append(passage)
        elif found:
            found[-1] = replace(found[-1], ends_paragraph=True)
    tokenizer.report(lost, says_something=bool(found), warns=warns)
    return found


def one_passage(text: str, normalizer: Normalizer | None) -> Passage:
    """A text as one passage, in words. Raises TextError unless it is a string that says something."""
    passage = Passage(text, ends_paragraph=True)
    if normalizer is not None and isinstance(text, str):  # an emoji says something in words only
        passage = in_words(replace(passage, text=unmarked(text)), normalizer)
    require_something_to_say(passage.text)
    return passage


def plan_passages(
    text: str,
    fits: Callable[[str], bool],
    tokenizer: Tokenizer,
    cast: Collection[str] | None = None,
    *,
    warns: bool = True,
    normalizers: Mapping[str | None, Normalizer | None] = MappingProxyType({}),
) -> list[Passage]:
    """Split a text into passages that one utterance can say.

    Args:
        text: paragraphs with blank lines between them; with a cast, a script of `SPEAKER: line`.
        fits: whether one utterance can say a text.
        tokenizer: the model's.
        cast: the speakers of a script.
        warns: whether to warn about words that the vocabulary lacks.
        normalizers: of the speakers; that of a text that is not a script is under None.

    Raises TextError for a text that says nothing, and BarkError for a script with speakers who are not in the cast.
    """
    if cast is None:
        normalizer = normalizers.get(None)
        if normalizer is None or not isinstance(text, str):  # an emoji says something in words only
            require_something_to_say(text)
        return speakable(normalized_passages(text, fits, normalizer), tokenizer, warns=warns)
    return speakable(
        [
            replace(passage, ends_paragraph=passage.ends_paragraph and line.ends_paragraph)
            for line in parse_script(text, cast)
            for passage in normalized_passages(line.text, fits, normalizers.get(line.speaker), line.speaker)
        ],
        tokenizer,
        warns=warns,
    )


def passage_seed(seed: int, index: int, attempt: int) -> int:
    """The seed of an attempt at a passage, derived from the plan's seed; each attempt takes the next one.

    That of the first passage is the plan's seed, so that a text begins as its first passage does alone.
    """
    if index == 0:
        return (seed + attempt) % SEEDS
    first = np.random.SeedSequence(seed, spawn_key=(index,)).generate_state(1)[0]
    return (int(first) + attempt) % 2**32


def _hash(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array, np.int64).tobytes() for array in arrays)).hexdigest()
