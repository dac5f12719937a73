"""Plans for a model: a text of any length becomes passages, and what decides their speech is put together."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..engine.stream import StreamOptions
from ..errors import BarkError, or_default
from ..model.bundle import Bundle
from ..model.tokenizer import Tokenizer
from ..model.voice import Voice, VoicePreset, checked_voice
from ..normalizing.choice import AUTO, chosen_normalizer
from ..normalizing.marks import unmarked
from ..normalizing.normalizer import Normalizer
from ..normalizing.passages import NormalizingSplitter, in_words
from ..numbers import check_seed
from ..sampling.distribution import draw_seed
from ..splitting.passages import Passage, estimate_seconds
from ..splitting.pieces import PieceSplitter
from ..stages.options import GenerationOptions
from .attempts import Context
from .feeding import TextFeed
from .journal import Journal
from .narrator import Narrator
from .plan import History, NarrationOptions, Plan, plan_passages


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

    def plan(
        self,
        text: str,
        *,
        growing: bool = False,
        voice: Voice | None = None,
        options: GenerationOptions | None = None,
        seed: int | None = None,
        history: History = "fixed",
        cast: Mapping[str, Voice] | None = None,
        narration: NarrationOptions | None = None,
        journal: str | Path | None = None,
        streaming: StreamOptions | None = None,
        single: bool = False,
        warns: bool = True,
        normalize: str = AUTO,
    ) -> tuple[Plan, Journal | None]:
        """The plan of a text, and the journal in which its passages are kept.

        Args:
            growing: the text comes piece by piece instead, and the plan has no passages yet.
            single: the text is one utterance.
            warns: whether to warn about words that the vocabulary lacks, if it is longer.
            others: see `Bark.stream`.

        Raises BarkError for arguments that are wrong, and JournalError for a journal of another text.
        """
        options = or_default("options", options, GenerationOptions)
        narration = or_default("narration", narration, NarrationOptions)
        check_cast(cast)
        speakers: dict[str | None, Voice | None] = {None: voice} if cast is None else dict(cast.items())
        normalizers = {speaker: chosen_normalizer(normalize, own) for speaker, own in speakers.items()}
        if growing:
            passages = []
        elif single:
            passages = [self._single(text, normalizers.get(None))]
        else:
            fits = partial(self.fits, seconds=narration.passage_seconds)
            passages = plan_passages(text, fits, self._tokenizer, cast, warns=warns, normalizers=normalizers)
        path = None if journal is None or single else Path(journal)
        if seed is None and path is not None:
            seed = Journal.seed(path)
        voices = {speaker: self.preset(own) for speaker, own in speakers.items()}
        plan = Plan(
            passages, voices, history, checked_seed(seed), options, narration, self._model, streaming, single,
            growing=growing,
        )  # fmt: skip
        return plan, None if path is None else Journal(path, plan.fingerprint(), plan.seed)

    def _single(self, text: str, normalizer: Normalizer | None) -> Passage:
        """A text as one passage."""
        passage = Passage(text, ends_paragraph=True)
        return passage if normalizer is None else in_words(replace(passage, text=unmarked(text)), normalizer)

    def preset(self, voice: Voice | None) -> VoicePreset | None:
        """The VoicePreset of a name or a path, checked against this model. Raises VoiceError."""
        return None if voice is None else checked_voice(voice, self._bundle.voices, self._vocabulary)

    def context(self, plan: Plan) -> Context:
        """What passages of a plan depend on, before the first one is spoken."""
        return Context(plan, self._vocabulary, lambda text: self._tokenizer.read(text).says_something)

    def feed(self, narrator: Narrator, normalizer: Normalizer | None) -> TextFeed:
        """What gives a narrator a text that comes piece by piece."""
        narration = narrator.plan.narration
        fits = partial(self.fits, seconds=narration.passage_seconds)
        splitter: PieceSplitter | NormalizingSplitter = PieceSplitter(fits, narration.first_clause)
        if normalizer is not None:
            splitter = NormalizingSplitter(fits, narration.first_clause, normalizer)
        return TextFeed(narrator, splitter, self._tokenizer, narration.flush_seconds)


def checked_seed(seed: int | None) -> int:
    """A caller's seed as a plain int, or a drawn one. Raises BarkError."""
    return draw_seed() if seed is None else check_seed(seed)


def check_cast(cast: object) -> None:
    """Raise BarkError unless a cast is a dictionary or None."""
    if cast is not None and not isinstance(cast, Mapping):
        raise BarkError(f"cast must be a dictionary of the speakers' voices, not {type(cast).__name__}")
