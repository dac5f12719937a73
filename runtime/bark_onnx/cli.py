"""The `bark-onnx` command: each of its commands is a thin call of the API.

Exit status: 0 done, 1 failed, 2 bad usage. A failure is one line on standard error.
"""

import os
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

import click

from . import __version__
from .audio import FORMATS, encode
from .bundle import STAGES, Bundle
from .errors import BarkError
from .options import GenerationOptions
from .pipeline import Bark
from .session import DEVICES

COMMANDS = "bark_onnx.commands"  # entry points of the packages that import this one, so that it imports none of them

F = TypeVar("F", bound=Callable[..., Any])


class Commands(click.Group):
    """The group, with its errors as one line and with the commands of the other packages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *entry_points(group=COMMANDS).names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for entry in entry_points(group=COMMANDS, name=cmd_name):
            command: click.Command = entry.load()
            return command
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        warnings.showwarning = lambda message, *_, **__: click.echo(f"bark-onnx: warning: {message}", err=True)
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # The reader has gone away: say nothing, neither now nor when Python flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(1)
        except BarkError as error:
            raise click.ClickException(str(error)) from None
        except OSError as error:
            raise click.ClickException(f"{error.filename or 'system'}: {error.strerror or error}") from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bark-onnx")
def main() -> None:
    """Bark, Suno's text-to-audio model, on ONNX Runtime and without PyTorch."""


def device_options(command: F) -> F:
    """--device and --threads, for every command that runs graphs."""
    command = click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)(command)
    return click.option("--threads", type=click.IntRange(1, 1024), help="Threads of one graph run.")(command)


@main.command()
@click.argument("text")
@click.option(
    "-o",
    "--output",
    default="out.wav",
    show_default=True,
    help="Audio file by suffix (wav, flac, ogg, mp3), or - for WAV on standard output.",
)
@click.option("--bundle", type=click.Path(path_type=Path), help="Directory that `bark-onnx export` made.")
@click.option("--voice", help="A voice of the bundle's, or the path of an .npz file.")
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), help="Makes the same tokens again.")
@click.option("--text-temperature", type=click.FloatRange(0, 100), default=0.7, show_default=True, help="0 is argmax.")
@click.option("--coarse-temperature", type=click.FloatRange(0, 100), default=0.7, show_default=True)
@click.option("--fine-temperature", type=click.FloatRange(0, 100), default=0.5, show_default=True)
@click.option("--top-k", type=click.IntRange(1))
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True))
@click.option(
    "--min-eos-p",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="Stop at this probability of the end; 0: only when it is sampled.",
)
@click.option("--max-seconds", type=click.FloatRange(0, min_open=True), help="Stop when the speech gets longer.")
@click.option("--save-voice", type=click.Path(path_type=Path), help="Keep what was spoken as a voice (.npz).")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no summary.")
@device_options
def say(
    text: str, output: str, bundle: Path | None, voice: str | None, seed: int | None, save_voice: Path | None,
    quiet: bool, device: str, threads: int | None, min_eos_p: float, **sampling: Any,
) -> None:  # fmt: skip
    """Speak TEXT into an audio file. TEXT - reads standard input."""
    if output != "-":
        check_writable(Path(output), "--output", list(FORMATS))
    if save_voice is not None:
        check_writable(save_voice, "--save-voice", [".npz"])
    try:
        options = GenerationOptions(min_eos_p=min_eos_p or None, **sampling)
    except BarkError as error:
        raise click.UsageError(str(error)) from None
    if text == "-":
        text = sys.stdin.buffer.read().decode("utf-8", errors="replace")
    bark = Bark.load(bundle, device=device, threads=threads, progress=not quiet)
    speech = bark.generate(text, voice, options, seed)
    if output == "-":
        sys.stdout.buffer.write(encode(speech.waveform, speech.sample_rate))
        sys.stdout.buffer.flush()
    else:
        speech.save(output)
    if save_voice is not None:
        speech.tokens.save(save_voice)
    if not quiet and sys.stderr.isatty():
        seconds = sum(speech.timings.values())
        click.echo(
            f"{output}: {speech.duration:.2f} s of audio in {seconds:.2f} s (RTF {speech.real_time_factor:.2f}), "
            f"seed {speech.seed}",
            err=True,
        )


def check_writable(path: Path, option: str, suffixes: list[str]) -> None:
    """Find out before the work, rather than after it, that its result cannot be written."""
    if path.suffix.lower() not in suffixes:
        raise click.BadParameter(f"the suffix of {path} must be {' or '.join(suffixes)}", param_hint=option)
    if path.is_dir():
        raise click.BadParameter(f"{path} is a directory", param_hint=option)
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise click.BadParameter(f"{path.parent} is not a directory that you may write to", param_hint=option)


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path))
def info(bundle: Path) -> None:
    """Say what a bundle is: model, precision, sizes, files. Checks every file's hash."""
    opened = Bundle.open(bundle)
    manifest = opened.manifest
    click.echo(f"model      {manifest.model}" + (f" at {manifest.revision}" if manifest.revision else ""))
    click.echo(
        f"precision  {manifest.precision}, {manifest.kv_layout} KV layout, written by bark-onnx {manifest.exporter}"
    )
    for stage in STAGES:
        size, precision = getattr(manifest.sizes, stage), getattr(manifest.precisions, stage)
        weights = sum(entry.bytes for name, entry in manifest.files.items() if name.startswith(f"{stage}.onnx"))
        shape = (
            f"{size.filters} filters"
            if stage == "codec"
            else f"{size.layers} layers, {size.heads} heads, width {size.width}"
        )
        kv_cache = f", KV cache {precision.kv_cache}" if stage in ("semantic", "coarse") else ""
        click.echo(
            f"{stage:9}  {shape}; weights {precision.weights}, embeddings {precision.embeddings}{kv_cache}; "
            f"{weights / 1e6:.1f} MB"
        )
    total = sum(entry.bytes for entry in manifest.files.values())
    click.echo(f"voices     {len(opened.voices)}")
    click.echo(f"files      {len(manifest.files)}, {total / 1e6:.1f} MB, hashes right")


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path))
def voices(bundle: Path) -> None:
    """List the voices of a bundle, one a line."""
    for name in Bundle.open(bundle).voices:
        click.echo(name)


if __name__ == "__main__":
    main()
