"""The report on a batch job: what its results are, together."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .ledger import open_results
from .result import Result


@dataclass(frozen=True)
class BatchReport:
    """What became of the rows of a job.

    Args:
        results: the file with one line for each row.
        rows: of the input.
        done, failed: rows with audio, and without.
        audio_seconds: of all rows.
        compute_seconds: of all rows and attempts, in all runs of the job.
        passages: of all rows.
        retries: attempts beyond the first, of all passages.
        problems: how many passages still have each problem.
        made: rows that ended during this run, in any process.
        seconds: that this run took.
    """

    results: Path
    rows: int
    done: int
    failed: int
    audio_seconds: float
    compute_seconds: float
    passages: int
    retries: int
    problems: Mapping[str, int]
    made: int
    seconds: float

    @property
    def real_time_factor(self) -> float:
        """Compute seconds of one process for one second of audio; 0 without audio."""
        return self.compute_seconds / self.audio_seconds if self.audio_seconds else 0.0

    @property
    def table(self) -> str:
        """The report as a table of two columns."""
        lines = {
            "rows": str(self.rows),
            "done": str(self.done),
            "failed": str(self.failed),
            "audio": f"{self.audio_seconds / 3600:.2f} hours",
            "real-time factor": f"{self.real_time_factor:.2f} (compute seconds of one process for a second of audio)",
            "passages": str(self.passages),
            "retries": str(self.retries),
            **{f"problem {name}": f"{number} passages" for name, number in sorted(self.problems.items())},
            "this run": f"{self.made} rows in {self.seconds:.0f} s ({60 * self.made / self.seconds:.1f} a minute)",
        }
        width = max(map(len, lines))
        return "\n".join(f"{name:{width}}  {value}" for name, value in lines.items())


def read_report(results: Path, rows: int, made: int, seconds: float) -> BatchReport:
    """Sum up a file of results."""
    counts: Counter[str] = Counter()
    problems: Counter[str] = Counter()
    audio = compute = 0.0
    with open_results(results) as file:
        for line in file:
            if not line.endswith(b"\n"):
                break  # a killed process left it, for a row that has another line
            result = Result.from_json(line)
            counts["failed" if result.failed else "done"] += 1
            counts["passages"] += result.passages
            counts["retries"] += result.attempts - result.passages
            problems.update(problem.name for problem in result.problems)
            audio += result.seconds
            compute += result.compute_seconds
    return BatchReport(
        results, rows, counts["done"], counts["failed"], audio, compute,
        counts["passages"], counts["retries"], dict(problems), made, seconds,
    )  # fmt: skip
