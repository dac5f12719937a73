"""A model on the Hugging Face hub: what it has, and the download of what is needed into the hub's own cache."""

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

from .directory import CheckpointDirectory
from .hub_errors import explain, is_incomplete
from .weights import CheckpointError

_NAME = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)(?:@(.+))?")
_REVISION = re.compile(
    r"(?!.*(\.\.|//|@\{))\w[^\s\x00-\x1f\x7f~^:?*\[\\]*"
)  # as Git has it, and never out of a directory
_TIMEOUT = 30  # seconds for the hub's answer to what it has


@dataclass(frozen=True)
class Repository:
    """A model on the hub: `org/name`, and a branch, tag, pull request (`refs/pr/5`) or commit; None for its default."""

    name: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str, revision: str | None = None) -> "Repository | None":
        """`org/name` or `org/name@revision`; None if the text is neither.

        Raises:
            CheckpointError: the revision is none that Git allows, or two different ones are given.
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
    """One commit of a repository: what it has, and where the parts that were downloaded lie.

    Attributes:
        names: all files, as paths in the repository; of a cached snapshot, those that are in the cache.
        cached: where it lies in the cache, when the hub was not reached; None if the hub answered.
        advice: what to do when a file is not there.
    """

    repository: Repository
    names: frozenset[str]
    cached: Path | None
    advice: str
    quiet: bool

    def download(self, names: Collection[str]) -> CheckpointDirectory:
        """The snapshot's directory, with these files in it; they are downloaded unless they are there already.

        Raises:
            CheckpointError: a file cannot be downloaded; or the hub was not reached, and the cache has not all of them.
        """
        patterns = [glob.escape(name) for name in names]
        path = self.cached
        if path is None:
            with _bars(self.quiet) as bars:
                try:
                    path = Path(snapshot_download(self.repository.name, allow_patterns=patterns, **bars, **self._where))
                except Exception as error:  # the network, the hub and its client each have errors of their own
                    raise CheckpointError(
                        explain(self.repository.name, self.repository.revision, error).message
                    ) from error
        where = " in the cache" if self.cached else ""
        return CheckpointDirectory(path, self.repository.name + where, self.advice)

    def lacks(self, pattern: str) -> bool:
        """Whether files of this pattern are known to be missing from the cache, when the hub was not reached."""
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
    """Ask the hub what a repository has. If the hub cannot be reached, the newest snapshot in the cache is taken.

    Args:
        quiet: show no bars when downloading; they are shown on a terminal only.

    Raises:
        CheckpointError: there is no such repository or revision, it may not be read, or it is not to be had.
    """
    try:
        info = HfApi().model_info(repository.name, revision=repository.revision, timeout=_TIMEOUT)
    except Exception as error:  # the network, the hub and its client each have errors of their own
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
    try:  # with no pattern every copy is complete enough
        return Path(
            snapshot_download(repository.name, revision=repository.revision, allow_patterns=[], local_files_only=True)
        )
    except Exception:  # there is none, or the name is no name: the caller has the reason already
        return None


class _NoBar(hub_tqdm):
    """A bar that is not shown, whatever the environment says."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options | {"disable": True})  # type: ignore[no-untyped-call]


@contextmanager
def _bars(quiet: bool) -> Iterator[dict[str, Any]]:
    """Options of a download that shows bars on a terminal only, and nothing if `quiet`."""
    if not quiet and sys.stderr.isatty():
        yield {}
        return
    verbosity, were_on = hub_logging.get_verbosity(), not are_progress_bars_disabled()
    with warnings.catch_warnings(action="ignore"):  # where HF_HUB_DISABLE_PROGRESS_BARS=0 forbids it
        disable_progress_bars()  # of the single files, in older versions
    hub_logging.set_verbosity(logging.ERROR)
    try:
        yield {"tqdm_class": _NoBar}
    finally:
        hub_logging.set_verbosity(verbosity)
        if were_on:
            enable_progress_bars()
