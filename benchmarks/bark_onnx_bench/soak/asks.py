"""What the clients of a soak ask for: requests of all kinds, some of which are given up."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

Form = Literal["audio", "sse", "whole"]
FORMS: tuple[Form, ...] = ("audio", "sse", "whole")


@dataclass(frozen=True)
class Ask:
    """A request for speech, and how long its client waits.

    Args:
        text, seed: what to say. The same ask gets the same audio each time.
        audio_format: the field `response_format`.
        form: a stream of audio, a stream of events, or a complete file.
        patience: seconds after which the client disconnects; None: it waits for the end.
    """

    text: str
    seed: int
    audio_format: str
    form: Form
    patience: float | None = None

    @property
    def body(self) -> bytes:
        """The request as JSON."""
        fields: dict[str, Any] = {
            "model": "tts-1",
            "voice": "alloy",
            "input": self.text,
            "seed": self.seed,
            "response_format": self.audio_format,
        }
        if self.form == "sse":
            fields["stream_format"] = "sse"
        if self.form == "whole":
            fields["stream"] = False
        return json.dumps(fields).encode()

    @property
    def patient(self) -> "Ask":
        """The same request from a client that waits for the end."""
        return replace(self, patience=None)


@dataclass(frozen=True)
class Variety:
    """What there is to ask for.

    Args:
        utterances: short texts, each with a seed.
        long_texts: texts of several passages, each with a seed. Choose passages without faults: in a stream, a passage
            with a fault is spoken again only if there is time for it, so its audio may differ from run to run.
        formats: values of `response_format`.
        given_up: the share of the requests that are given up.
        longest_patience: seconds after which these are given up, at most.
    """

    utterances: Sequence[tuple[str, int]]
    long_texts: Sequence[tuple[str, int]]
    formats: Sequence[str] = ("pcm", "mp3", "opus", "flac", "wav")
    given_up: float = 0.25
    longest_patience: float = 1.0

    def asks(self, count: int, seed: int) -> list[Ask]:
        """Return `count` random requests. One of twenty is a long text."""
        chance = random.Random(seed)
        kinds = list(product(self.formats, FORMS))
        short = [Ask(*self.utterances[place % len(self.utterances)], *kind) for place, kind in enumerate(kinds)]
        long = [Ask(*self.long_texts[place % len(self.long_texts)], "pcm", form) for place, form in enumerate(FORMS)]
        asks = []
        for _ in range(count):
            ask = chance.choice(long) if chance.random() < 1 / 20 else chance.choice(short)
            if chance.random() < self.given_up:
                ask = replace(ask, patience=chance.uniform(0, self.longest_patience))
            asks.append(ask)
        return asks


NANO = Variety(
    utterances=(("Hello there.", 1), ("Good morning.", 2), ("The sea is calm.", 3), ("Thank you.", 4)),
    long_texts=(
        (
            "The morning was quiet. A small boat lay on the water near the old bridge, and nobody was there. Then the "
            "rain came over the hills.",
            2,
        ),
    ),
)
