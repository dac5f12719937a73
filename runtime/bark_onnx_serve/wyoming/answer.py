"""The answer to a request for speech: audio-start, audio-chunk ..., audio-stop, and for a stream synthesize-stopped."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import perf_counter

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event
from wyoming.tts import SynthesizeStopped

from bark_onnx import GenerationOptions
from bark_onnx.audio.samples import pcm

from ..metrics import Metrics
from ..service import Service, Speaking, Words
from .failures import failure_of
from .request import SpeechRequest, check_length

log = logging.getLogger(__name__)

Send = Callable[[Event], Awaitable[None]]


class Answer:
    """One answer.

    Args:
        send: returns when the client has room for more, so that a piece is taken from the engine only then.
    """

    def __init__(self, request: SpeechRequest, service: Service, metrics: Metrics, send: Send) -> None:
        self._request = request
        self._record = request.record
        self._service = service
        self._metrics = metrics
        self._send = send
        self._streams = not isinstance(request.text, str)
        self._waited = 0.0  # seconds for audio
        self._seconds = 0.0  # of audio that has been made

    async def give(self) -> None:
        """Speak. Raises Failure, and ConnectionError if the client has gone."""
        record, seconds = self._record, self._service.settings.request_seconds
        try:
            with self._metrics.in_progress.track_inprogress():
                async with asyncio.timeout(seconds - record.seconds):
                    await self._send_speech()
        except (asyncio.CancelledError, ConnectionError):
            record.outcome = record.outcome or "cancelled"
            raise
        except Exception as error:
            failure = failure_of(error, seconds)
            record.outcome = failure.outcome
            if failure.outcome in ("failed", "late"):
                log.error("%s", failure, exc_info=failure.is_fault, extra={"fields": {"id": record.id}})
            raise failure from None
        finally:
            self._finish()

    def drop(self) -> None:
        """Count a request that is not answered, since its connection has ended."""
        self._record.outcome = self._record.outcome or "cancelled"
        self._finish()

    async def _send_speech(self) -> None:
        request, service = self._request, self._service
        check_length(request.characters, service.settings.max_characters)
        words = Words(request.text, request.voice_name(service.voices), GenerationOptions())
        with await service.begin(words) as speaking:
            await self._send_audio(speaking)
        if self._seconds and not self._streams:
            self._metrics.real_time_factor.observe(self._waited / self._seconds)
        self._record.outcome = "completed"  # the client may go when it has the last event
        await self._send(AudioStop(timestamp=_milliseconds(self._seconds)).event())
        if self._streams:
            await self._send(SynthesizeStopped().event())

    async def _send_audio(self, speaking: Speaking) -> None:
        rate = self._service.bark.sample_rate
        asked = perf_counter()
        async for chunk in speaking:
            self._waited += perf_counter() - asked
            if not self._seconds:
                await self._begin(rate)
            self._seconds = speaking.seconds
            start = _milliseconds(chunk.start)
            event = AudioChunk(rate=rate, width=2, channels=1, audio=pcm(chunk.waveform), timestamp=start).event()
            await self._send(event)
            asked = perf_counter()

    async def _begin(self, rate: int) -> None:
        self._record.fields["first_audio"] = round(self._record.seconds, 3)
        if not self._streams:  # for a stream, this would be mostly the time in which its text came
            self._metrics.first_audio.observe(self._record.seconds)
        await self._send(AudioStart(rate=rate, width=2, channels=1, timestamp=0).event())

    def _finish(self) -> None:
        record, outcome = self._record, self._record.outcome or "failed"
        self._metrics.requests.labels(outcome).inc()
        fields = {
            "id": record.id,
            "protocol": "wyoming",
            "seconds": round(record.seconds, 3),
            "characters": self._request.characters,
            "streamed_text": self._streams,
            **record.fields,
            "audio_seconds": round(self._seconds, 2),
            "outcome": outcome,
        }
        log.info("request", extra={"fields": fields})


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
