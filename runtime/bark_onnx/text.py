"""Text before it becomes ids."""

from .errors import BarkError


def normalize(text: str) -> str:
    """White space collapsed, as the reference does. Raises BarkError for text with nothing in it."""
    text = " ".join(text.split())
    if not text:
        raise BarkError("the text is empty: there is nothing to say")
    return text
