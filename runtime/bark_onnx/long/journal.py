"""The journal of a long job: what has been spoken so far, on disk, so that an interrupted job goes on where it stopped.

    journal/
      plan.json      what the job is: its fingerprint and its seed
      00000.npz ...  each finished passage: samples, tokens, and how it came about

It comes from outside when it is read again: sizes are checked, nothing in it is executed, and a passage that cannot be
read counts as not spoken yet.
"""

import json
import re
import stat
import zipfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from ..arrays import Waveform
from ..errors import BarkError, reason
from ..files import replacing
from ..model.vocabulary import Vocabulary
from ..model.voice import VoicePreset
from .guards import Name, Problem

FORMAT_REVISION = 1
PLAN = "plan.json"
_HALF_PLAN = re.compile(r"\.plan-\w{8}\.json", re.ASCII)  # what `replacing` leaves where a process is killed
_OWN = re.compile(rf"plan\.json|{_HALF_PLAN.pattern}|\d{{5,}}\.npz|\.\d{{5,}}-\w{{8}}\.npz", re.ASCII)
_MAX_PASSAGE_BYTES = 64 << 20
_MAX_PLAN_BYTES = 1 << 16


@dataclass(frozen=True, eq=False)
class Record:
    """A finished passage.

    Args:
        waveform: float32 [n], trimmed, not yet joined to its neighbours.
        tokens: the generation; None if the model said nothing at all.
        seed: the one that made it.
        attempts: how many it took.
        problems: what is wrong with it still.
        rejected: what was wrong with the attempts that were thrown away.
    """

    waveform: Waveform
    tokens: VoicePreset | None
    seed: int
    attempts: int
    problems: tuple[Problem, ...]
    rejected: tuple[Problem, ...]


class Journal:
    """One job's journal, in a directory of its own.

    Args:
        directory: made if it is not there.
        fingerprint: of all that decides the result; another one is another job.
        seed: the job's, to be found again by `Journal.seed`.

    Raises BarkError if the directory holds another job, or cannot be written.
    """

    def __init__(self, directory: Path, fingerprint: str, seed: int) -> None:
        self.directory = directory
        plan = _read_plan(directory)
        if plan is not None and plan != {"format": FORMAT_REVISION, "fingerprint": fingerprint, "seed": seed}:
            raise BarkError(
                f"{directory} is the journal of another job (another text, voice, seed, bundle or option): "
                "give what it was begun with to go on, or delete it to begin anew"
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
    def seed(directory: Path) -> int | None:
        """The seed of the job whose journal this is; None if there is none."""
        plan = _read_plan(directory)
        seed = None if plan is None else plan.get("seed")
        return seed if type(seed) is int and 0 <= seed < 2**64 else None

    def save(self, index: int, record: Record) -> None:
        """Keep a passage, whole or not at all. Raises BarkError."""
        about = {
            "seed": record.seed,
            "attempts": record.attempts,
            "problems": [asdict(problem) for problem in record.problems],
            "rejected": [asdict(problem) for problem in record.rejected],
        }
        arrays = {} if record.tokens is None else record.tokens.to_prompt()
        try:
            with replacing(self._path(index)) as temporary, temporary.open("wb") as file:
                np.savez(file, samples=record.waveform, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]
        except OSError as error:
            raise BarkError(f"cannot write {self._path(index)}: {reason(error)}; is the disk full?") from None

    def load(self, index: int, vocabulary: Vocabulary) -> Record | None:
        """A passage that was kept; None if there is none, or none that can be read and is this model's."""
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
        except Exception:  # a damaged or hostile file can fail in zipfile, zlib, json or numpy
            return None

    @staticmethod
    def remove(directory: Path) -> None:
        """Delete a journal's own files, and the directory if nothing else is in it. Raises BarkError if it is none."""
        if _read_plan(directory) is None:
            return
        for path in sorted(directory.iterdir(), key=lambda path: path.name == PLAN):  # it is a journal until the last
            if _OWN.fullmatch(path.name) and not path.is_dir():
                path.unlink()
        with suppress(OSError):  # something else is in it, or it is a link
            directory.rmdir()

    def _path(self, index: int) -> Path:
        return self.directory / f"{index:05}.npz"


def _problems(items: list[dict[str, Any]]) -> tuple[Problem, ...]:
    found = tuple(Problem(**item) for item in items)
    if any(problem.name not in get_args(Name) or type(problem.detail) is not str for problem in found):
        raise ValueError("a problem that no rule finds")
    return found


def _read_plan(directory: Path) -> dict[str, object] | None:
    """What plan.json says; None if there is no journal. Raises BarkError for a directory that is something else."""
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
        raise BarkError(f"{path} cannot be read: {reason(error)}; delete {directory} to begin anew") from None
    raise BarkError(f"{path} is not a journal's: delete {directory} to begin anew")
