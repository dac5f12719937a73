"""Progress of long work: a bar on a terminal, a callback, both or nothing."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from tqdm import tqdm

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """How far a piece of work is.

    Args:
        stage: `semantic`, `coarse`, `fine`, `batch` or `speech`.
        done, total: in tokens for `semantic`, windows for `coarse` and `fine`, utterances for `batch`, seconds of
            speech for `speech`. The semantic stage usually ends before `total`, which is its limit.
    """

    stage: str
    done: float
    total: float


ProgressOption: TypeAlias = bool | Callable[[Progress], None]
"""True: a bar on standard error where that is a terminal. A function: it is called with a Progress. False: nothing."""


def shown(items: Iterable[T], stage: str, total: float, option: ProgressOption) -> Iterator[T]:
    """The same items; each that has been taken counts one."""
    with counted(stage, total, option) as count:
        for number, item in enumerate(items, 1):
            yield item
            count(number)


@contextmanager
def counted(stage: str, total: float, option: ProgressOption, *, done: float = 0) -> Iterator[Callable[[float], None]]:
    """A function that takes how much has been done so far.

    Args:
        done: what was done before; the rate that is shown does not count it.
    """
    if callable(option):
        report = option
        yield lambda done: report(Progress(stage, done, total))
        return
    if not option:  # no bar at all, since even a disabled one starts a thread
        yield lambda done: None
        return
    with tqdm(desc=f"{stage:8}", total=round(total), initial=round(done), leave=False, disable=None) as bar:
        yield lambda done: bar.update(round(done) - bar.n) and None
