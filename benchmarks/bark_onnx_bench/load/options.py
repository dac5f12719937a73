"""The options of `bark-onnx bench --serve`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from bark_onnx.numbers import SEEDS

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class LoadOptions:
    """What is asked of the server; see `load_options`.

    Raises UsageError if options contradict each other.
    """

    rates: tuple[float, ...]
    clients: tuple[int, ...]
    pause: float
    requests: int
    seconds: float
    seed: int
    model: str
    api_key: str | None

    def __post_init__(self) -> None:
        if self.rates and self.clients:
            raise click.UsageError("--rates and --clients are two ways to make load: leave one out")
        if self.pause and not self.clients:
            raise click.UsageError("--pause is for --clients")

    def words(self) -> list[str]:
        """The options that decide what is measured, as they are written on the command line."""
        words = ["--rates", ",".join(f"{rate:g}" for rate in self.rates)] if self.rates else []
        if self.clients:
            words = ["--clients", ",".join(map(str, self.clients)), "--pause", f"{self.pause:g}"]
        words += ["--requests", str(self.requests), "--seconds", f"{self.seconds:g}", "--model", self.model]
        return words + (["--seed", str(self.seed)] if self.seed else [])


def _numbers(number: "click.ParamType[Any]") -> Callable[..., tuple[Any, ...]]:  # in quotes for click 8.1
    """What parses numbers with commas between them."""

    def parse(context: click.Context, parameter: click.Parameter, given: str | None) -> tuple[Any, ...]:
        words = [] if given is None else given.split(",")
        return tuple(sorted({number.convert(word.strip(), parameter, context) for word in words}))

    return parse


_OPTIONS = [
    click.option("--rates", callback=_numbers(click.FloatRange(0, 1e4, min_open=True)), metavar="R,R,...",
                 help="With --serve: requests per second.  [default: rise until the server is past its limit]"),
    click.option("--clients", callback=_numbers(click.IntRange(1, 1000)), metavar="N,N,...",
                 help="With --serve: listeners who each ask, play the speech to its end, and ask again."),
    click.option("--pause", type=click.FloatRange(0, 3600), default=0.0, show_default=True,
                 help="With --clients: seconds that a listener waits before each request, on average."),
    click.option("--requests", type=click.IntRange(1, 100_000), default=100, show_default=True,
                 help="With --serve: requests of each load, at most."),
    click.option("--seconds", type=click.FloatRange(0, 86_400, min_open=True), default=30.0, show_default=True,
                 help="With --serve: how long requests are sent at each load, at most."),
    click.option("--seed", type=click.IntRange(0, SEEDS - 1), default=0, show_default=True,
                 help="With --serve: the seed of the arrivals and of the choice of texts."),
    click.option("--model", metavar="NAME", default="tts-1", show_default=True,
                 help="With --serve: the model to ask for."),
    click.option("--api-key", metavar="KEY", envvar="BARK_ONNX_API_KEY", callback=lambda *given: _first_key(given[2]),
                 help="With --serve: the server's key. Better in the environment, as BARK_ONNX_API_KEY."),
]  # fmt: skip


def load_options(command: F) -> F:
    """Add the options that say how a server is measured."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _first_key(keys: str | None) -> str | None:
    """One key; the environment may have several for the server, with spaces between them."""
    return keys if keys is None or not keys.strip() else keys.split()[0]
