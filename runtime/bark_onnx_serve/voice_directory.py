"""The operator's directory of voice presets: read at the start, and changed by uploads.

What is in memory is what was read at the start and what was uploaded, so that no request reads a file that somebody may
have replaced.
"""

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path

from bark_onnx import VoiceError, VoicePreset
from bark_onnx.errors import reason, shown
from bark_onnx.files import check_replaceable
from bark_onnx.model.manifest import is_plain

log = logging.getLogger(__name__)

MOST_VOICES = 1000  # in the directory
MOST_TOKENS = 1 << 16  # in one array: 109 s of fine codes, and 0.5 MiB. The stages read the last seconds only
MOST_UPLOAD_BYTES = 1 << 20  # a voice of 15 s that is not compressed has 0.1 MiB

_UPLOADED = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class NameTaken(VoiceError):
    """Another voice has the name of an upload."""


class NoRoom(VoiceError):
    """The directory has as many voices as it may have."""


class NotKept(VoiceError):
    """The file of an upload cannot be written or deleted. The text does not name it."""


class VoiceDirectory:
    """The presets of a directory, by name: the path in the directory without its suffix.

    Args:
        directory: is read once, with all directories in it. What is hidden is left out: some of it is unfinished.
        check: raises VoiceError for a voice that does not fit the model.

    Only one thread at a time may add and remove voices.

    Raises VoiceError that names the first file that is wrong.
    """

    def __init__(self, directory: Path, check: Callable[[VoicePreset], None]) -> None:
        self._directory = directory
        self._check = check
        self._presets: dict[str, VoicePreset] = {}  # replaced as a whole, so that readers need no lock
        try:
            root = directory.resolve(strict=True)
            for path in _files(directory):
                if len(self._presets) == MOST_VOICES:
                    raise VoiceError(f"--voices {directory}: more than {MOST_VOICES} voices; use fewer")
                self._presets[_name(path, directory)] = self._load(path, root)
            self._presets = dict(sorted(self._presets.items()))
        except OSError as error:
            raise VoiceError(f"--voices {error.filename or directory}: {reason(error)}") from None

    @property
    def presets(self) -> Mapping[str, VoicePreset]:
        """The voices by name, in alphabetical order. It does not change later: an upload makes a new one."""
        return self._presets

    def check_writable(self) -> None:
        """Raise VoiceError if no voice can be written."""
        try:
            check_replaceable(self._directory / "upload.npz")
        except OSError as error:
            raise VoiceError(f"--voices {self._directory} cannot take uploads: {reason(error)}") from None

    def add(self, name: str, content: bytes, *, replace: bool, taken: Callable[[str], bool]) -> bool:
        """Keep a voice that was uploaded. It is in the directory when this returns.

        Args:
            content: of an `.npz` file, which may be hostile.
            replace: whether it may take the place of a voice of the same name in this directory.
            taken: whether a name means something outside of this directory.

        Returns whether it replaced a voice.

        Raises VoiceError if the name or the file is wrong, NameTaken, NoRoom, and NotKept.
        """
        check_name(name)
        preset = self._read(content)
        replaces = name in self._presets
        if not replaces and taken(name):
            raise NameTaken(f"the name {name} belongs to a voice of the server: take another one")
        same = next((own for own in self._presets if own.casefold() == name.casefold()), None)
        path = self._directory / f"{name}.npz"
        # On some disks two names that differ in capitals are the same file.
        if same not in (None, name) or (not replaces and os.path.lexists(path)):
            raise NameTaken(f"there is a file for the name {same or name} already: take another one")
        if replaces and not replace:
            raise NameTaken(f"there is a voice {name} already: take another name, or give replace=true")
        if not replaces and len(self._presets) >= MOST_VOICES:
            raise NoRoom(f"there are {MOST_VOICES} voices already: delete one first")
        try:
            preset.save(path)
        except VoiceError as error:
            log.error("%s", error)
            raise NotKept("the voice could not be written: the server's log says why") from None
        self._presets = dict(sorted({**self._presets, name: preset}.items()))
        return replaces

    def remove(self, name: str) -> None:
        """Delete a voice whose name an upload may have.

        Raises KeyError if there is none, and NotKept if its file cannot be deleted.
        """
        if name not in self._presets or not _UPLOADED.fullmatch(name):
            raise KeyError(name)
        try:
            (self._directory / f"{name}.npz").unlink(missing_ok=True)
        except OSError as error:
            log.error("cannot delete the voice %s: %s", name, reason(error))
            raise NotKept("the voice could not be deleted: the server's log says why") from None
        self._presets = {own: preset for own, preset in self._presets.items() if own != name}

    def _read(self, content: bytes) -> VoicePreset:
        preset = VoicePreset.read(BytesIO(content), MOST_TOKENS)
        self._check(preset)
        return preset

    def _load(self, path: Path, root: Path) -> VoicePreset:
        try:
            if not path.resolve(strict=True).is_relative_to(root):
                raise VoiceError("it is a link that leaves the directory: copy the file")
            if not path.is_file():  # to open a pipe would wait for its writer
                raise VoiceError("not a plain file")
            with path.open("rb") as file:
                preset = VoicePreset.read(file, MOST_TOKENS)
            self._check(preset)
        except OSError as error:
            raise VoiceError(f"--voices {path}: {reason(error)}") from None
        except VoiceError as error:
            raise VoiceError(f"--voices {path}: {error}") from None
        return preset


def check_name(name: str) -> None:
    """Raise VoiceError if an upload cannot have this name."""
    if not _UPLOADED.fullmatch(name):
        raise VoiceError(
            f"no name for a voice: {shown(name)[:100]}; take up to 64 letters of A to Z, digits, - and _, the first of "
            "them a letter or a digit"
        )


def _files(directory: Path) -> Iterator[Path]:
    """The `.npz` files in a directory and below it, in order. Links to directories are not followed."""

    def fail(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(directory, onerror=fail):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if name.endswith(".npz") and not name.startswith("."))


def _name(path: Path, directory: Path) -> str:
    name = path.relative_to(directory).with_suffix("").as_posix()
    if not is_plain(name) or len(name) > 200:
        raise VoiceError(f"--voices {path}: rename it: its name cannot be a voice's")
    return name
