"""The `bark-onnx` command, as a group of commands. Each is a thin call of the API.

Exit status: 0 for success, 1 for a failure, 2 for bad usage. A failure is one line on standard error.
"""

import click

from .. import __version__
from .batch import batch
from .group import Commands
from .info import info
from .say import say
from .voices import voices


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bark-onnx")
def main() -> None:
    """Turn text into speech, laughter and music with Bark, Suno's text-to-audio model.

    It runs on ONNX Runtime, without PyTorch. Try: bark-onnx say "Hello!"
    """


main.add_command(batch)
main.add_command(info)
main.add_command(say)
main.add_command(voices)
