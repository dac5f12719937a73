"""The route of POST /v1/audio/speech."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ..metrics import Metrics
from ..service import Service
from ..web.errors import ErrorBody
from ..web.requests import record_of
from .answer import SpeechAnswer
from .request import SpeechRequest

_CONTENT: dict[str, Any] = {"audio/*": {"schema": {"type": "string", "format": "binary"}}, "text/event-stream": {}}


def speech_routes(service: Service, metrics: Metrics) -> APIRouter:
    """The routes that make speech."""
    router = APIRouter()

    @router.post(
        "/v1/audio/speech",
        summary="Speak a text",
        response_class=Response,
        responses={
            200: {"description": "Audio, or events with audio", "content": _CONTENT},
            "4XX": {"description": "The request is wrong, or the server is busy (429)", "model": ErrorBody},
            "5XX": {"description": "The server failed", "model": ErrorBody},
        },
    )
    async def speak(body: SpeechRequest, request: Request) -> Response:
        body.check(service.bark.bundle.manifest.model, service.settings.max_characters)
        return SpeechAnswer(body, service, metrics, record_of(request))

    return router
