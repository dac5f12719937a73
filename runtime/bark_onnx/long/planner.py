"""Plans for a model: what a caller asks for is checked, and what decides the speech is put together.

Every way to speak begins with a plan. It decides whether a text is one utterance or passages.
"""

import hashlib
from collections.abc import AsyncIterable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..engine.stream import StreamOptions
from ..errors import BarkError, or_default
from ..model.bundle import Bundle
from ..model.tokenizer import Tokenizer
from ..model.voice import Voice, VoicePreset, checked_voice
from ..normalizing.choice import AUTO, chosen_normalizer, for_single
from ..normalizing.passages import NormalizingSplitter
from ..numbers import check_seed
from ..sampling.distribution import draw_seed
from ..splitting.passages import estimate_seconds
from ..splitting.pieces import PieceSplitter
from ..stages.options import GenerationOptions
from .attempts import Context
from .feeding import TextFeed, feed_from_thread
from .journal import Journal
from .narrator import Narrator
from .plan import History, NarrationOptions, Plan, one_passage, plan_passages


class Planner:
    """Makes plans for one model.

    Args:
        bundle: the model.
        tokenizer: of the model.
    """

    def __init__(self, bundle: Bundle, tokenizer: Tokenizer) -> None:
        self._bundle = bundle
        self._vocabulary = bundle.manifest.vocabulary
        self._model = hashlib.sha256(bundle.manifest.to_json().encode()).hexdigest()
        self._tokenizer = tokenizer

    def fits(self, text: str, seconds: float = NarrationOptions.passage_seconds) -> bool:
        """Whether one utterance of at most so many seconds, by estimate, can say a text."""
        return estimate_seconds(text) <= seconds and self._tokenizer.count(text) <= self._vocabulary.text_window

    def words(self, text: str, voice: Voice | None, normalize: str) -> str:
        """The words of a text. Raises TextError unless it says something."""
        return one_passage(text, chosen_normalizer(normalize, voice)).text

    def plan(
        self,
        text: str,
        *,
        growing: bool = False,
        voice: Voice | None = None,
        options: GenerationOptions | None = None,
        seed: int | None = None,
        single: bool = False,
        split: bool = False,
        history: History = "fixed",
        cast: Mapping[str, Voice] | None = None,
        narration: NarrationOptions | None = None,
        journal: str | Path | None = None,
        streaming: StreamOptions | None = None,
        warns: bool = True,
        normalize: str = AUTO,
    ) -> tuple[Plan, Journal | None]:
        """The plan of a text, and the journal in which its passages are kept.

        A text that fits in one utterance is one, unless it is a script.

        Args:
            growing: the text comes piece by piece instead, and the plan has no passages yet.
            single: the text is one utterance, also if it does not fit.
            split: the text is passages, also if it fits in one utterance.
            narration: an utterance without it is not spoken again.
            warns: whether to warn about words that the vocabulary lacks, if the text is passages.
            others: see `Bark.stream`.

        Raises BarkError for arguments that are wrong, and JournalError for a journal of another text.
        """
        options = or_default("options", options, GenerationOptions)
        checked, narration = narration is not None, or_default("narration", narration, NarrationOptions)
        check_cast(cast)
        check_together(growing=growing, single=single, cast=cast, journal=journal)
        speakers: dict[str | None, Voice | None] = {None: voice} if cast is None else dict(cast.items())
        normalize = for_single(normalize) if single else normalize
        normalizers = {speaker: chosen_normalizer(normalize, own) for speaker, own in speakers.items()}
        fits = partial(self.fits, seconds=narration.passage_seconds)
        whole = None if growing or split or cast is not None else one_passage(text, normalizers[None])
        if growing:
            passages = []
        elif whole is not None and (single or fits(whole.text)):
            passages, single = [whole], True
        else:
            passages = plan_passages(text, fits, self._tokenizer, cast, warns=warns, normalizers=normalizers)
        if single and not checked:
            narration = replace(narration, guards=replace(narration.guards, retries=0))
        path = None if journal is None or single else Path(journal)
        if seed is None and path is not None:
            seed = Journal.seed(path)
        voices = {speaker: self.preset(own) for speaker, own in speakers.items()}
        plan = Plan(
            passages, voices, history, checked_seed(seed), options, narration, self._model, streaming, single,
            growing=growing,
        )  # fmt: skip
        return plan, None if path is None else Journal(path, plan.fingerprint(), plan.seed)

    def preset(self, voice: Voice | None) -> VoicePreset | None:
        """The VoicePreset of a name or a path, checked against this model. Raises VoiceError."""
        return None if voice is None else checked_voice(voice, self._bundle.voices, self._vocabulary)

    def context(self, plan: Plan) -> Context:
        """What passages of a plan depend on, before the first one is spoken."""
        return Context(plan, self._vocabulary, lambda text: self._tokenizer.read(text).says_something)

    def feed(
        self, narrator: Narrator, text: Iterable[str] | AsyncIterable[str], voice: Voice | None, normalize: str
    ) -> TextFeed:
        """What gives a narrator a text that comes piece by piece.

        Threads read an iterator from now on. An asynchronous iterator is read by whoever iterates over the stream.
        """
        normalizer = chosen_normalizer(normalize, voice)
        narration = narrator.plan.narration
        fits = partial(self.fits, seconds=narration.passage_seconds)
        splitter: PieceSplitter | NormalizingSplitter = PieceSplitter(fits, narration.first_clause)
        if normalizer is not None:
            splitter = NormalizingSplitter(fits, narration.first_clause, normalizer)
        feed = TextFeed(narrator, splitter, self._tokenizer, narration.flush_seconds)
        if not isinstance(text, AsyncIterable):
            feed_from_thread(text, feed)
        return feed


def checked_seed(seed: int | None) -> int:
    """A caller's seed as a plain int, or a drawn one. Raises BarkError."""
    return draw_seed() if seed is None else check_seed(seed)


def check_cast(cast: object) -> None:
    """Raise BarkError unless a cast is a dictionary or None."""
    if cast is not None and not isinstance(cast, Mapping):
        raise BarkError(f"cast must be a dictionary of the speakers' voices, not {type(cast).__name__}")


def check_together(*, growing: bool, single: bool, cast: object, journal: object) -> None:
    """Raise BarkError for arguments that exclude each other."""
    if growing and (single or cast is not None or journal is not None):
        raise BarkError("a text that comes piece by piece can have neither single, nor a cast, nor a journal")
    if single and cast is not None:
        raise BarkError("single speaks one utterance, and a cast is for a script: give only one of them")
