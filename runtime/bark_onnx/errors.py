"""Errors and warnings for the person who caused them: one line that says what is wrong, where, and what to do next."""

from collections.abc import Mapping

LONGEST = 800  # characters of an error's text


class BarkError(Exception):
    """An error that a user can cause. Its text is one printable line, also if it quotes a hostile file."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class BundleError(BarkError):
    """A bundle cannot be read: it is missing, incomplete, changed, or of another format revision."""


class VoiceError(BarkError):
    """A voice preset cannot be found or read, or does not fit the model."""


class DeviceError(BarkError):
    """The execution provider that the caller asked for is not available."""


class BarkWarning(UserWarning):
    """Something works, but differently than the caller may expect: for example, text that is too long is cut."""


def one_line(text: str) -> str:
    """Collapse white space, replace characters that do not print with `?`, and cut the middle out of a long text."""
    text = "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))
    return text if len(text) <= LONGEST else f"{text[: LONGEST * 3 // 4]} ... {text[-LONGEST // 4 :]}"


def reason(error: Exception) -> str:
    """Return why something failed: the first line of another library's exception, without the exception's name."""
    strerror = getattr(error, "strerror", None)
    return strerror or next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def shown(value: object) -> str:
    """Return a value as an error quotes it: its `repr`, or its type if that fails, as for a number of 5,000 digits."""
    try:
        return repr(value)
    except Exception:  # `repr` is the caller's code
        return f"a value of type {type(value).__name__}"


def require(options: object, rules: Mapping[str, bool]) -> None:
    """Raise a BarkError that names every broken rule.

    Args:
        options: the object that the rules are about.
        rules: text of each rule -> whether it holds. The text begins with the name of a field of `options`.
    """
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        raise BarkError("; ".join(f"{rule}, not {shown(getattr(options, rule.split()[0]))}" for rule in broken))
