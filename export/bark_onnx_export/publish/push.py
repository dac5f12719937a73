"""Upload a bundle to the Hugging Face hub: the files of its manifest and a model card, in one commit.

A commit is made when all files are on the hub, so an interrupted upload changes nothing there.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token, hf_hub_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

from bark_onnx.errors import BundleError, HubError
from bark_onnx.hub.failures import LOG_IN, explain
from bark_onnx.hub.repository import Repository
from bark_onnx.hub.snapshot import bars, look_up
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.manifest import MANIFEST, MAX_MANIFEST_BYTES, Manifest

from ..errors import listing
from .card import model_card

CARD = "README.md"
_OF_EVERY_MODEL = {CARD, ".gitattributes", ".gitignore", "LICENSE"}  # say nothing about what a repository holds
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Pushed:
    """What was uploaded.

    Attributes:
        url: the model's page.
        commit: 40 hexadecimal digits.
        licence: what the card says; None if the base model's licence is not known.
        deleted: files of the bundle that was there before, which are deleted.
    """

    url: str
    commit: str
    licence: str | None
    deleted: list[str]


def push(bundle: Bundle, repository: Repository, *, private: bool = False, quiet: bool = False) -> Pushed:
    """Upload an opened bundle.

    The repository is created if it does not exist, and so is a branch. What was there must be a bundle: its files are
    replaced, and those that the new bundle lacks are deleted.

    Args:
        repository: its revision is a branch, or `refs/pr/N` of a pull request that exists; None is the main branch.
        private: create the repository as a private one.
        quiet: show no progress bars. Without it they are shown if standard error is a terminal.

    Raises:
        HubError: the repository holds something else, the user may not write to it, or the hub cannot be reached.
    """
    name, revision = repository.name, repository.revision
    if revision is not None and _COMMIT.fullmatch(revision):
        raise HubError(f"{revision} is a commit, which cannot be changed: give a branch or refs/pr/N")
    if get_token() is None:
        raise HubError(f"writing to {name} on the Hugging Face hub needs a token: {LOG_IN}")
    api, entries = HfApi(), bundle.manifest.files
    with _explained(repository):
        licence = _licence(api, bundle.manifest)
        commit, old = _prepare(api, repository, private)
        deleted = sorted(old - entries.keys())
        card = model_card(bundle, repository, licence)
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(CARD, card.encode()),
            CommitOperationAdd(MANIFEST, str(bundle.directory / MANIFEST)),
            *(CommitOperationAdd(file, str(bundle.directory / file)) for file in entries),
            *(CommitOperationDelete(file) for file in deleted),
        ]
        about = f"{bundle.manifest.model} in {bundle.manifest.precision}, by bark-onnx {bundle.manifest.exporter}"
        with bars(quiet):
            made = api.create_commit(name, operations, commit_message=about, revision=revision, parent_commit=commit)
        # The hub leaves out what a .gitignore in the repository names.
        there = look_up(Repository(name, made.oid), quiet=quiet)
        there.check({file: (entry.bytes, entry.sha256) for file, entry in entries.items()})
    return Pushed(f"{constants.ENDPOINT}/{name}", made.oid, licence, deleted)


def _prepare(api: HfApi, repository: Repository, private: bool) -> tuple[str, set[str]]:
    """Create the repository and the branch if they do not exist.

    Returns:
        The commit to build on, and the files of the bundle that is there.

    Raises:
        HubError: the repository holds something else, or is public although it should be private.
    """
    name, revision = repository.name, repository.revision
    try:
        info = api.model_info(name)
    except GatedRepoError:
        raise
    except RepositoryNotFoundError:
        api.create_repo(name, private=private or None)
        info = api.model_info(name)
    if private and not info.private:
        raise HubError(f"{name} exists and is public: choose another name, or make it private on its page first")
    begin = False
    if revision is not None:
        try:
            info = api.model_info(name, revision=revision)
        except RevisionNotFoundError:
            if revision.startswith("refs/"):
                raise
            begin = True
    if info.sha is None:
        raise HubError(f"the Hugging Face hub did not name the last commit of {name}: try again later")
    old = _old_files(repository, info.sha, {sibling.rfilename for sibling in info.siblings or []})
    if begin and revision is not None:
        api.create_branch(name, branch=revision, revision=info.sha)
    return info.sha, old


def _old_files(repository: Repository, commit: str, names: set[str]) -> set[str]:
    """Return the files of the bundle in a repository. Raises HubError if the repository holds something else."""
    if MANIFEST not in names:
        if others := sorted(names - _OF_EVERY_MODEL):
            raise HubError(f"{repository} holds something else than a bundle ({listing(others)}): choose another name")
        return set()
    path = Path(hf_hub_download(repository.name, MANIFEST, revision=commit))
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise BundleError(f"{MANIFEST} is too large")
        return names & Manifest.from_json(path.read_text(encoding="utf-8")).files.keys()
    except (BundleError, ValueError) as error:  # ValueError: no text in UTF-8
        raise HubError(
            f"{repository} has a {MANIFEST} that is not a bundle's ({error}): choose another name, or another branch"
        ) from None


def _licence(api: HfApi, manifest: Manifest) -> str | None:
    """Return the licence that the card of the base model names; None if that is no model of the hub, or names none."""
    if manifest.revision is None:
        return None
    try:
        card = api.model_info(manifest.model).card_data
    except Exception:  # not there any more, gated or private: then the user adds the licence to the card
        return None
    licence = None if card is None else card.get("license")
    return licence if isinstance(licence, str) else None


@contextmanager
def _explained(repository: Repository) -> Iterator[None]:
    """Raise the errors of huggingface_hub as HubError."""
    try:
        yield
    except HubError:
        raise
    except Exception as error:  # the network, the hub and its client raise different types
        raise HubError(explain(repository.name, repository.revision, error, writing=True).message) from error
