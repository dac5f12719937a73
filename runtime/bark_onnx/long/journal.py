"""The journal of a long job: a directory with the passages that are finished, so that an interrupted job can continue.

    journal/
      plan.json      the job's fingerprint and seed
      00000.npz ...  one finished passage each: samples, tokens, seed, attempts and problems

The files may be damaged or hostile when they are read again. So their sizes are checked, nothing in them is executed,
and a passage that cannot be read is spoken again.
"""

import errno
import json
import re
import stat
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, get_args

import numpy as np

from ..arrays import Waveform
from ..errors import BarkError, reason
from ..files import replacing, temporary_names
from ..model.vocabulary import Vocabulary
from ..model.voice import VoicePreset
from ..numbers import SEEDS, check_seed
from .guards import Name, Problem

FORMAT_REVISION = 2
PLAN = "plan.json"
_HALF_PLAN = re.compile(temporary_names("plan", ".json"))  # what `replacing` leaves where a process is killed
_PASSAGE = re.compile(r"\d{5,}\.npz", re.ASCII)
_HALF_PASSAGE = temporary_names(r"\d{5,}", ".npz")
_OWN = re.compile(rf"plan\.json|{_HALF_PLAN.pattern}|\d{{5,}}\.npz|{_HALF_PASSAGE}", re.ASCII)
_MAX_PASSAGE_BYTES = 64 << 20
_MAX_PLAN_BYTES = 1 << 16


@dataclass(frozen=True, eq=False)
class Record:
    """A finished passage.

    Args:
        waveform: float32 [n], as the codec decoded it, before it is trimmed and joined to other passages.
        tokens: of all stages, usable as a voice; None if the model said nothing.
        seed: of the attempt that was kept.
        attempts: how many were made.
        problems: of the attempt that was kept.
        rejected: the problems of the other attempts.
        timings: compute seconds of all attempts by stage, none for a record that was read from the journal.
    """

    waveform: Waveform
    tokens: VoicePreset | None
    seed: int
    attempts: int
    problems: tuple[Problem, ...]
    rejected: tuple[Problem, ...]
    timings: Mapping[str, float] = field(default_factory=dict)


class Journal:
    """The journal of one job, in a directory that holds nothing else.

    Args:
        directory: created if it does not exist.
        fingerprint: a hash of everything that decides the result. A job with another fingerprint is another job.
        seed: the job's. `Journal.seed` reads it.

    Raises BarkError if the directory is not a journal, or of another job, or cannot be written.
    """

    def __init__(self, directory: str | PathLike[str], fingerprint: str, seed: int) -> None:
        self.directory = directory = Path(directory)
        seed = check_seed(seed)
        plan = _read_plan(directory)
        if plan is not None and plan != {"format": FORMAT_REVISION, "fingerprint": fingerprint, "seed": seed}:
            raise BarkError(
                f"{directory} is the journal of another job (another text, voice, seed, bundle or option): "
                "to continue that job, give the same as at its start; or delete the journal to start again"
            )
        if plan is None:
            content = json.dumps({"format": FORMAT_REVISION, "fingerprint": fingerprint, "seed": seed})
            try:
                directory.mkdir(exist_ok=True)
                with replacing(directory / PLAN) as temporary:
                    temporary.write_text(content + "\n")
            except OSError as error:
                raise BarkError(f"cannot write the journal {directory}: {reason(error)}") from None

    @staticmethod
    def seed(directory: str | PathLike[str]) -> int | None:
        """Return the seed of a journal's job; None if there is no journal. Raises BarkError like the constructor."""
        plan = _read_plan(Path(directory))
        seed = None if plan is None else plan.get("seed")
        return seed if type(seed) is int and 0 <= seed < SEEDS else None

    def save(self, index: int, record: Record) -> None:
        """Write a passage, whole or not at all. Raises BarkError."""
        about = {
            "seed": record.seed,
            "attempts": record.attempts,
            "problems": [asdict(problem) for problem in record.problems],
            "rejected": [asdict(problem) for problem in record.rejected],
        }
        arrays: dict[str, Any] = {} if record.tokens is None else record.tokens.to_prompt()
        try:
            path = self._path(index)
            if path.is_symlink() or (path.exists() and not path.is_file()):
                path.unlink()  # nobody else's file is written: neither through a link nor into a pipe
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.savez(file, samples=record.waveform, about=np.array(json.dumps(about)), **arrays)
        except FileNotFoundError:
            raise BarkError(f"cannot write {self._path(index)}: its directory was deleted meanwhile") from None
        except OSError as error:
            full = "; is the disk full?" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else ""
            raise BarkError(f"cannot write {self._path(index)}: {reason(error)}{full}") from None

    def load(self, index: int, vocabulary: Vocabulary) -> Record | None:
        """Read a passage. Returns None if it was not written, cannot be read, or does not fit the vocabulary."""
        path = self._path(index)
        try:
            if not path.is_file():
                return None
            with zipfile.ZipFile(path) as archive:
                if sum(member.file_size for member in archive.infolist()) > _MAX_PASSAGE_BYTES:
                    return None
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                waveform = file["samples"]
                tokens = VoicePreset.from_prompt(file) if "semantic_prompt" in file else None
            if waveform.dtype != np.float32 or waveform.ndim != 1:
                return None
            if tokens is not None:
                tokens.check(vocabulary)
            problems, rejected = _problems(about["problems"]), _problems(about["rejected"])
            if type(about["seed"]) is not int or type(about["attempts"]) is not int:
                return None
            return Record(waveform, tokens, about["seed"], about["attempts"], problems, rejected)
        except Exception:  # a damaged or hostile file can fail anywhere in zipfile, zlib, json or numpy
            return None

    @staticmethod
    def count(directory: str | PathLike[str]) -> int:
        """Return how many passages a directory keeps."""
        return sum(_PASSAGE.fullmatch(path.name) is not None for path in Path(directory).iterdir())

    @staticmethod
    def remove(directory: str | PathLike[str]) -> None:
        """Delete a journal's files, and its directory if nothing else is in it. No journal: do nothing.

        Raises BarkError if the directory is not a journal.
        """
        directory = Path(directory)
        if _read_plan(directory) is None:
            return
        # The plan goes last: if this is interrupted, the directory still is a journal and can be removed.
        for path in sorted(directory.iterdir(), key=lambda path: path.name == PLAN):
            if _OWN.fullmatch(path.name) and not path.is_dir():
                path.unlink()
        with suppress(OSError):  # the directory has other files, or is a link
            directory.rmdir()

    def _path(self, index: int) -> Path:
        return self.directory / f"{index:05}.npz"


def _problems(items: list[dict[str, Any]]) -> tuple[Problem, ...]:
    found = tuple(Problem(**item) for item in items)
    if any(problem.name not in get_args(Name) or type(problem.detail) is not str for problem in found):
        raise ValueError("not a problem of any rule")
    return found


def _read_plan(directory: Path) -> dict[str, object] | None:
    """Read plan.json. Returns None if there is no journal. Raises BarkError if the directory is something else."""
    path = directory / PLAN
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size <= _MAX_PLAN_BYTES:
            plan = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(plan, dict) and "fingerprint" in plan:
                return plan
    except FileNotFoundError:
        if directory.is_dir() and not all(_HALF_PLAN.fullmatch(other.name) for other in directory.iterdir()):
            raise BarkError(f"{directory} is not a journal (no {PLAN}): give another directory") from None
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise BarkError(f"{path} cannot be read: {reason(error)}; delete {directory} to start again") from None
    raise BarkError(f"{path} does not belong to a journal: delete {directory} to start again")
