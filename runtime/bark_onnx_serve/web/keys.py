"""API keys: who may use the server."""

import hmac
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import ApiError
from .paths import path_of

# Open WebUI asks for the lists without a key, those who watch a server have none, and a browser cannot send one for a
# page.
OPEN_PATHS = frozenset({"/", "/health", "/ready", "/docs", "/openapi.json", "/v1/audio/voices", "/v1/audio/models"})
PAGE = "/page/"  # the files of the page at /


class RequireKey:
    """Refuses requests without one of the keys, except those of OPEN_PATHS and of the page with GET and HEAD."""

    def __init__(self, app: ASGIApp, keys: Sequence[str]) -> None:
        self._app = app
        self._keys = [key.encode() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_open(scope):
            await self._app(scope, receive, send)
            return
        kind, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not key:
            message = "You didn't provide an API key: send it in the header Authorization: Bearer KEY."
            await _refused(message, None)(scope, receive, send)
        elif self._is_known(key.strip()):
            await self._app(scope, receive, send)
        else:
            await _refused("Incorrect API key provided.", "invalid_api_key")(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        path = path_of(scope)
        reads = scope["method"] in ("GET", "HEAD")
        return not self._keys or (reads and (path in OPEN_PATHS or path.startswith(PAGE)))

    def _is_known(self, key: str) -> bool:
        """Compare with every key, so that the time says nothing about them."""
        given = key.encode()
        return sum(hmac.compare_digest(given, known) for known in self._keys) > 0


def _refused(message: str, code: str | None) -> ApiError:
    return ApiError(401, message, code, headers={"WWW-Authenticate": "Bearer"})
