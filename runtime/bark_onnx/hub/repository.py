"""The name of a model on the Hugging Face hub. Reading a name needs no other package."""

import re
from dataclasses import dataclass

from ..errors import HubError

_NAME = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)(?:@(.+))?")
# What Git allows, and nothing that could lead out of a directory.
_REVISION = re.compile(r"(?!.*(\.\.|//|@\{))\w[^\s\x00-\x1f\x7f~^:?*\[\\]*")


@dataclass(frozen=True)
class Repository:
    """A model on the hub.

    Attributes:
        name: `org/name`.
        revision: a branch, tag, pull request (`refs/pr/5`) or commit; None for the repository's default.
    """

    name: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str, revision: str | None = None) -> "Repository | None":
        """Parse `org/name` or `org/name@revision`; return None if the text is neither.

        Raises:
            HubError: Git does not allow the revision, or two different revisions are given.
        """
        match = _NAME.fullmatch(text)
        if match is None:
            return None
        if match[2] and revision and match[2] != revision:
            raise HubError(f"{text} and --revision {revision} are two revisions: give one")
        revision = match[2] or revision
        if revision is not None and not _REVISION.fullmatch(revision):
            raise HubError(f"{revision!r} is not a revision: give a branch, a tag, refs/pr/N or a commit")
        return cls(match[1], revision)

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}" if self.revision else self.name
