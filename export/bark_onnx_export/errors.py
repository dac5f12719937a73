"""The exporter's own error, and how an error lists many problems on one line."""

from collections.abc import Sequence

from bark_onnx.errors import BarkError

MOST_LISTED = 10
LONGEST_LISTED = 200  # characters


class CheckpointError(BarkError):
    """A checkpoint cannot be read, is incomplete, or holds a model that Bark's graphs cannot express."""


def listing(items: Sequence[str]) -> str:
    """Return items, such as problems or names from a file, as one printable line: the first ten, and how many more."""
    text = "; ".join(item[:LONGEST_LISTED] for item in items[:MOST_LISTED])
    shown = "".join(character if character.isprintable() else "?" for character in text)
    rest = len(items) - MOST_LISTED
    return f"{shown} and {rest} more" if rest > 0 else shown
