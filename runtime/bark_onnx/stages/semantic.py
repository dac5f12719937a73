"""The semantic stage: text ids -> semantic tokens (reference: `generate_text_semantic`)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..arrays import IntArray
from ..graphs.cache import KVCache
from ..model.vocabulary import Vocabulary
from ..model.voice import VoicePreset
from ..sampling.loops import CausalLoop
from ..sampling.sequence import Rule
from .options import GenerationOptions


def semantic_prompt(
    text_ids: IntArray, voice: VoicePreset | None, no_history_id: int, vocabulary: Vocabulary
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The prompt's input ids and history ids, each [text_window + 1].

    The text and the voice's last semantic tokens share the positions: their embeddings are summed. The infer token
    follows, with nothing added to it.
    """
    window = vocabulary.text_window
    history = np.full(window, vocabulary.semantic_pad, np.int64)
    if voice is not None:
        last = voice.semantic[-window:]
        history[: len(last)] = last
    return np.append(text_ids, vocabulary.semantic_infer), np.append(history, no_history_id)


class SemanticSequence:
    """One utterance in the semantic stage: its prompt, and the tokens sampled so far.

    Args:
        text_ids: [text_window], from the tokenizer.
        no_history_id: the semantic model's (`TransformerSize.no_history_id`).
        stream: the stage's random stream; each token takes one number, the end token too.
    """

    def __init__(
        self,
        text_ids: IntArray,
        voice: VoicePreset | None,
        options: GenerationOptions,
        vocabulary: Vocabulary,
        no_history_id: int,
        stream: np.random.Generator,
    ) -> None:
        self.prompt = semantic_prompt(text_ids, voice, no_history_id, vocabulary)
        self.tokens: list[int] = []
        self.limit = token_limit(options.max_seconds, vocabulary)
        self.ended = False
        self._options = options
        self._end = vocabulary.end_of_sequence
        self._rate = vocabulary.semantic_rate
        self.stream = stream

    @property
    def rule(self) -> Rule:
        """How the next token is sampled. Without early stop, the end token is not among the choices."""
        options, end = self._options, self._end
        rule = Rule(end, 1, 0, options.text_temperature, options.top_k, options.top_p)
        if not options.allow_early_stop:
            return rule
        return rule._replace(choices=end + 1, end=end, min_eos_p=options.min_eos_p)

    @property
    def left(self) -> int:
        """The most tokens that may follow."""
        return 0 if self.ended else self.limit - len(self.tokens)

    @property
    def seconds(self) -> float:
        """Seconds of speech that the tokens so far have."""
        return len(self.tokens) / self._rate

    @property
    def last(self) -> int:
        """The token to decode next."""
        return self.tokens[-1]

    def take(self, choice: int) -> None:
        """Add the next token, or end the utterance if it is the end token."""
        if self._options.allow_early_stop and choice == self._end:
            self.ended = True
            return
        self.tokens.append(choice)
        self.ended = len(self.tokens) == self.limit


def semantic_tokens(loop: CausalLoop, cache: KVCache, sequence: SemanticSequence) -> Iterator[int]:
    """Sample an utterance to its end, and yield its tokens one by one."""
    cache.clear()
    errors, seen = loop.begin(cache, sequence, *sequence.prompt), 0
    while True:
        for error in errors.values():
            raise error
        yield from sequence.tokens[seen:]
        if sequence.ended:
            return
        seen = len(sequence.tokens)
        errors = loop.step(cache, {0: sequence})


def token_limit(max_seconds: float | None, vocabulary: Vocabulary) -> int:
    """The number of tokens that a limit in seconds allows, including the token that crosses it.

    Like the reference, this adds up the tokens' lengths in floating point. If the limit is a whole number of tokens,
    the rounding decides.
    """
    if max_seconds is None:
        return vocabulary.max_semantic_tokens
    elapsed = np.cumsum(np.full(vocabulary.max_semantic_tokens, 1 / vocabulary.semantic_rate))
    return min(int(np.searchsorted(elapsed, max_seconds, side="right")) + 1, vocabulary.max_semantic_tokens)
