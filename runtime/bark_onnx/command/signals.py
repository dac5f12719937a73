"""How a signal ends a command: its temporary files are deleted, and the process ends by that signal.

A shell then reports 128 and the signal's number (143 for SIGTERM), and a parent process sees which signal it was.
Ctrl-C (SIGINT) is not handled here: Python raises KeyboardInterrupt, and the command ends in the usual way.
"""

import os
import signal
from types import FrameType

from ..files import remove_unfinished

_SIGNALS = ("SIGTERM", "SIGHUP")  # Windows has no SIGHUP


def clean_up_on_signals() -> None:
    """Delete this process's temporary files when a signal ends it. Call it once, in the main thread.

    A signal that is ignored stays ignored: `nohup` ignores SIGHUP for the command that it starts.
    """
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    """Handle a signal. Nothing is raised: the exception could be lost in a destructor or a callback from C."""
    remove_unfinished()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # the first process of a container outlives the default action of a signal
