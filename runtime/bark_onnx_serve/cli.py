"""The command `bark-onnx serve`. What it needs is imported when it runs, since it may not be installed."""

import logging
import os
from pathlib import Path
from typing import Any

import click

from bark_onnx import Bark, BarkError
from bark_onnx.command.group import about_nano, about_numbers, device_options, pairs
from bark_onnx.errors import how_to_install
from bark_onnx.model.bundle import Bundle
from bark_onnx.normalizing.libraries import missing

from .settings import Settings

API_KEY = "BARK_ONNX_API_KEY"


log = logging.getLogger(__name__)


@click.command(short_help="Serve speech over HTTP, with OpenAI's API.")
@click.option(
    "--bundle", type=click.Path(path_type=Path), metavar="DIR",
    help="Model to speak with: a directory that `bark-onnx export` made, or ORG/NAME on the Hugging Face hub.  "
    "[default: nano, a small demonstration model]",
)  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="Address to listen on. 0.0.0.0 is all IPv4 addresses, and :: all of IPv4 and IPv6, which other "
              "machines reach too.")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True,
              help="Port to listen on; 0 takes a free one.")  # fmt: skip
@click.option("--slots", type=click.IntRange(1, 1024), default=8, show_default=True,
              help="Utterances that are generated at a time.")  # fmt: skip
@click.option("--max-queue", type=click.IntRange(1), default=64, show_default=True,
              help="Utterances that may wait for a slot; more are refused (429).")  # fmt: skip
@click.option("--max-seconds-queued", type=click.FloatRange(0, min_open=True),
              help="Seconds of speech, by estimate, that may wait to be made; more are refused (429).  "
              "[default: no limit]")  # fmt: skip
@click.option("--max-characters", type=click.IntRange(1, 100_000), default=4096, show_default=True,
              help="The longest text of a request.")  # fmt: skip
@click.option("--request-seconds", type=click.FloatRange(0, min_open=True), default=600.0, show_default=True,
              help="Seconds that a request has, until its last byte is sent.")  # fmt: skip
@click.option("--drain-seconds", type=click.IntRange(0), default=30, show_default=True,
              help="Seconds that requests have to end after SIGTERM or Ctrl-C.")  # fmt: skip
@click.option("--api-key", "api_keys", multiple=True, metavar="KEY",
              help="Who has one of these keys may use the server; repeatable. Better in the environment, where "
              "other users of the machine do not see it.  [default: everybody may]")  # fmt: skip
@click.option("--cors", multiple=True, metavar="ORIGIN",
              help="Web pages of this origin may use the server, such as https://example.org; * is all; "
              "repeatable.  [default: only the server's own page]")  # fmt: skip
@click.option("--voice-alias", "voice_aliases", multiple=True, metavar="NAME=VOICE", callback=pairs,
              help="A further name for a voice, also in place of one of OpenAI's names; repeatable.")  # fmt: skip
@click.option("--voices", type=click.Path(path_type=Path), metavar="DIR",
              help="Also serve the voice presets (.npz) in this directory.")  # fmt: skip
@click.option("--allow-voice-upload", is_flag=True,
              help="Requests may add voices to the directory of --voices, and delete them.")  # fmt: skip
@click.option("--root-path", default="", metavar="PATH",
              help="The path below which a reverse proxy shows the server, such as /speech.")  # fmt: skip
@click.option("--wyoming", type=click.IntRange(0, 65535), metavar="PORT",
              help="Also speak the Wyoming protocol, for Home Assistant, on this port of the same address. It has no "
              "keys.  [default: no]")  # fmt: skip
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True,
              help="How the lines of the log are written.")  # fmt: skip
@device_options
def serve(
    bundle: Path | None, device: str, threads: int | None, provider_options: dict[str, str], log_format: str,
    **chosen: Any,
) -> None:  # fmt: skip
    """Serve speech over HTTP, with OpenAI's API: POST /v1/audio/speech. The address itself shows a page to speak with.

    Every option can also be given in the environment: --max-queue as BARK_ONNX_MAX_QUEUE, for example. Options that are
    repeatable take several values there, with spaces between them.
    """
    try:
        from .logs import configure_logs
        from .process import serve as run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("bark_onnx"):
            raise
        raise BarkError(f"serving needs {error.name}: {how_to_install('serve')}") from None
    if not chosen["api_keys"] and API_KEY in os.environ:
        raise BarkError(f"{API_KEY} has no key in it: give it one, or unset it and everybody may use the server")
    settings = Settings(**chosen)
    configure_logs("json" if log_format == "json" else "text")
    if bundle is None:
        log.info(about_nano("serve"))
    if missing():
        log.info(about_numbers())

    def load() -> Bark:
        opened = Bundle.open(bundle, progress=True)
        return Bark.load(opened, device=device, threads=threads, provider_options=provider_options)

    run(load, settings)


# Not click's auto_envvar_prefix: its names are those of the parameters, which may be plurals of the options' names.
for _option in serve.params:
    if isinstance(_option, click.Option):
        _option.envvar = f"BARK_ONNX_{_option.opts[0].removeprefix('--').replace('-', '_').upper()}"
