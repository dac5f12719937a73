"""Send requests at a given rate (open loop), or from a number of clients (closed loop)."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from time import perf_counter

from .arrivals import arrivals, texts
from .client import Answer, SpeechClient
from .level import Level
from .watch import Watch


@dataclass(frozen=True)
class Extent:
    """How long a level lasts, and what is random in it.

    Args:
        requests: how many are sent, at most.
        seconds: no request is sent later than this.
        seed: of the texts, the arrivals and the pauses.
    """

    requests: int
    seconds: float
    seed: int


@dataclass
class _Answers:
    """The answers so far, and when the last one ended."""

    all: list[Answer]
    last: float

    async def ask(self, client: SpeechClient, text: str, due: float) -> Answer:
        answer = await client.speak(text, due)
        self.all.append(answer)
        self.last = perf_counter()
        return answer


async def open_loop(client: SpeechClient, rate: float, extent: Extent, keep: Callable[[Level], None]) -> None:
    """Send requests at `rate` a second, whether the server keeps up or not, and wait for all answers.

    Args:
        keep: is called with the figures, also if this is cancelled.
    """

    async def send(answers: _Answers) -> None:
        start = perf_counter()
        times = islice(arrivals(rate, extent.seed), extent.requests)
        async with asyncio.TaskGroup() as group:
            for at, text in zip(times, texts(extent.seed), strict=False):
                if at > extent.seconds:
                    break
                await asyncio.sleep(max(0.0, start + at - perf_counter()))
                group.create_task(answers.ask(client, text, start + at))

    await _measure(send, keep, rate=rate)


async def closed_loop(
    client: SpeechClient, clients: int, pause: float, extent: Extent, keep: Callable[[Level], None]
) -> None:
    """Let `clients` listeners each ask for a text, play it to its end, pause, and ask for the next one.

    Args:
        pause: seconds before each request, on average.
        keep: is called with the figures, also if this is cancelled.
    """

    async def listen(number: int, end: float, left: Iterator[str], answers: _Answers) -> None:
        pauses = random.Random(f"pauses {extent.seed} {number}")
        while True:
            if pause:
                await asyncio.sleep(pauses.expovariate(1.0) * pause)
            text = None if perf_counter() > end else next(left, None)
            if text is None:
                return
            due = perf_counter()
            answer = await answers.ask(client, text, due)
            if answer.played is not None:
                await asyncio.sleep(max(0.0, due + answer.played - perf_counter()))

    async def send(answers: _Answers) -> None:
        end, left = perf_counter() + extent.seconds, islice(texts(extent.seed), extent.requests)
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(listen(number, end, left, answers))

    await _measure(send, keep, clients=clients)


async def _measure(
    send: Callable[[_Answers], Awaitable[None]],
    keep: Callable[[Level], None],
    *,
    rate: float | None = None,
    clients: int | None = None,
) -> None:
    start, watch, complete = perf_counter(), Watch(), False
    answers = _Answers([], start)
    try:
        async with watch:
            await send(answers)
        complete = True
    finally:
        if answers.all:
            keep(
                Level.of(answers.all, answers.last - start, watch, rate=rate, clients=clients, interrupted=not complete)
            )
