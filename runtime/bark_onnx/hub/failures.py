"""Explain errors of the Hugging Face hub: one sentence for what is wrong, and one for what to do."""

from dataclasses import dataclass
from json import JSONDecodeError

from huggingface_hub import constants, errors

from ..errors import reason

LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


@dataclass(frozen=True)
class Failure:
    """An explained error.

    Attributes:
        what: what is wrong.
        advice: what the user can do.
        unreachable: whether the only problem is that the hub cannot be reached, so that the cache may be used instead.
        unknown: whether the hub says that it has no such model, or none that the user may see.
    """

    what: str
    advice: str
    unreachable: bool = False
    unknown: bool = False

    @property
    def message(self) -> str:
        return f"{self.what}: {self.advice}"


def explain(name: str, revision: str | None, error: Exception, *, writing: bool = False) -> Failure:
    """Explain an error of `huggingface_hub`, or of the HTTP client that it uses.

    Args:
        name: the repository that was asked for.
        revision: the revision that was asked for.
        writing: whether the user wants to write to the repository.
    """
    # "Not in the cache either", or "error while uploading": the cause is what the hub or the network said.
    while isinstance(error, (errors.LocalEntryNotFoundError, RuntimeError)) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    done = "uploaded" if writing else "downloaded"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        page = f"{constants.ENDPOINT}/{name}"
        return Failure(f"{name} is gated", f"accept its licence on {page}, then {LOG_IN}")
    if isinstance(error, errors.RevisionNotFoundError):
        return Failure(f"{name} has no revision {revision}", "check the revision on its page on the hub")
    if isinstance(error, errors.DisabledRepoError):
        return Failure(f"{name} was disabled on the Hugging Face hub", "choose another repository")
    if status == 401 and not isinstance(error, errors.RepositoryNotFoundError):
        return Failure(f"the Hugging Face hub refused your token for {name}", f"{LOG_IN} to a valid one, or unset it")
    if isinstance(error, errors.RepositoryNotFoundError) or status == 404:
        return Failure(
            f"there is no model {name} on the Hugging Face hub, or it is private",
            f"check the name; if it is private, {LOG_IN}",
            unknown=True,
        )
    if status == 403:
        verb = "write to" if writing else "read"
        return Failure(f"your token may not {verb} {name} on the Hugging Face hub", f"{LOG_IN} to one that may")
    if writing and status in (409, 412):
        return Failure(f"{name} exists or was changed by somebody else", "try again, or choose another name")
    if isinstance(error, errors.HFValidationError):
        return Failure(f"{name} is not a name that the Hugging Face hub allows", "check it", unknown=True)
    if isinstance(error, UnicodeEncodeError):  # an HTTP header is ASCII
        return Failure("your token for the Hugging Face hub has characters that no token has", LOG_IN)
    if isinstance(error, errors.OfflineModeIsEnabled) or constants.HF_HUB_OFFLINE:
        return Failure(
            f"the Hugging Face hub was not asked for {name}, since HF_HUB_OFFLINE is set",
            f"unset it to {'upload' if writing else 'download'}",
            unreachable=True,
        )
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
        where = error.filename or "the hub's cache"
        return Failure(
            f"{name} could not be {done} ({where}: {reason(error)})",
            "make room, or set HF_HOME to another directory",
        )
    if isinstance(error, JSONDecodeError):
        return Failure(
            f"what answered for {name} is not the Hugging Face hub",
            "check the network; a proxy may want you to log in",
            unreachable=True,
        )
    if isinstance(error, ValueError):
        return Failure(f"{name} cannot be {done} ({reason(error)})", "choose another repository or revision")
    if status is not None:
        return Failure(f"the Hugging Face hub answered {status} for {name}", "try again later", unreachable=True)
    return Failure(
        f"the Hugging Face hub could not be reached for {name} ({reason(error)})", "check the network", unreachable=True
    )


def is_incomplete(error: Exception) -> bool:
    """Whether an error says that the cache has only a part of a snapshot. Old versions of the client cannot tell."""
    return isinstance(error, getattr(errors, "IncompleteSnapshotError", ()))
