"""Telephone numbers, and the numbers of cards, which are read digit by digit."""

from .sayings import Sayings
from .signs import Written


def phones(say: Sayings) -> list[Written]:
    """The rules of every language."""
    return [
        (r"(?<![\w.+-])\+\d[\d ().-]{5,20}\d(?!\w)", say.phone),
        (r"(?<![\w.+-])\(0\d{1,4}\)\s?\d{3,8}(?:[ -]\d{2,4}){0,3}(?![\w-])", say.phone),
        (r"(?<![\w.+-])(?:\d{1,2}\s?)?\(\d{2,3}\)\s?\d{3,5}[- ]\d{2,4}(?:[- ]\d{2,4})?(?![\w-])", say.phone),
        (r"(?<![\w.,+-])(?<!\d )0\d{1,4}[ /-]\d{3,8}(?:[ -]\d{2,8}){0,3}(?![\w-]|[.,]\d)", say.phone),
        (
            r"(?<![\w.,+-])(?!(?:(?:19|20)\d\d ){2})\d{4}(?: \d{4}){2,4}(?![\w-]|[.,]\d)",
            say.phone,
        ),
        (r"(?<![\w.,+-])\d[\d /-]{4,20}\d(?![\w-]|[.,]\d)", say.phone_after_its_name),
        (r"(?<![\w.+-])\d++(?:-\d++){2,10}(?![\w-])", say.phone),
    ]
