"""Voices that requests add and delete: POST and DELETE /v1/audio/voices. Off, unless --allow-voice-upload is given.

A voice is the body itself, not a part of a form: then nothing has to be parsed before the size of the body is known.
"""

import asyncio
import logging
import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from bark_onnx import VoiceError

from .service import Service
from .voice_directory import NameTaken, NoRoom, NotKept, check_name
from .web.errors import ApiError, ErrorBody

log = logging.getLogger(__name__)

VOICES = "/v1/audio/voices"
_MEDIA_TYPE = "application/octet-stream"
_BODY = {
    "requestBody": {"required": True, "content": {_MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
}
_ERRORS: dict[int | str, dict[str, Any]] = {"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}}


def upload_routes(service: Service) -> APIRouter:
    """The routes that change voices."""
    router = APIRouter()
    if not service.settings.allow_voice_upload:

        @router.post(VOICES, include_in_schema=False)
        @router.delete(VOICES + "/{name:path}", include_in_schema=False)
        async def refuse() -> Response:
            message = "this server takes no voices: start it with --allow-voice-upload and --voices DIR"
            raise ApiError(403, message, "voice_upload_not_allowed")

        return router

    # Changes wait here for each other, and not in threads: these are few, and streams need them to encode audio.
    change = asyncio.Lock()

    @router.post(VOICES, summary="Add a voice: the body is an .npz file", responses=_ERRORS, openapi_extra=_BODY)
    async def add(
        request: Request,
        name: Annotated[str, Query(description="Up to 64 letters, digits, - and _.")],
        replace: Annotated[bool, Query(description="Whether it may replace a voice that was uploaded.")] = False,
    ) -> Response:
        # Only with this type must a browser ask before it sends what a page of another origin gives it.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _MEDIA_TYPE:
            message = f"send the .npz file as the body, with the header Content-Type: {_MEDIA_TYPE}"
            raise ApiError(400, message, "invalid_content_type")
        try:
            check_name(name)
        except VoiceError as error:
            raise ApiError(400, f"Invalid 'name': {error}", "invalid_value", "name") from None
        try:
            content = await request.body()
        except ClientDisconnect:
            raise ApiError(400, "the voice did not arrive completely", "incomplete_body") from None
        try:
            async with change:
                replaced = await asyncio.to_thread(service.voices.add, name, content, replace=replace)
        except VoiceError as error:
            raise _told(error) from None
        log.info("a voice was uploaded", extra={"fields": {"voice": name, "replaced": replaced}})
        voice = {"id": name, "object": "audio.voice", "created_at": int(time.time()), "name": name}
        return JSONResponse(voice, 200 if replaced else 201)

    @router.delete(VOICES + "/{name:path}", summary="Delete a voice that was uploaded", responses=_ERRORS)
    async def delete(name: str) -> Response:
        try:
            async with change:
                await asyncio.to_thread(service.voices.remove, name)
        except KeyError:
            raise ApiError(404, "no uploaded voice has this name", "voice_not_found", "name") from None
        except VoiceError as error:
            raise _told(error) from None
        log.info("a voice was deleted", extra={"fields": {"voice": name}})
        return JSONResponse({"id": name, "object": "audio.voice", "deleted": True})

    return router


def _told(error: VoiceError) -> ApiError:
    """What a client is told about a voice that cannot be added or deleted."""
    if isinstance(error, NameTaken):
        return ApiError(409, str(error), "voice_exists", "name")
    if isinstance(error, NoRoom):
        return ApiError(409, str(error), "too_many_voices")
    if isinstance(error, NotKept):
        return ApiError(500, str(error), "voice_not_kept")
    return ApiError(400, f"the file is no voice for this server: {error}", "invalid_voice")
