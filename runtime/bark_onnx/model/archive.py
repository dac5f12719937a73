"""Read arrays from an `.npz` file that may be hostile.

`numpy.load` takes as much memory as the header of an array says, and decompresses whatever a member holds. Here nothing
is decompressed before its size is known, and nothing is unpickled.
"""

import math
import zipfile
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np

from ..errors import VoiceError, reason

_MAX_FILE = 64 << 20
_MAX_MEMBERS = 1000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those that numpy writes; LZMA may ask for gigabytes
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_arrays(file: BinaryIO, names: Iterable[str], most: int) -> dict[str, np.ndarray[Any, Any]]:
    """Read the arrays of these names; those that the file lacks are left out, and others in it are not read.

    Args:
        file: open, with `seek`.
        most: numbers in one array.

    Raises VoiceError for what cannot be read, and for arrays of objects.
    """
    try:
        if file.seek(0, 2) > _MAX_FILE:
            raise VoiceError(f"over {_MAX_FILE >> 20} MiB: not a voice preset")
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            members = {member.filename: member for member in archive.infolist()}
            if len(members) > _MAX_MEMBERS:
                raise VoiceError(f"{len(members)} files in it: not a voice preset")
            if sum(member.file_size for member in members.values()) > _MAX_FILE:
                raise VoiceError(f"over {_MAX_FILE >> 20} MiB when unpacked: not a voice preset")
            found = {name: members[f"{name}.npy"] for name in names if f"{name}.npy" in members}
            return {name: _read(archive, name, member, most) for name, member in found.items()}
    except VoiceError:
        raise
    except Exception as error:  # zipfile, zlib, struct or numpy fail in any way
        raise VoiceError(f"it cannot be read as a voice preset: {reason(error)}") from None


def _read(archive: zipfile.ZipFile, name: str, member: zipfile.ZipInfo, most: int) -> np.ndarray[Any, Any]:
    if member.compress_type not in _METHODS:
        raise VoiceError(f"{name} is compressed in a way that numpy does not use")
    with archive.open(member) as content:
        version = np.lib.format.read_magic(content)
        if version not in _HEADERS:  # the others are for arrays whose fields have names in Unicode
            raise VoiceError(f"{name} holds fields, not integers")
        shape, by_columns, dtype = _HEADERS[version](content)
        if dtype.hasobject:
            raise VoiceError(f"{name} holds {dtype}, not integers")
        size = math.prod(shape) * dtype.itemsize
        if any(length < 0 for length in shape) or math.prod(shape) > most or size > 8 * most:
            raise VoiceError(f"{name} has shape {shape}: at most {most} tokens")
        data = content.read(size)
    if len(data) < size:
        raise VoiceError(f"{name} is cut off")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if by_columns else "C")
