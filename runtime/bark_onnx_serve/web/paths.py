"""The path of a request below the root path."""

from starlette.types import Scope


def path_of(scope: Scope) -> str:
    """Return the path as routes have it, whether or not the reverse proxy has removed the root path."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path.removeprefix(root) if path.startswith(f"{root}/") else path
