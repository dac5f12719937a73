"""Emoji by their names, such as "thumbs up"."""

import re

from .libraries import emoji_names
from .numerals import digits

_PICTURE = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u21aa\u231a-\u23ff\u24c2\u25aa-\u25fe\u2600-\u2669\u266c-\u27bf\u2934"
    "\u2935\u2b05-\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
_COLOUR = re.compile("[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")
_AFTER = rf"[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff\U0001f1e6-\U0001f1ff]|\u200d{_PICTURE}"
KEY = "[0-9#*]\ufe0f?\u20e3"
EMOJI = rf"{KEY}|{_PICTURE}(?:{_AFTER}){{0,12}}+"


def name(emoji: str, code: str) -> str:
    """The name of an emoji, without the colour of its skin; "" if the language has no name; another sign as it is."""
    if "\u20e3" in emoji:  # of a key: 1️⃣
        return digits(code, emoji[0]) if emoji[0].isdigit() else ""
    names = emoji_names(code)
    plain = _COLOUR.sub("", emoji)
    for known in (plain, f"{plain}\ufe0f", emoji, plain[:1], f"{plain[:1]}\ufe0f"):
        if known in names:
            return names[known]
    return emoji
