"""The path of a request below the root path, which is the path where a reverse proxy shows the server."""

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class BelowRoot:
    """Accepts paths with the root path and without it: some proxies remove it, others do not."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._root_path and scope["path"] == self._root_path:
            # The addresses in the page are relative, so the page needs the slash at the end.
            await RedirectResponse(f"{self._root_path}/")(scope, receive, send)
            return
        await self._app({**scope, "root_path": self._root_path}, receive, send)


def path_of(scope: Scope) -> str:
    """Return the path as routes have it."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path.removeprefix(root) if path.startswith(f"{root}/") else path
