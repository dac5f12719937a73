"""The path of a request below the root path, which is the path where a reverse proxy shows the server."""

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class BelowRoot:
    """Accepts paths with the root path and without it: some proxies remove it, others do not.

    Args:
        root_path: without one, the root path is what the server that calls us says: Ray Serve's route prefix, if any.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root_path: str = self._root_path or scope.get("root_path", "")
        if scope["type"] == "http" and root_path and scope["path"] == root_path:
            # The addresses in the page are relative, so the page needs the slash at the end.
            await RedirectResponse(f"{root_path}/")(scope, receive, send)
            return
        await self._app({**scope, "root_path": root_path}, receive, send)


def path_of(scope: Scope) -> str:
    """Return the path as routes have it."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path.removeprefix(root) if path.startswith(f"{root}/") else path
