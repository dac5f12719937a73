"""`bark-onnx bench --serve URL`: measure a server, level by level."""

import asyncio
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import click

from bark_onnx.errors import BarkError
from bark_onnx.files import replacing

from ..machine.description import machine, machine_line
from ..report.figures import write_figures
from .client import Answer, SpeechClient
from .level import Level, highest_smooth
from .loops import Extent, closed_loop, open_loop
from .options import LoadOptions
from .plot import draw
from .search import first_rate, next_rate
from .tables import conclusion, header, notes, row
from .target import Target

WARM_UP_TEXT = "The train leaves at seven in the morning."
WARM_UPS = 2  # the first request may load what a server loads late
HINTS = {
    401: "give the key with --api-key",
    403: "give the key with --api-key",
    404: "is it a server with OpenAI's speech API, and does it have the model of --model?",
    405: "is it a server with OpenAI's speech API?",
    429: "nothing else may use the server while it is measured",
    None: "is the server running?",
}


def measure_server(target: Target, chosen: LoadOptions, json_file: Path | None, plot_file: Path | None) -> None:
    """Measure, print a row for each level, and write the files. After Ctrl-C, of what was measured until then.

    Raises BarkError if the server does not answer a first request with speech.
    """
    here, levels = machine(), list[Level]()
    words = ["bark-onnx bench --serve", target.url, "--voice", target.voice, *chosen.words()]
    about = {"command": " ".join(words), "machine": here}
    about_line = f"{machine_line(here)}; {target.url}, {target.model}, {target.voice}"
    try:
        asyncio.run(_measure(target, chosen, about_line, levels))
    finally:
        if levels:
            _finish(levels, about, f"{target.url}, {target.model}", json_file, plot_file)


async def _measure(target: Target, chosen: LoadOptions, about_line: str, levels: list[Level]) -> None:
    """Fill `levels`. Nothing is printed before the server has answered with speech."""
    extent, keep = Extent(chosen.requests, chosen.seconds, chosen.seed), partial(_keep, levels)
    async with SpeechClient(target) as client:
        alone = await _warm_up(client)
        click.echo(about_line)
        click.echo(header("clients" if chosen.clients else "per s"))
        for clients in chosen.clients:
            await closed_loop(client, clients, chosen.pause, extent, keep)
        for rate in chosen.rates:
            await open_loop(client, rate, extent, keep)
        next_one = None if chosen.clients or chosen.rates else first_rate(alone.ended)
        while next_one is not None:
            await open_loop(client, next_one, extent, keep)
            next_one = next_rate(levels)


async def _warm_up(client: SpeechClient) -> Answer:
    """Ask for speech; raise BarkError if none comes. Returns the last answer."""
    for _ in range(WARM_UPS):
        answer = await client.speak(WARM_UP_TEXT, perf_counter())
        if answer.outcome != "completed":
            hint = HINTS.get(answer.status)
            raise BarkError(f"{client.target.speech_url}: {answer.error}{f'; {hint}' if hint else ''}")
    return answer


def _keep(levels: list[Level], level: Level) -> None:
    levels.append(level)
    click.echo(row(level))
    for note in notes(level):
        click.echo(f"{'':8}{note}", err=True)


def _finish(
    levels: list[Level], about: dict[str, Any], title: str, json_file: Path | None, plot_file: Path | None
) -> None:
    click.echo(conclusion(levels))
    best = highest_smooth(levels)
    if json_file is not None:
        figures = {"levels": [level.to_json() for level in levels], "highest_without_underrun": best and best.load}
        write_figures(json_file, {**about, **figures})
    if plot_file is not None:
        with replacing(plot_file) as temporary:
            draw(levels, title, temporary)
