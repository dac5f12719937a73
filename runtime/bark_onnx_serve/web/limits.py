"""Refuse bodies that are too long."""

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import ApiError
from .paths import path_of


class LimitBody:
    """Refuses a body that is too long, by its header, or else as soon as too many bytes have come.

    Args:
        most: bytes of a body.
        of_path: bytes of the bodies for some paths, instead of `most`.
    """

    def __init__(self, app: ASGIApp, most: int, of_path: Mapping[str, int]) -> None:
        self._app = app
        self._most = most
        self._of_path = of_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = self._of_path.get(path_of(scope), self._most)
        message = f"the request is too long: at most {most} bytes"
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdigit() and int(declared[:20]) > most:
            # uvicorn reads the rest and discards it. Most clients send the whole body before they read the answer, and
            # would get a broken pipe instead of it if the connection were closed.
            await ApiError(413, message, "request_too_large")(scope, receive, send)
            return
        came = 0

        async def counted() -> Message:
            nonlocal came
            part = await receive()
            came += len(part.get("body", b""))
            if came > most:
                raise HTTPException(413, message)
            return part

        await self._app(scope, counted, send)
