"""A model on the Hugging Face hub: list its files, and download those that are needed into the hub's own cache."""

import glob
import logging
import re
import sys
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.utils import logging as hub_logging
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from huggingface_hub.utils.tqdm import tqdm as hub_tqdm

from bark_onnx.errors import BarkWarning

from ..errors import CheckpointError
from .directory import CheckpointDirectory
from .hub_errors import explain, is_incomplete

_NAME = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)(?:@(.+))?")
# What Git allows, and nothing that could lead out of a directory.
_REVISION = re.compile(r"(?!.*(\.\.|//|@\{))\w[^\s\x00-\x1f\x7f~^:?*\[\\]*")
_TIMEOUT = 30  # seconds until the hub must answer the question which files a repository has


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
            CheckpointError: Git does not allow the revision, or two different revisions are given.
        """
        match = _NAME.fullmatch(text)
        if match is None:
            return None
        if match[2] and revision and match[2] != revision:
            raise CheckpointError(f"{text} and --revision {revision} are two revisions: give one")
        revision = match[2] or revision
        if revision is not None and not _REVISION.fullmatch(revision):
            raise CheckpointError(f"{revision!r} is not a revision: give a branch, a tag, refs/pr/N or a commit")
        return cls(match[1], revision)

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}" if self.revision else self.name


@dataclass(frozen=True)
class Snapshot:
    """One commit of a repository.

    Attributes:
        names: its files, as paths in the repository. If the hub was not reached: those that are in the cache.
        cached: its directory in the cache, if the hub was not reached; None if the hub answered.
        advice: what an error tells the user to do if a file is missing.
        quiet: show no progress bars.
    """

    repository: Repository
    names: frozenset[str]
    cached: Path | None
    advice: str
    quiet: bool

    def download(self, names: Collection[str]) -> CheckpointDirectory:
        """Download these files, unless the cache has them, and return the snapshot's directory.

        If the hub was not reached, nothing is downloaded, and the directory may lack some of the files.

        Raises:
            CheckpointError: a file cannot be downloaded.
        """
        patterns = [glob.escape(name) for name in names]
        path = self.cached
        if path is None:
            with _bars(self.quiet) as bars:
                try:
                    path = Path(snapshot_download(self.repository.name, allow_patterns=patterns, **bars, **self._where))
                except Exception as error:  # the network, the hub and its client raise different types
                    raise CheckpointError(
                        explain(self.repository.name, self.repository.revision, error).message
                    ) from error
        where = " in the cache" if self.cached else ""
        return CheckpointDirectory(path, self.repository.name + where, self.advice)

    def lacks(self, pattern: str) -> bool:
        """Whether the hub was not reached and files that match this pattern are known to be missing from the cache."""
        if self.cached is None:
            return False
        try:
            snapshot_download(self.repository.name, allow_patterns=[pattern], local_files_only=True, **self._where)
        except Exception as error:
            return is_incomplete(error)
        return False

    @property
    def _where(self) -> dict[str, Any]:
        return {"revision": self.repository.revision}


def look_up(repository: Repository, *, quiet: bool = False) -> Snapshot:
    """Ask the hub which files a repository has. If the hub cannot be reached, take the newest snapshot in the cache.

    Args:
        quiet: show no progress bars for downloads. Without it they are shown if standard error is a terminal.

    Raises:
        CheckpointError: the repository or revision does not exist, the user may not read it, or the hub cannot be
            reached and the cache has no snapshot.
    """
    try:
        info = HfApi().model_info(repository.name, revision=repository.revision, timeout=_TIMEOUT)
    except Exception as error:  # the network, the hub and its client raise different types
        failure = explain(repository.name, repository.revision, error)
        cached = _find_cached(repository) if failure.unreachable else None
        if cached is None:
            nowhere = ", and it is not in the cache" if failure.unreachable else ""
            raise CheckpointError(f"{failure.what}{nowhere}: {failure.advice}") from error
        if not constants.HF_HUB_OFFLINE:
            warnings.warn(f"{failure.what}: taking the copy in the cache", BarkWarning, stacklevel=2)
        names = frozenset(
            path.relative_to(cached).as_posix() for path in cached.rglob("*") if path.is_symlink() or path.is_file()
        )
        return Snapshot(repository, names, cached, failure.message, quiet)
    names = frozenset(sibling.rfilename for sibling in info.siblings or [])
    return Snapshot(repository, names, None, "choose another repository or --revision", quiet)


def _find_cached(repository: Repository) -> Path | None:
    try:  # without patterns, a copy with any files is complete enough
        return Path(
            snapshot_download(repository.name, revision=repository.revision, allow_patterns=[], local_files_only=True)
        )
    except Exception:  # it is not in the cache, or the name is invalid: the caller knows why already
        return None


class _NoBar(hub_tqdm):
    """A progress bar that is never shown, whatever the environment variables of huggingface_hub say."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options | {"disable": True})  # type: ignore[no-untyped-call]


@contextmanager
def _bars(quiet: bool) -> Iterator[dict[str, Any]]:
    """Yield options for a download that shows progress bars only on a terminal, and none if `quiet`."""
    if not quiet and sys.stderr.isatty():
        yield {}
        return
    verbosity, were_on = hub_logging.get_verbosity(), not are_progress_bars_disabled()
    with warnings.catch_warnings(action="ignore"):  # huggingface_hub warns if HF_HUB_DISABLE_PROGRESS_BARS=0 forbids it
        disable_progress_bars()  # older versions show one for each file, which tqdm_class does not replace
    hub_logging.set_verbosity(logging.ERROR)
    try:
        yield {"tqdm_class": _NoBar}
    finally:
        hub_logging.set_verbosity(verbosity)
        if were_on:
            enable_progress_bars()
