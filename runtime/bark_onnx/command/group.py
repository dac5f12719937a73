"""What the commands share: the group with its one-line errors, and options that mean the same everywhere."""

import os
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

import click

from ..errors import BarkError, one_line
from ..model.bundle import EMBEDDED

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
        warnings.showwarning = lambda message, *_, **__: click.echo(
            f"bark-onnx: warning: {one_line(str(message))}", err=True
        )
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


def bundle_argument(command: F) -> F:
    """[BUNDLE], for every command that has no other use of the place."""
    return click.argument("bundle", type=click.Path(path_type=Path), default=EMBEDDED)(command)


def device_options(command: F) -> F:
    """--device, --threads and --provider-option, for every command that runs graphs."""
    command = click.option(
        "--device",
        default="auto",
        show_default=True,
        help="auto, cpu, cuda, cuda:1, tensorrt, or another execution provider of ONNX Runtime's.",
    )(command)
    command = click.option("--threads", type=click.IntRange(1, 1024), help="Threads of one graph run.")(command)
    return click.option(
        "--provider-option",
        "provider_options",
        multiple=True,
        metavar="KEY=VALUE",
        callback=_pairs,
        help="An option of the execution provider's own; repeatable.",
    )(command)


def _pairs(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """KEY=VALUE, each."""
    pairs = dict(value.partition("=")[::2] for value in values)
    wrong = next((value for value in values if not value.partition("=")[0] or "=" not in value), None)
    if wrong is not None:
        raise click.BadParameter(f"{wrong!r} is not KEY=VALUE")
    return pairs


def check_writable(path: Path, option: str, suffixes: list[str]) -> None:
    """Find out before the work, rather than after it, that its result cannot be written."""
    if path.suffix.lower() not in suffixes:
        raise click.BadParameter(f"the suffix of {path} must be {' or '.join(suffixes)}", param_hint=option)
    if path.is_dir():
        raise click.BadParameter(f"{path} is a directory", param_hint=option)
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise click.BadParameter(f"{path.parent} is not a directory that you may write to", param_hint=option)
