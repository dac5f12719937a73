"""What the load generator itself costs, and whether it was late: it shares the processor with the server."""

import asyncio
import time
from contextlib import suppress
from time import perf_counter
from types import TracebackType
from typing import Self

import numpy as np

PROBE_SECONDS = 0.02
MOST_LAG = 0.01  # seconds; times are wrong by as much


class Watch:
    """Measures the own processor time and the lag of the event loop, in an `async with` block.

    Args:
        cpu: share of one core.
        lag: how late timers are, in seconds: 99 % of them are less late.
        longest_lag: the most.
    """

    def __init__(self) -> None:
        self._late: list[float] = []
        self.cpu = self.lag = self.longest_lag = 0.0

    async def __aenter__(self) -> Self:
        self._began, self._used = perf_counter(), time.process_time()
        self._probe = asyncio.create_task(self._measure_lag())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._probe.cancel()
        with suppress(asyncio.CancelledError):
            await self._probe
        self.cpu = (time.process_time() - self._used) / max(perf_counter() - self._began, 1e-9)
        if self._late:
            self.lag, self.longest_lag = float(np.percentile(self._late, 99)), max(self._late)

    async def _measure_lag(self) -> None:
        while True:
            due = perf_counter() + PROBE_SECONDS
            await asyncio.sleep(PROBE_SECONDS)
            self._late.append(perf_counter() - due)
