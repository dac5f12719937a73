"""Refuse bodies that are too long."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import ApiError


class LimitBody:
    """Refuses a body of more bytes than `most`, by its header, or else as soon as so many have come."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        message = f"the request is too long: at most {self._most} bytes"
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdigit() and int(declared[:20]) > self._most:
            # The rest of the body is not read, so the connection cannot be used again.
            await ApiError(413, message, "request_too_large", headers={"Connection": "close"})(scope, receive, send)
            return
        came = 0

        async def counted() -> Message:
            nonlocal came
            part = await receive()
            came += len(part.get("body", b""))
            if came > self._most:
                raise HTTPException(413, message, {"Connection": "close"})
            return part

        await self._app(scope, counted, send)
