"""Addresses on the web and of e-mail, as one spells them out: "example dot com slash docs"."""

import re

from .language import Language, Number

# The ends of names that are addresses also without https:// or www.
DOMAINS = "com|org|net|edu|gov|io|ai|dev|app|info|co|uk|de|fr|es|it|pl|pt|br|ru|tr|jp|kr|cn|in|eu|ch|at|us|ca|au|nl"
_NAME = r"[A-Za-z0-9][A-Za-z0-9-]{0,62}"
EMAIL = rf"[A-Za-z0-9][\w.+-]{{0,63}}@{_NAME}(?:\.{_NAME}){{1,8}}"
ADDRESS = (
    rf"(?:https?://|www\.)[^\s<>\"'()\[\]]{{1,2000}}"
    rf"|(?<![\w.@-]){_NAME}(?:\.{_NAME}){{0,8}}\.(?:{DOMAINS})(?![\w@])(?:/[^\s<>\"'()\[\]]{{0,2000}})?"
)
_ENDINGS = (
    "pdf|docx?|xlsx?|pptx?|txt|csv|json|ya?ml|xml|html?|css|js|ts|py|rs|md|png|jpe?g|gif|svg|mp[34]|wav|zip|tar|gz|exe|sh|"
    "toml|ini|log|PDF|DOCX?|XLSX?|TXT|CSV|PNG|JPE?G|GIF|MP[34]|ZIP"
)
FILE = rf"(?<![\w.@/\\-])[A-Za-z0-9][\w-]{{0,62}}(?:\.\w{{1,20}}){{0,3}}\.(?:{_ENDINGS})(?![\w@]|\.\w)"
_PARTS = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")
_SIGNS = {
    ".": "dot", "/": "slash", "-": "dash", "_": "underscore", ":": "colon", "?": "question", "=": "equals", "&": "and",
    "@": "at", "+": "plus", "#": "number", "%": "percent",
}  # fmt: skip


def spelled(written: str, language: Language) -> str:
    """An address in words. What begins every address, and a slash at its end, are not said."""
    said = re.sub(r"^https?://(?:www\.)?|^www\.|/$", "", written)
    words = []
    for part in _PARTS.findall(said):
        if part.isdigit():
            words.append(language.number(Number(part)) if len(part) <= 4 else language.digits(part))
        elif part.isalnum():
            words.append(part)
        elif name := _SIGNS.get(part):
            words.append(language.words[name])
    return " ".join(words)
