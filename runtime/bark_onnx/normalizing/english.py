"""How English says numbers, years, times and fractions: what its table does not hold."""

from .language import Language, Number
from .numerals import cardinal, ordinal, year

_UNDER = {2: ("half", "halves"), 4: ("quarter", "quarters")}


class English(Language):
    """English, as Americans write it."""

    def bare(self, number: Number) -> str:
        if not number.fraction and not number.grouped and self.is_year(number.whole):
            return self.year(number.whole)
        return self.number(number)

    def year(self, written: str) -> str:
        return year("en", int(written)) if written else ""

    def decade(self, written: str) -> str:
        """Such as 1990s, '80s and 2000s."""
        words = self.year(written) if len(written) == 4 else cardinal("en", int(written))
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
        if over > 20 or not 1 < under <= 100:
            return self.join(cardinal("en", over), self.words["over"], cardinal("en", under))
        part = ordinal("en", under)
        one, more = _UNDER.get(under, (part, f"{part}s"))
        return f"{cardinal('en', over)} {one if over == 1 else more}"
