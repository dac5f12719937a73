"""The `bark-onnx` command, also as `python -m bark_onnx`."""

import os
import sys

from .command.signals import clean_up_on_signals
from .errors import MissingOnnxRuntimeError


def main() -> None:
    """Run the command line. It is imported only now, so that a missing ONNX Runtime is one line and no traceback."""
    _open_closed_streams()
    clean_up_on_signals()
    try:
        from .command.cli import main as command_line
    except MissingOnnxRuntimeError as error:
        sys.exit(f"Error: {error}")
    command_line(prog_name="bark-onnx")


def _open_closed_streams() -> None:
    """Open the null device in place of closed standard streams.

    Otherwise the next file that is opened gets the stream's number, and what a library writes to standard error would
    land in it. `sys.stdin` and `sys.stdout` stay None, by which `say` sees that it cannot use them.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)  # the progress bar, for example, needs a stream


if __name__ == "__main__":
    main()
