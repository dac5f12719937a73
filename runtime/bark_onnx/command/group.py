"""What the commands share: a group that reports errors in one line, and options with the same meaning everywhere."""

import os
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

import click

from ..errors import LESS_MEMORY, BarkError, how_to_install, is_out_of_memory, one_line, reason
from ..files import check_replaceable, plain_file
from ..model.place import EMBEDDED

COMMANDS = "bark_onnx.commands"  # entry points by which other packages add commands, so that none is imported here

F = TypeVar("F", bound=Callable[..., Any])


class Commands(click.Group):
    """A group of commands that reports errors in one line, and includes the commands of other packages."""

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
            # The reader of standard output has ended, as `head` does. Python would report it again when it flushes.
            if sys.stdout is not None:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(1)
        except BarkError as error:
            raise click.ClickException(str(error)) from None
        except Exception as error:
            if is_out_of_memory(error):
                raise click.ClickException(f"not enough memory ({reason(error)}): {LESS_MEMORY}") from None
            if isinstance(error, OSError):
                said = one_line(f"{error.filename or 'system'}: {error.strerror or error}")
                raise click.ClickException(said) from None
            raise


def bundle_argument(command: F) -> F:
    """Add [BUNDLE], a directory or a name on the hub; by default the bundle that comes with the package."""
    return click.argument("bundle", type=click.Path(path_type=Path), default=EMBEDDED)(command)


def device_options(command: F) -> F:
    """Add --device, --threads and --provider-option, for commands that run graphs."""
    command = click.option(
        "--provider-option",
        "provider_options",
        multiple=True,
        metavar="KEY=VALUE",
        callback=pairs,
        help="An option for the execution provider, by ONNX Runtime's name; repeatable.",
    )(command)
    command = click.option(
        "--threads",
        type=click.IntRange(1, 1024),
        help="CPU threads to compute with.  [default: OMP_NUM_THREADS, else one for each core that may be used]",
    )(command)
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="NAME",
        help="Where to compute: auto, cpu, cuda, cuda:1, tensorrt, or another execution provider of ONNX Runtime by "
        "its name, or as NAME=PATH of its library.",
    )(command)


def about_nano(command: str) -> str:
    """What a command says if it is given no bundle."""
    export = "bark-onnx export suno/bark-small DIR"
    return f"this is nano, a demonstration voice; for Bark: {export}, then {command} --bundle DIR"


def about_numbers(how: str | None = None) -> str:
    """What a command says if numbers are not read as words.

    Args:
        how: what makes it read them; installing the extra `text` by default.
    """
    return f"numbers are spoken as they are written; to read them as words, {how or how_to_install('text')}"


def pairs(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Parse arguments such as KEY=VALUE; the metavar of the option says how they look."""
    pairs = dict(value.partition("=")[::2] for value in values)
    wrong = next((value for value in values if not value.partition("=")[0] or "=" not in value), None)
    if wrong is not None:
        raise click.BadParameter(f"{wrong!r} is not {parameter.metavar}")
    return pairs


def check_writable(path: Path, option: str, suffixes: list[str] | None = None) -> None:
    """Refuse a path that cannot be written to, before the work whose result would be lost.

    Args:
        suffixes: the ones allowed; None for any.
    """
    if suffixes is not None and path.suffix.lower() not in suffixes:
        raise click.BadParameter(f"the suffix of {path} must be {' or '.join(suffixes)}", param_hint=option)
    if path.is_dir():
        raise click.BadParameter(f"{path} is a directory", param_hint=option)
    target = plain_file(path)
    if target is None:
        if not os.access(path, os.W_OK):
            raise click.BadParameter(f"you may not write to {path}", param_hint=option)
    elif not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise click.BadParameter(f"{target.parent} is not a directory that you may write to", param_hint=option)
    try:
        check_replaceable(path)
    except OSError as error:
        raise click.BadParameter(f"{path} cannot be written: {reason(error)}", param_hint=option) from None
