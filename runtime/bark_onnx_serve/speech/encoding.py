"""Encoding outside of the event loop."""

import asyncio
from collections.abc import Callable

from bark_onnx.arrays import Waveform
from bark_onnx.audio.encoder import StreamEncoder


class Encoding:
    """An encoder that works in a thread, since a second of MP3 takes milliseconds. Close it at the end.

    One call at a time. If the coroutine that waits for a call is cancelled, the call ends by itself, and the encoder is
    closed after that.
    """

    def __init__(self, audio_format: str, sample_rate: int, speed: float) -> None:
        self._arguments = (audio_format, sample_rate, None, speed)
        self._encoder: StreamEncoder | None = None
        self._running: asyncio.Future[bytes] | None = None

    async def push(self, waveform: Waveform) -> bytes:
        """Take the next samples [n], and return the bytes that are ready."""
        return await self._run(lambda encoder: encoder.push(waveform))

    async def finish(self) -> bytes:
        """Return the last bytes."""
        return await self._run(lambda encoder: encoder.finish())

    @property
    def corrections(self) -> list[tuple[int, bytes]]:
        """After `finish`: what a file has in place of bytes that were returned before, as (position, bytes)."""
        return [] if self._encoder is None else self._encoder.corrections

    async def _run(self, work: Callable[[StreamEncoder], bytes]) -> bytes:
        self._running = asyncio.ensure_future(asyncio.to_thread(lambda: work(self._opened())))
        return await asyncio.shield(self._running)

    def _opened(self) -> StreamEncoder:
        if self._encoder is None:
            self._encoder = StreamEncoder(*self._arguments)
        return self._encoder

    def close(self) -> None:
        """Free the encoder, when the call that runs has ended."""
        if self._running is None or self._running.done():
            self._close()
        else:
            self._running.add_done_callback(self._close)

    def _close(self, ended: "asyncio.Future[bytes] | None" = None) -> None:
        if ended is not None:
            ended.exception()  # nobody else will ask for it
        if self._encoder is not None:
            self._encoder.close()
