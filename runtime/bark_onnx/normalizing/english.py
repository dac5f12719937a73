"""How English says numbers, years, times and fractions: what its table does not hold."""

from .language import Language, Number
from .numerals import cardinal, ordinal, year

_FRACTIONS = frozenset([*range(2, 21), 32, 64])  # what one divides by; 12/25 is something else
_UNDER = {2: ("half", "halves"), 4: ("quarter", "quarters")}


class English(Language):
    """English, as Americans write it."""

    def bare(self, number: Number) -> str:
        if not number.fraction and not number.grouped and self.is_year(number.whole):
            return self.year(number.whole)
        return self.number(number)

    def year(self, written: str) -> str:
        return year("en", int(written)) if written else ""

    def said_date(self, written_year: str, month: int, day: int, before: str = "") -> str:
        if before.lower() != "the":
            return super().said_date(written_year, month, day)
        said = f"{self.ordinal(day)} of {self._month(month)}"  # the first of May
        return f"{said}, {self.year(written_year)}" if written_year else said

    def decade(self, written: str) -> str:
        """Such as 1990s, '80s and 2000s."""
        words = self.year(written) if len(written) == 4 else cardinal("en", int(written))
        if words.endswith(("six", "x")):
            return f"{words}es"
        return words[:-1] + "ies" if words.endswith("y") else words + "s"

    def time(self, hour: int, minute: int, second: int | None, half: str) -> str:
        said = cardinal("en", hour)
        if minute:
            said += f" oh {cardinal('en', minute)}" if minute < 10 else f" {cardinal('en', minute)}"
        elif not half:
            said = self.full_hour.format(hour=said) if 0 < hour <= 12 else f"{said} hundred"
        if second is not None:
            said += f" and {cardinal('en', second)} second{'s' * (second != 1)}"
        return f"{said} {' '.join(half.upper())}".rstrip()

    def fraction(self, over: int, under: int) -> str:
        if known := self.fractions.get(f"{over}/{under}"):
            return known
        if under in (10, 100) and over <= under:
            return f"{cardinal('en', over)} out of {cardinal('en', under)}"
        if over >= under or under not in _FRACTIONS:
            return self.join(cardinal("en", over), self.words["over"], cardinal("en", under))
        part = ordinal("en", under)
        one, more = _UNDER.get(under, (part, f"{part}s"))
        return f"{cardinal('en', over)} {one if over == 1 else more}"
