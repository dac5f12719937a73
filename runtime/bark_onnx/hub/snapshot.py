"""One commit of a model on the Hugging Face hub: list its files, and download some of them into the hub's own cache.

Only this file, `failures.py` and the exporter's `push.py` import `huggingface_hub`, which is optional.
"""

import glob
import logging
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.utils import logging as hub_logging
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from huggingface_hub.utils.tqdm import tqdm as hub_tqdm

from ..errors import HubError, UnknownModel, warn
from .failures import explain, is_incomplete
from .repository import Repository


@dataclass(frozen=True)
class ListedFile:
    """What the hub says about a file.

    Attributes:
        bytes: its size; None if the hub was not reached.
        sha256: its hash; None for a file that is not in LFS, and if the hub was not reached.
    """

    bytes: int | None
    sha256: str | None


@dataclass(frozen=True)
class Snapshot:
    """One commit of a repository.

    Attributes:
        repository: as the user named it.
        commit: 40 hexadecimal digits.
        files: its files by their paths in the repository. If the hub was not reached: those that are in the cache.
        cached: its directory in the cache, if the hub was not reached; None if the hub answered.
        advice: what an error tells the user to do if a file is missing.
        quiet: show no progress bars.
    """

    repository: Repository
    commit: str
    files: Mapping[str, ListedFile]
    cached: Path | None
    advice: str
    quiet: bool

    @property
    def names(self) -> frozenset[str]:
        """The paths of its files in the repository."""
        return frozenset(self.files)

    @property
    def label(self) -> str:
        """Its name in errors."""
        return self.repository.name + (" in the cache" if self.cached else "")

    def download(self, names: Collection[str]) -> Path:
        """Download these files, unless the cache has them, and return the snapshot's directory.

        A file gets its place in the cache when it is complete. If the hub was not reached, nothing is downloaded, and
        the directory may lack some of the files.

        Raises:
            HubError: a file cannot be downloaded, or the branch was changed since its files were listed.
        """
        if self.cached is not None:
            return self.cached
        name, revision = self.repository.name, self.repository.revision
        patterns = [glob.escape(file) for file in names]
        with bars(self.quiet) as options:
            try:  # by the name of the branch, so that the cache knows its commit when there is no network
                path = Path(snapshot_download(name, revision=revision, allow_patterns=patterns, **options))
            except Exception as error:  # the network, the hub and its client raise different types
                raise HubError(explain(name, revision, error).message) from error
        if path.name != self.commit:
            raise HubError(f"{self.repository} was changed on the hub while it was read: try again")
        return path

    def check(self, files: Mapping[str, tuple[int, str]]) -> None:
        """Raise HubError if the repository does not have these files, as far as it is known before they are downloaded.

        Args:
            files: the size and the sha256 of each.
        """
        problems = []
        for name, expected in files.items():
            listed = self.files.get(name)
            if listed is None:
                problems.append(f"{name} is missing")
            elif listed.bytes not in (None, expected[0]) or listed.sha256 not in (None, expected[1]):
                problems.append(f"{name} has another size or hash than it should have")
        if problems:
            raise HubError(f"{self.label} is incomplete ({'; '.join(problems)}): {self.advice}")

    def lacks(self, pattern: str) -> bool:
        """Whether the hub was not reached and files that match this pattern are known to be missing from the cache."""
        if self.cached is None:
            return False
        name, revision = self.repository.name, self.repository.revision
        try:
            snapshot_download(name, revision=revision, allow_patterns=[pattern], local_files_only=True)
        except Exception as error:
            return is_incomplete(error)
        return False


def look_up(repository: Repository, *, quiet: bool = False) -> Snapshot:
    """Ask the hub which files a repository has. If the hub cannot be reached, take the newest snapshot in the cache.

    Args:
        quiet: show no progress bars for downloads. Without it they are shown if standard error is a terminal.

    Raises:
        UnknownModel: the repository does not exist or is private, or the hub cannot be reached and the cache has no
            snapshot. The hub must answer within HF_HUB_ETAG_TIMEOUT seconds, by default 10.
        HubError: the revision does not exist, or the user may not read the repository.
    """
    name, revision = repository.name, repository.revision
    try:
        info = HfApi().model_info(name, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT, files_metadata=True)
    except Exception as error:  # the network, the hub and its client raise different types
        failure = explain(name, revision, error)
        cached = _find_cached(repository) if failure.unreachable else None
        if cached is None:
            nowhere = ", and it is not in the cache" if failure.unreachable else ""
            kind = UnknownModel if failure.unreachable or failure.unknown else HubError
            raise kind(f"{failure.what}{nowhere}: {failure.advice}") from error
        if not constants.HF_HUB_OFFLINE:
            warn(f"{failure.what}: taking the copy in the cache")
        paths = (path for path in cached.rglob("*") if path.is_symlink() or path.is_file())
        files = {path.relative_to(cached).as_posix(): ListedFile(None, None) for path in paths}
        return Snapshot(repository, cached.name, files, cached, failure.message, quiet)
    files = {
        sibling.rfilename: ListedFile(sibling.size, None if sibling.lfs is None else sibling.lfs.sha256)
        for sibling in info.siblings or []
    }
    return Snapshot(repository, info.sha or "", files, None, "choose another repository or revision", quiet)


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
def bars(quiet: bool) -> Iterator[dict[str, Any]]:
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
