"""The routes of the page. Its files are read once, at the start; a request only chooses among them."""

import hashlib
from importlib.resources import files

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

# The page loads only its own files, talks only to its own server, and puts no text into the document as HTML.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
}


def page_routes() -> APIRouter:
    """The route / and the files that its page loads, below /page/."""
    router = APIRouter(include_in_schema=False)
    answers = {name: _File(name, content) for name, content in read_files().items()}
    index = answers.pop("index.html")

    @router.api_route("/", methods=["GET", "HEAD"])
    async def page(request: Request) -> Response:
        return index.answer(request)

    @router.api_route("/page/{name}", methods=["GET", "HEAD"])
    async def file(name: str, request: Request) -> Response:
        if name not in answers:
            raise HTTPException(404)
        return answers[name].answer(request)

    return router


def read_files() -> dict[str, bytes]:
    """The files of the page by name."""
    return {
        entry.name: entry.read_bytes()
        for entry in files(__package__).iterdir()
        if any(entry.name.endswith(suffix) for suffix in MEDIA_TYPES)
    }


class _File:
    """A file, with a tag by which a browser knows whether it has the same one already."""

    def __init__(self, name: str, content: bytes) -> None:
        self._content = content
        self._tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        self._headers = {
            "Content-Type": MEDIA_TYPES[name[name.rindex(".") :]],
            "Cache-Control": "no-cache",  # ask each time: the files change with the version of the server
            "ETag": self._tag,
            **SECURITY_HEADERS,
        }

    def answer(self, request: Request) -> Response:
        if request.headers.get("if-none-match") == self._tag:
            return Response(status_code=304, headers=self._headers)
        return Response(self._content, headers=self._headers)
