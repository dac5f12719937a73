"""Where a bundle is: the directory that a caller means, and what to say if no bundle is there."""

import os
import re
from pathlib import Path

from ..errors import BundleError

EMBEDDED = Path(__file__).parents[1] / "nano"  # the bundle that comes with the package


def bundle_directory(given: str | Path | None) -> Path:
    """Return the directory that a caller means; see `Bundle.open`. Raises BundleError for what is no path."""
    if given is None or (str(given) == EMBEDDED.name and not Path(given).exists()):
        return EMBEDDED
    if not isinstance(given, (str, os.PathLike)):
        raise BundleError(f"a bundle is the path of a directory, not {type(given).__name__}")
    return Path(os.path.expanduser(given))  # noqa: PTH111  Path.expanduser raises if there is no such user


def no_bundle(directory: Path, manifest: str) -> BundleError:
    """Return the error of a directory that has no manifest: what is wrong, and what to do."""
    if directory.is_dir():
        return BundleError(f"{directory} is not a bundle (no {manifest}): make one by `bark-onnx export`")
    if directory.exists():
        return BundleError(f"{directory} is a file, not a bundle: give the directory that `bark-onnx export` made")
    advice, name = "`bark-onnx export` makes a bundle", directory.as_posix()
    if re.fullmatch(r"[\w.-]*\w/[\w.-]+", name) and not directory.parent.exists():  # such as suno/bark-small
        advice = f"first export the model: `bark-onnx export {name} DIR`"
    return BundleError(f"{directory}: no such directory; {advice}")
