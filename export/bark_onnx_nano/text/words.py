"""The words of a text, as they are counted and compared."""

import re


def words_of(text: str) -> list[str]:
    """Return the words in lower case, without punctuation."""
    return re.findall(r"[a-z']+", text.lower())
