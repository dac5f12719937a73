"""Run the rows of a job in this process, beside any other processes that run it too."""

from collections.abc import Callable, Iterator
from time import sleep

from ..audio.ogg import with_serial_number
from ..engine.speech import Speech
from ..errors import BarkError
from ..pipeline import Bark
from .job import BatchJob, BatchOptions
from .ledger import Ledger
from .reading import read_rows
from .result import Result
from .row import AnyRow, parse_row
from .speaking import SpokenRow, speak_rows

WAIT = 0.2  # seconds between two looks at what other processes have done


def run_rows(
    bark: Bark,
    job: BatchJob,
    ledger: Ledger,
    processes: int = 1,
    count: Callable[[float], None] = lambda ended: None,
) -> None:
    """Speak the rows that have no result, and that no other process speaks, until every row has a result.

    Args:
        processes: how many share the job. Each claims at most its share of the rows that are left, so that all of them
            end at about the same time.
        count: is told how many rows have ended.
    """
    options = job.options

    def share() -> int:
        return max(1, -(-(job.rows - ledger.ended) // processes))

    ledger.refresh()
    while True:
        rows = open_rows(job, ledger)
        for spoken in speak_rows(
            bark, rows, slots=options.slots, narration=options.narration, share=share, normalize=options.normalize
        ):
            end_row(spoken, options, ledger)
            count(ledger.ended)
        if not wait_for_others(ledger, count):
            return


def wait_for_others(ledger: Ledger, count: Callable[[float], None]) -> bool:
    """Wait while other processes speak rows. Returns whether one of them has left a row that is to be spoken."""
    while ledger.elsewhere and not ledger.any_is_free():
        sleep(WAIT)
        count(ledger.ended)
    return bool(ledger.elsewhere)


def open_rows(job: BatchJob, ledger: Ledger) -> Iterator[AnyRow]:
    """The rows of a job that have no result, each claimed for this process when it is read."""
    options = job.options
    for record in read_rows(job.source, options.columns, skip=lambda line: not ledger.claim(line)):
        yield parse_row(record, options.columns, options.defaults)


def end_row(spoken: SpokenRow, options: BatchOptions, ledger: Ledger) -> None:
    """Write the audio of a row and its result. Raises BarkError if that is not possible."""
    ledger.end(*finished(spoken, options))


def finished(spoken: SpokenRow, options: BatchOptions) -> tuple[Result, str | None, bytes]:
    """The result of a row, and the name and the content of its audio file. Without a name the row failed."""
    content, name = b"", None
    if spoken.speech is not None:
        try:
            content = encoded(spoken.speech, options)
            name = f"{spoken.row.id}.{options.format}"
        except BarkError as error:  # such as a file that its format cannot hold
            spoken = SpokenRow(spoken.row, None, str(error))
    return spoken.result(name), name, content


def encoded(speech: Speech, options: BatchOptions) -> bytes:
    """The audio file of a row, with the same bytes whenever it is made. Raises BarkError."""
    content = speech.encode(options.format, sample_rate=options.sample_rate)
    if options.format in ("ogg", "opus"):
        return with_serial_number(content, speech.seed % 2**32)
    return content
