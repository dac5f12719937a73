"""The result of a row, as a line of the results file."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from ..long.guards import Problem

_NOTHING, _NUMBER = type(None), (int, float)
_KINDS: Mapping[str, tuple[type, ...]] = {
    "line": (int,), "id": (str,), "path": (str, _NOTHING), "seconds": _NUMBER, "seed": (int, _NOTHING),
    "attempts": (int,), "passages": (int,), "problems": (list,), "unknown_words": (list,),
    "compute_seconds": _NUMBER, "error": (str, _NOTHING),
}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What became of a row.

    Args:
        line: where the row begins in the input: a line, or for Parquet the number of the row; from 1.
        id: of the row.
        path: of the audio, relative to the directory of the job; None if the row failed.
        seconds: of audio.
        seed: generates the same speech again; None if the row could not be read.
        attempts: how often its passages were spoken, together.
        passages: into how many the text was divided.
        problems: what is still wrong with the attempts that were kept.
        unknown_words: words that the model's vocabulary lacks, and that are not spoken.
        compute_seconds: of all attempts; each run is divided among the utterances that shared it.
        error: why the row failed; None if it did not.
    """

    line: int
    id: str
    path: str | None = None
    seconds: float = 0.0
    seed: int | None = None
    attempts: int = 0
    passages: int = 0
    problems: tuple[Problem, ...] = ()
    unknown_words: tuple[str, ...] = ()
    compute_seconds: float = 0.0
    error: str | None = None

    @property
    def failed(self) -> bool:
        """Whether the row has no audio."""
        return self.error is not None

    def to_json(self) -> str:
        """Return one line of JSON, without its end."""
        about = asdict(self) | {"seconds": round(self.seconds, 3), "compute_seconds": round(self.compute_seconds, 3)}
        return json.dumps(about, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str | bytes) -> "Result":
        """Read such a line. Raises ValueError for any other."""
        try:
            about: Any = json.loads(line)
            if not isinstance(about, Mapping) or any(type(about[name]) not in kinds for name, kinds in _KINDS.items()):
                raise ValueError("not a result")
            if about["line"] < 1 or not all(map(isfinite, (about["seconds"], about["compute_seconds"]))):
                raise ValueError("not a result")
            problems = tuple(Problem(**problem) for problem in about["problems"])
            if not all(isinstance(problem.name, str) for problem in problems):
                raise ValueError("not a result")
            return cls(**{**about, "problems": problems, "unknown_words": tuple(about["unknown_words"])})
        except (KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError("not a result") from error
