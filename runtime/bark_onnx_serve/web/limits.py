"""Refuse bodies that are too long, and read the rest of bodies that an answer does not wait for."""

import asyncio
import contextlib
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import ApiError
from .paths import path_of

# Most clients send the whole body before they read the answer. If the connection were closed meanwhile, they would get
# a broken pipe instead of the answer. So after the answer this much of the rest is read, for this long, and discarded.
DISCARDED = 16 << 20  # bytes
SECONDS = 5.0


class LimitBody:
    """Refuses a body that is too long, by its header, or else as soon as too many bytes have come.

    An answer that is sent before the whole body has come, such as one for a wrong key, ends after the body.

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
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "0")
        came = 0
        # A client that expects 100-continue sends no body before it is told to.
        more = (declared != "0" or "transfer-encoding" in headers) and "expect" not in headers

        async def answer(part: Message) -> None:
            """Send a part of the answer. Before the answer ends, read what the client still sends."""
            last = part["type"] == "http.response.body" and not part.get("more_body")
            if not (more and last):
                await send(part)
                return
            await send({**part, "more_body": True})
            await _discard(receive)
            await send({"type": "http.response.body"})

        if declared.isdigit() and int(declared[:20]) > most:
            # The connection cannot be used again.
            await ApiError(413, message, "request_too_large", headers={"Connection": "close"})(scope, receive, answer)
            return

        async def counted() -> Message:
            nonlocal came, more
            part = await receive()
            came += len(part.get("body", b""))
            more = part.get("more_body", False)
            if came > most:
                raise HTTPException(413, message, {"Connection": "close"})
            return part

        await self._app(scope, counted, answer)


async def _discard(receive: Receive) -> None:
    """Read the rest of a body, up to DISCARDED bytes and for up to SECONDS."""
    came = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            while came < DISCARDED:
                part = await receive()
                came += len(part.get("body", b""))
                if not part.get("more_body"):  # the end of the body or of the connection
                    return
