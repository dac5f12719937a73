"""The semantic stage: text ids -> semantic tokens (reference: `generate_text_semantic`)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..arrays import IntArray
from ..graphs.decoder import CausalDecoder, KVCache
from ..model.vocabulary import Vocabulary
from ..model.voice import VoicePreset
from ..sampling.sampling import Rule
from .options import GenerationOptions


def semantic_prompt(
    text_ids: IntArray, voice: VoicePreset | None, nothing: int, vocabulary: Vocabulary
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The prompt's input ids and history ids, each [text_window + 1].

    The text and the voice's last semantic tokens share the positions: their embeddings are summed. The infer token
    follows.
    """
    window = vocabulary.text_window
    history = np.full(window, vocabulary.semantic_pad, np.int64)
    if voice is not None:
        last = voice.semantic[-window:]
        history[: len(last)] = last
    return np.append(text_ids, vocabulary.semantic_infer), np.append(history, nothing)


class SemanticSequence:
    """One utterance in the semantic stage: what it asks of the decoder, and the tokens sampled so far.

    Args:
        text_ids: [text_window], as the tokenizer makes them.
        nothing: the decoder's id for "no history here".
        stream: the stage's random stream; each token takes one number, the end token too.
    """

    def __init__(
        self,
        text_ids: IntArray,
        voice: VoicePreset | None,
        options: GenerationOptions,
        vocabulary: Vocabulary,
        nothing: int,
        stream: np.random.Generator,
    ) -> None:
        self.prompt = semantic_prompt(text_ids, voice, nothing, vocabulary)
        self.tokens: list[int] = []
        self.limit = token_limit(options.max_seconds, vocabulary)
        self.ended = False
        self._options = options
        self._end = vocabulary.end_of_sequence
        self.stream = stream

    @property
    def rule(self) -> Rule:
        """How the next token is sampled; where the end is not wanted, it is no choice."""
        options, end = self._options, self._end
        own = Rule(end, 1, 0, options.text_temperature, options.top_k, options.top_p)
        return own._replace(width=end + 1, end=end, min_eos_p=options.min_eos_p) if options.allow_early_stop else own

    @property
    def left(self) -> int:
        """Tokens to come, at most."""
        return 0 if self.ended else self.limit - len(self.tokens)

    @property
    def last(self) -> int:
        """The token to be decoded next."""
        return self.tokens[-1]

    def take(self, choice: int) -> None:
        """The next token: `tokens` gets one more, to be decoded next, or the utterance has ended, or both."""
        if self._options.allow_early_stop and choice == self._end:
            self.ended = True
            return
        self.tokens.append(choice)
        self.ended = len(self.tokens) == self.limit


def semantic_tokens(decoder: CausalDecoder, cache: KVCache, sequence: SemanticSequence) -> Iterator[int]:
    """The tokens one by one, until the model ends the utterance or a limit is reached."""
    cache.clear()
    errors, seen = decoder.begin(cache, sequence, *sequence.prompt), 0
    while True:
        for error in errors.values():
            raise error
        yield from sequence.tokens[seen:]
        if sequence.ended:
            return
        seen = len(sequence.tokens)
        errors = decoder.go_on(cache, {0: sequence})


def token_limit(max_seconds: float | None, vocabulary: Vocabulary) -> int:
    """Tokens until the time is over, the one that crosses the limit included.

    The reference adds up the tokens' lengths in floating point and so does this, since at a limit that is a whole
    number of tokens the rounding decides.
    """
    if max_seconds is None:
        return vocabulary.max_semantic_tokens
    elapsed = np.cumsum(np.full(vocabulary.max_semantic_tokens, 1 / vocabulary.semantic_rate))
    return min(int(np.searchsorted(elapsed, max_seconds, side="right")) + 1, vocabulary.max_semantic_tokens)
