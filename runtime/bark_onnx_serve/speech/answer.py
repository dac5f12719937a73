"""The answer to a request for speech: from the engine through the encoder to the client, piece by piece.

A piece is taken from the engine only when the client has read what was made before, except for 64 KiB. What the engine
makes meanwhile is bounded: the rest of an utterance, and two passages of a longer text.
"""

import asyncio
import logging
from collections.abc import Iterable
from functools import partial
from time import perf_counter

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bark_onnx.audio.formats import FORMATS

from ..failures import diagnose
from ..metrics import Metrics
from ..service import Service, Speaking
from ..web.disconnects import while_connected
from ..web.errors import from_diagnosis
from ..web.requests import Record
from .bodies import AudioStream, Body, CompleteFile, EventStream
from .encoding import Encoding
from .request import SpeechRequest
from .subtitles import Event, Subtitles

log = logging.getLogger(__name__)


class SpeechAnswer(Response):
    """An ASGI application for one request."""

    def __init__(self, request: SpeechRequest, service: Service, metrics: Metrics, record: Record) -> None:
        self.background = None  # FastAPI looks for it
        self._request = request
        self._service = service
        self._metrics = metrics
        self._record = record
        self._waited = 0.0  # seconds for audio
        self._body: Body | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._record.fields |= {"characters": len(self._request.input), "format": self._request.response_format}
        with self._metrics.in_progress.track_inprogress():
            if not await while_connected(receive, self._speak(send)):
                self._record.outcome = "cancelled"

    async def _speak(self, send: Send) -> None:
        """Answer. Raises ApiError if nothing has been sent yet, so that the error can be the answer."""
        seconds = self._service.settings.request_seconds
        try:
            async with asyncio.timeout(seconds - self._record.seconds):
                await self._send_speech(send)
        except Exception as error:
            diagnosis = diagnose(error, seconds)
            told = from_diagnosis(diagnosis)
            self._record.outcome = diagnosis.outcome
            if told.status >= 500:
                log.error("%s", told, exc_info=diagnosis.is_fault, extra={"fields": {"id": self._record.id}})
            if self._body is None or not self._body.started:
                raise told from None
            await self._body.fail(told)

    async def _send_speech(self, send: Send) -> None:
        with await self._service.begin(self._request.words()) as speaking:
            speed = self._request.speed
            encoding = Encoding(self._request.response_format, self._service.bark.sample_rate, speed)
            subtitles = Subtitles(speaking, speed, self._request.subtitles)
            body = self._body = self._opened(send, speaking)
            try:
                asked = perf_counter()
                async for chunk in speaking:
                    self._waited += perf_counter() - asked
                    if content := await encoding.push(chunk.waveform):
                        if self._request.stream and not body.started:
                            self._metrics.first_audio.observe(self._record.seconds)
                            self._record.fields["first_audio"] = round(self._record.seconds, 3)
                        await body.write(content)
                        await _send_events(body, subtitles.news())
                    asked = perf_counter()
                if content := await encoding.finish():
                    await body.write(content)
                await _send_events(body, [*subtitles.news(), *subtitles.document()])
                corrections = encoding.corrections
            finally:
                encoding.close()
                self._record.fields["audio_seconds"] = round(speaking.seconds / speed, 2)
            if speaking.seconds:
                self._metrics.real_time_factor.observe(self._waited * speed / speaking.seconds)
            # Last, since the client may go when it has everything.
            await body.finish(corrections, partial(self._usage, speaking))

    def _opened(self, send: Send, speaking: Speaking) -> Body:
        request = self._request
        headers = {"x-bark-onnx-seed": str(speaking.seed)}
        if request.instructions:
            headers["x-bark-onnx-ignored"] = "instructions"
        media_type = FORMATS[request.response_format].media_type
        if request.stream_format == "sse":
            return EventStream(send, headers)
        return AudioStream(send, headers, media_type) if request.stream else CompleteFile(send, headers, media_type)

    async def _usage(self, speaking: Speaking) -> tuple[int, int]:
        """Text tokens, and frames of audio codes. Counted in a thread: a long text takes a tenth of a second."""
        vocabulary = self._service.bark.vocabulary
        frames = round(speaking.samples * vocabulary.coarse_rate / vocabulary.sample_rate)
        return await asyncio.to_thread(self._service.count_tokens, self._request.input), frames


async def _send_events(body: Body, events: Iterable[Event]) -> None:
    """Send events beside the audio. Only a stream of events has any: the request was checked."""
    if isinstance(body, EventStream):
        for event in events:
            await body.event(event)
