"""A model on the Hugging Face hub of these tests: its branches, their files and commits."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

LARGE = 1 << 16  # bytes from which a file is stored in LFS

Files = dict[str, bytes]


@dataclass
class Repository:
    """One model of the hub.

    Attributes:
        revisions: the files of each branch, tag or pull request (`main`, `refs/pr/5`).
        gated: its files are sent only with the token of a user who has accepted the licence.
        private: nothing is sent without a member's token.
        large: the size in bytes from which a file is in LFS, and is sent by the store.
        card: the metadata of its model card.
        ignored: paths that its .gitignore names.
        past: the files of earlier commits.
    """

    name: str
    revisions: dict[str, Files]
    gated: bool = False
    private: bool = False
    large: int = LARGE
    card: dict[str, Any] = field(default_factory=dict)
    ignored: set[str] = field(default_factory=set)
    past: list[Files] = field(default_factory=list)

    def commit(self, revision: str) -> str | None:
        """The commit (40 hex digits) of a branch, or of the beginning of a commit's name; None if it does not exist."""
        if revision in self.revisions:
            return self._hash(self.revisions[revision])
        for files in (*self.revisions.values(), *self.past):
            commit = self._hash(files)
            if revision == commit or (len(revision) >= 7 and commit.startswith(revision)):
                return commit
        return None

    def files(self, commit: str) -> Files:
        return next(files for files in (*self.revisions.values(), *self.past) if self._hash(files) == commit)

    def change(self, branch: str, files: Files) -> str:
        """Make a commit on a branch, and return it."""
        self.past.append(self.revisions[branch])
        self.revisions[branch] = files
        return self._hash(files)

    def _hash(self, files: Files) -> str:
        digest = hashlib.sha1(self.name.encode())
        for path, content in sorted(files.items()):
            digest.update(f"{path}:{hashlib.sha1(content).hexdigest()}".encode())
        return digest.hexdigest()


def git_hash(content: bytes) -> str:
    """The name that Git gives to a file's content."""
    return hashlib.sha1(b"blob %d\x00" % len(content) + content).hexdigest()
