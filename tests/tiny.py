"""The committed bundle (see bundles/make.py): where it is, its token space, and copies of it with other contents."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bark_onnx.model.bundle import Bundle, list_files
from bark_onnx.model.manifest import MANIFEST, Manifest

HERE = Path(__file__).parent / "bundles"
TINY = HERE / "tiny"
SAMPLERS = HERE / "samplers"
VOICE = "v2/en_speaker_6"  # of the fixture `bundle_with_voice`
SPACE = Bundle.open(TINY).manifest.vocabulary
SHORT_WINDOWS = replace(SPACE, fine_window=128, fine_history=64)  # a fine stage that takes little time


def copy(target: Path, change: Callable[[Manifest], Manifest] = lambda manifest: manifest, *more: Path) -> Path:
    """Copy the bundle, with a changed manifest and with the files of other directories."""
    for source in (TINY, *more):
        shutil.copytree(source, target, dirs_exist_ok=True)
    return sign(target, change)


def sign(directory: Path, change: Callable[[Manifest], Manifest] = lambda manifest: manifest) -> Path:
    """Write the manifest of a bundle anew: changed, and with the sizes and hashes of the files that it has now."""
    manifest = change(Manifest.from_json((directory / MANIFEST).read_text(encoding="utf-8")))
    (directory / MANIFEST).write_text(replace(manifest, files=list_files(directory)).to_json(), encoding="utf-8")
    return directory
