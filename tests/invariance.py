"""Batch invariance: what runs beside a request changes none of its bits (logits) and none of its tokens."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bark_onnx import Bark, Request, StreamOptions
from bark_onnx.engine.speech import Speech
from bark_onnx.graphs.decoder import Decoder
from utterances import lasting, run, streamed
from voices import make_voice

TEXTS = (
    "Hello.",
    "The rain stays in the south.",
    "One, two, three, four!",
    "Nobody knows.",
    "Good evening to you all.",
)


def requests(bark: Bark) -> list[Request]:
    """Requests of different texts, voices, lengths and seeds; every second one streams."""
    own = bark.voices or (make_voice(bark.vocabulary, 300), make_voice(bark.vocabulary, 40))
    voices = [None, *own, None, own[0]]
    return [
        Request(
            text,
            voice=voice,
            seed=seed,
            options=lasting(20 + 13 * seed),
            streaming=StreamOptions() if seed % 2 else None,
        )
        for seed, (text, voice) in enumerate(zip(TEXTS, voices, strict=True))
    ]


def alone(bark: Bark) -> list[Speech]:
    """Each of `requests` by itself, streamed or not."""
    speeches = []
    for own in requests(bark):
        arguments: Any = {"voice": own.voice, "seed": own.seed, "options": own.options}
        if own.streaming is None:
            speeches.append(bark.generate(own.text, **arguments))
        else:
            _, speech = streamed(bark, own.text, **arguments, streaming=own.streaming)
            speeches.append(speech)
    return speeches


def assert_tokens_do_not_depend_on_company(
    bark: Bark, expected: Sequence[Speech], slots: int, order: Sequence[int], cancelled: int | None
) -> None:
    """Run the requests in one engine: in some order, on some slots, while one of them is cancelled on the way."""
    engine, own = bark.engine(slots=slots), requests(bark)
    jobs = {number: engine.submit(own[number]) for number in order}
    if cancelled is not None:
        for _ in range(20):
            engine.step()
        engine.cancel(jobs[cancelled])
    run(engine)
    for number, job in jobs.items():
        if number == cancelled:
            continue
        assert job.error is None
        assert job.speech is not None
        for name in ("semantic", "coarse", "fine"):
            found, alone = getattr(job.speech.tokens, name), getattr(expected[number].tokens, name)
            assert np.array_equal(found, alone), f"{name} tokens of request {number} with {slots} slots"


def assert_rows_do_not_depend_on_each_other(decoder: Decoder, operations: Sequence[tuple[str, int]], seed: int) -> None:
    """Run prefills, clears and decode steps of any rows, and the same of each row in a cache of its own.

    Args:
        operations: each is `prefill`, `clear` or `decode`, and the rows as bits of a number from 1 to 255.
    """
    rng, ids = np.random.default_rng(seed), decoder.size.input_vocabulary
    rows = 8
    together, caches = decoder.new_cache(rows), [decoder.new_cache() for _ in range(rows)]
    for kind, subset in operations:
        chosen = [row for row in range(rows) if subset >> row & 1]
        if kind == "clear":
            together.clear(chosen[0])
            caches[chosen[0]].clear()
        elif kind == "prefill":
            prompt = np.random.default_rng(int(rng.integers(3))).integers(0, ids, int(rng.integers(1, 300)))
            logits = decoder.prefill(together, prompt, row=chosen[0])
            assert np.array_equal(logits, decoder.prefill(caches[chosen[0]], prompt))
        else:
            tokens = rng.integers(0, ids, len(chosen)).tolist()
            logits = decoder.decode_step(together, tokens, chosen)
            for row, token, found in zip(chosen, tokens, logits, strict=True):
                assert np.array_equal(found, decoder.decode_step(caches[row], [token])[0]), f"row {row} of {chosen}"
