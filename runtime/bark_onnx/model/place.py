"""Where a bundle is: the directory or the model on the hub that a caller means, and what to say if none is there."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BundleError, HubError, UnknownModel, how_to_install
from ..hub.repository import Repository

if TYPE_CHECKING:  # it needs huggingface_hub, which is optional
    from ..hub.snapshot import Snapshot

EMBEDDED = Path(__file__).parents[1] / "nano"  # the bundle that comes with the package


def bundle_directory(given: str | Path | None) -> Path:
    """Return the directory that a caller means; see `Bundle.open`. Raises BundleError for what is no path."""
    if given is None or (str(given) == EMBEDDED.name and not Path(given).exists()):
        return EMBEDDED
    if not isinstance(given, (str, os.PathLike)):
        raise BundleError(f"a bundle is the path of a directory, not {type(given).__name__}")
    return Path(os.path.expanduser(given))  # noqa: PTH111  Path.expanduser raises if there is no such user


def named_repository(directory: Path) -> Repository | None:
    """Return the model on the hub that has the name of a path at which nothing is. Raises HubError for its revision."""
    try:
        return None if os.path.lexists(directory) else Repository.parse(directory.as_posix())
    except ValueError:  # a null character
        return None


def look_up(repository: Repository, progress: bool) -> "Snapshot":
    """Find a model on the hub, or in the hub's cache, whose name is no path here.

    Raises:
        UnknownModel: nothing says that the hub has it, so its name may be a path with an error in it.
        HubError: huggingface_hub is not installed, or the user may not read the model.
    """
    try:
        from ..hub.snapshot import look_up as ask
    except ImportError:
        raise HubError(
            f"{repository}: no such directory; to read it from the Hugging Face hub, install a current "
            f"huggingface_hub: {how_to_install('hub')}"
        ) from None
    try:
        return ask(repository, quiet=not progress)
    except UnknownModel as error:
        raise UnknownModel(f"{repository}: no such directory; {error}") from error


def no_bundle(directory: Path, manifest: str) -> BundleError:
    """Return the error of a directory that has no manifest: what is wrong, and what to do."""
    if directory.is_dir():
        return BundleError(f"{directory} is not a bundle (no {manifest}): make one by `bark-onnx export`")
    if directory.exists():
        return BundleError(f"{directory} is a file, not a bundle: give the directory that `bark-onnx export` made")
    return BundleError(f"{directory}: no such directory; `bark-onnx export` makes a bundle")
