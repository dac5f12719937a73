"""What a batch job is: its options, and the file by which the same job is recognised when it goes on."""

import difflib
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..audio.encoder import check_encoding
from ..errors import BarkError, or_default, reason, warn
from ..files import replacing
from ..graphs.cores import default_threads, usable_cores
from ..long.guards import Guards
from ..long.plan import NarrationOptions
from ..model.bundle import Bundle
from ..model.voice import open_voice
from ..normalizing.choice import AUTO, OFF, chosen_language, chosen_normalizer
from ..normalizing.libraries import missing
from ..numbers import check_seed, whole
from ..pipeline import Bark
from ..stages.options import GenerationOptions
from .ids import Collisions
from .ledger import MOST_LINES, Ledger
from .reading import check_source, read_rows
from .row import BadRow, Columns, Defaults, Row, parse_row, row_id

FORMAT_REVISION = 1
_JOB = "job.json"
_MOST_BYTES = 1 << 16
_MOST_NAMES = 1000  # of columns that are looked at


@dataclass(frozen=True)
class BatchOptions:
    """How the rows of a batch job are spoken and written.

    Args:
        bundle: a directory, or a name on the Hugging Face hub; None is nano.
        voice: of rows without one: a name in the bundle or a path.
        seed: of the job. The seed of a row without one is derived from it and from the row's id.
        generation: options of rows without their own.
        narration: how long texts are divided, and when a passage is spoken again.
        columns: the names of the columns.
        format: wav, flac, ogg, opus, mp3, aac (extra `av`) or pcm.
        sample_rate: of the files, in Hz; None for the model's.
        device, provider_options: as for `Bark.load`.
        threads: of each process; None is the number of cores divided by the number of processes. A job that goes on
            keeps its number, since the samples may depend on it.
        slots: utterances at a time in each process.
        normalize: as for `Bark.generate`; `auto` takes the language of each row's voice.

    Raises BarkError for impossible values.
    """

    bundle: str | None = None
    voice: str | None = None
    seed: int = 0
    generation: GenerationOptions = field(default_factory=GenerationOptions)
    narration: NarrationOptions = field(default_factory=NarrationOptions)
    columns: Columns = field(default_factory=Columns)
    format: str = "wav"
    sample_rate: int | None = None
    device: str = "auto"
    provider_options: Mapping[str, str] = field(default_factory=dict)
    threads: int | None = None
    slots: int = 8
    normalize: str = AUTO

    def __post_init__(self) -> None:
        or_default("generation", self.generation, GenerationOptions)
        or_default("narration", self.narration, NarrationOptions)
        or_default("columns", self.columns, Columns)
        for name in ("bundle", "voice"):
            value = getattr(self, name)
            if value is not None:
                if not isinstance(value, (str, os.PathLike)):
                    raise BarkError(f"{name} must be a name or a path, not {type(value).__name__}")
                object.__setattr__(self, name, os.fspath(value))
        object.__setattr__(self, "seed", check_seed(self.seed))
        object.__setattr__(self, "slots", whole("slots", self.slots))
        if self.slots < 1:
            raise BarkError(f"slots must be at least 1, not {self.slots}")
        chosen_language(self.normalize, None)  # raises
        object.__setattr__(self, "provider_options", dict(self.provider_options))

    @property
    def defaults(self) -> Defaults:
        """What a row takes where it has no value of its own."""
        return Defaults(self.voice, self.seed, self.generation)

    def load(self) -> Bark:
        """Load the bundle. Raises BarkError as `Bark.load` does."""
        return Bark.load(self.bundle, device=self.device, threads=self.threads, provider_options=self.provider_options)

    @classmethod
    def from_json(cls, options: Mapping[str, Any]) -> "BatchOptions":
        """Read what `dataclasses.asdict` returned."""
        narration = options["narration"]
        return cls(
            **{
                **options,
                "generation": GenerationOptions(**options["generation"]),
                "narration": NarrationOptions(**{**narration, "guards": Guards(**narration["guards"])}),
                "columns": Columns(**options["columns"]),
            }
        )


@dataclass(frozen=True)
class BatchJob:
    """A job that was checked.

    Args:
        source: the file with the rows.
        options: with the number of threads.
        rows: how many rows the file has.
        last_line: where the last of them begins.
        document: what decides the results, as JSON can hold it.
    """

    source: Path
    options: BatchOptions
    rows: int
    last_line: int
    document: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the job as JSON can hold it."""
        return asdict(self) | {"source": str(self.source)}

    @classmethod
    def from_json(cls, about: Mapping[str, Any]) -> "BatchJob":
        """Read what `to_json` returned."""
        options = BatchOptions.from_json(about["options"])
        return cls(Path(about["source"]), options, about["rows"], about["last_line"], about["document"])

    def begin(self, ledger: Ledger) -> "BatchJob":
        """Begin the job in its directory, or go on with it there. Returns it with the threads that it began with.

        Raises BarkError if the directory holds another job.
        """
        path, document = ledger.inside / _JOB, self.document
        kept: Mapping[str, Any] | None
        with ledger.exclusively():
            kept = _read(path)
            if kept is None:
                kept = document
                try:
                    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
                        file.write(f"{json.dumps(document, indent=1)}\n")
                        file.flush()
                        os.fsync(file.fileno())  # without this file, the job cannot go on
                except OSError as error:
                    raise BarkError(f"cannot write {path}: {reason(error)}") from None
        threads = kept.get("threads") if self.options.threads is None else document["threads"]
        others = _differences(kept, {**document, "threads": threads})
        if others:
            raise BarkError(
                f"{ledger.directory} holds another job (other {', '.join(others)}): to go on with it, give the same as "
                "at its start; for this one, give another directory"
            )
        return replace(self, options=replace(self.options, threads=threads))


def check_job(source: Path, options: BatchOptions, workers: int, *, progress: bool = False) -> BatchJob:
    """Check a job before anything is spoken.

    Raises BarkError if the bundle, the voice or the format is wrong, if the file cannot be read or no row of it can be
    spoken, or if an id cannot be a file's name or two would be the same file.
    """
    check_source(source)
    bundle = Bundle.open(options.bundle, progress=progress)
    if bundle.repository is not None:  # all processes load this commit, also if a branch is changed meanwhile
        options = replace(options, bundle=str(bundle.repository))
    voice = None if options.voice is None else open_voice(options.voice, bundle.voices)
    if voice is not None:
        voice.check(bundle.manifest.vocabulary)
    chosen_normalizer(options.normalize, options.voice)  # raises
    check_encoding(options.format, bundle.manifest.vocabulary.sample_rate, options.sample_rate)
    about = asdict(options)
    for name in ("bundle", "voice", "threads", "slots"):  # the first two by what is in them
        del about[name]
    if options.normalize == OFF or (options.normalize == AUTO and missing()):  # rows are spoken as they are written
        del about["normalize"]
    document = {
        "revision": FORMAT_REVISION,
        "input": _file_hash(source),
        "bundle": _hash(bundle.manifest.to_json().encode()),
        "voice": None if voice is None else _hash(*(array.tobytes() for array in voice.to_prompt().values())),
        "threads": options.threads or max(1, (default_threads() or usable_cores()) // workers),
        **about,
    }
    return BatchJob(source, options, *check_rows(source, options), json.loads(json.dumps(document)))


def check_rows(source: Path, options: BatchOptions) -> tuple[int, int]:
    """Return the number of rows in a file, and the line of the last one. Raises BarkError as `check_job` does."""
    columns, collisions, rows = options.columns, Collisions(), 0
    last_line = 0
    bad: BadRow | None = None
    good = False
    seen: set[str] = set()
    for record in read_rows(source, columns):
        rows, last_line = rows + 1, record.line
        if last_line > MOST_LINES:
            raise BarkError(f"{source} has more than {MOST_LINES} lines: divide it into several jobs")
        collisions.add(row_id(record, columns))
        if len(seen) < _MOST_NAMES:
            seen |= record.fields.keys()
        if not good:
            row = parse_row(record, columns, options.defaults)
            good = isinstance(row, Row)
            bad = bad or (row if isinstance(row, BadRow) else None)
    if not good:
        why = "it is empty" if bad is None else f"line {bad.line}: {bad.error}"
        raise BarkError(f"{source} has no row that can be spoken ({why})")
    collisions.check((record.line, row_id(record, columns)) for record in read_rows(source, columns))
    for name in sorted(seen - {*columns.all})[:_MOST_NAMES]:
        if near := difflib.get_close_matches(name, columns.all, 1, cutoff=0.85):
            warn(f"{source}: the column {name!r} is not read: did you mean {near[0]!r}?")
    return rows, last_line


def _differences(kept: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    """The names of what differs, in groups inside too."""
    found = []
    for name in [*document, *(name for name in kept if name not in document)]:
        one, other = kept.get(name), document.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            found += _differences(one, other) or ([] if one == other else [name])
        elif one != other:
            found.append(name)
    return found


def _read(path: Path) -> dict[str, Any] | None:
    """Read the file of a job; None if it does not exist. Raises BarkError if it is something else."""
    try:
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_size <= _MOST_BYTES:
            document = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(document, dict) and type(document.get("threads")) is int:
                return document
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise BarkError(f"{path} cannot be read: {reason(error)}; give another directory") from None
    raise BarkError(f"{path} is not the file of a batch job: give another directory")


def _file_hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BarkError(f"{path} cannot be read: {reason(error)}") from None


def _hash(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()
