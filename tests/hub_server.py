"""A Hugging Face hub on this machine: a real HTTP server, to test the real `huggingface_hub` without a network.

It answers the requests of that package when it looks up and downloads a model: the model's description, its file tree,
and `resolve` with ETags and commits. Large files are redirected to a store of another origin, as on the hub. What it
answers to uploads is in `hub_uploads.py`.

    with HubServer() as hub:
        hub.add("suno/bark-small", read_tree(directory))
        subprocess.run([...], env=hub.environment(home))

A repository can be gated or private, have branches and pull requests, and answer with errors.
"""

import hashlib
import json
import os
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from hub_repository import Files, Repository, git_hash
from hub_uploads import Uploads


@dataclass
class HubServer:
    """The server; it runs inside `with`.

    Attributes:
        members: the tokens of users who may read gated and private repositories.
        strangers: the tokens of users who may not.
        status: HTTP statuses to answer in place of files, by path in the repository; "" for every request that reads,
            "uploads" for files that are sent to the store.
        cut: for each request of a file in turn, the bytes to send before the connection is closed, by path.
        requests: all requests, in order, such as "GET /api/models/...".
        stored: the content of files that were uploaded to LFS, by their sha256.
    """

    members: set[str] = field(default_factory=lambda: {"hf_member"})
    strangers: set[str] = field(default_factory=lambda: {"hf_stranger"})
    status: dict[str, int] = field(default_factory=dict)
    cut: dict[str, list[int]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    repositories: dict[str, Repository] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)

    def add(self, name: str, files: Files, **attributes: Any) -> Repository:
        """Publish files as the `main` branch of a model."""
        self.repositories[name] = Repository(name, {"main": files}, **attributes)
        return self.repositories[name]

    @property
    def uploads(self) -> Uploads:
        """What answers to uploads: members may write to every model."""
        return Uploads(self.repositories, self.members, self.strangers, self.stored, self.url, self.store_url)

    def __enter__(self) -> "HubServer":
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def store_url(self) -> str:
        """The same server by another name. For a client this is another origin, to which it must not send its token."""
        return f"http://localhost:{self.port}"

    def environment(self, home: Path, **variables: str) -> dict[str, str]:
        """The environment variables of a client of this hub, with its cache and its settings in `home`."""
        kept = {key: value for key, value in os.environ.items() if not re.match(r"HF_|HUGGING|TRANSFORMERS_", key)}
        own = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "NO_PROXY": "*", "no_proxy": "*"}
        return kept | own | {"HF_HUB_DISABLE_TELEMETRY": "1"} | variables

    def downloaded(self) -> list[str]:
        """The paths, in their repositories, of the files whose content was sent, sorted."""
        found = (re.fullmatch(r"GET /[^/]+/[^/]+/resolve/[^/]+/(.+)", request) for request in self.requests)
        stored = (re.fullmatch(r"GET /store/[0-9a-f]+/(.+)", request) for request in self.requests)
        return sorted(match[1] for match in (*found, *stored) if match)


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def do_POST(self) -> None:
        self._upload()

    def do_PUT(self) -> None:
        self._upload()

    def _upload(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self._body()
        self.hub.requests.append(f"{self.command} {path}")
        status, answer = self.hub.status.get("uploads", 0), {}
        if not (status and self.command == "PUT"):
            status, answer = self.hub.uploads.answer(self.command, path, body, self._token)
        if status >= 400:
            self._error(status, answer.get("code", ""), answer.get("error", ""))
        else:
            self._send(status, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        self.hub.requests.append(f"{self.command} {path}")
        if status := self.hub.status.get(""):
            self._error(status, "")
        elif match := re.fullmatch(r"/store/([0-9a-f]{64})/(.+)", path):
            self._store(match[1], match[2])
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/(.+))?", path):
            self._describe(match[1], match[2] or "revision", match[3] or "main", "blobs" in parse_qs(url.query))
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/(refs/(?:pr|heads)/[^/]+|[^/]+)/(.+)", path):
            self._resolve(match[1], match[2], match[3])
        else:
            self._error(404, "EntryNotFound")

    @property
    def _token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _repository(self, name: str) -> Repository | None:
        """The repository; None if an error was sent. As on the hub, a private one gives the same error as none."""
        repository = self.hub.repositories.get(name)
        if self._token and self._token not in self.hub.members | self.hub.strangers:
            self._error(401, "", "Invalid credentials in Authorization header")
        elif repository is None or (repository.private and self._token not in self.hub.members):
            self._error(404 if self._token else 401, "RepoNotFound", "Repository not found")
        else:
            return repository
        return None

    def _describe(self, name: str, what: str, revision: str, sizes: bool) -> None:
        if (repository := self._repository(name)) is None:
            return
        commit = repository.commit(revision)
        if commit is None:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        files = sorted(repository.files(commit).items())
        if what == "tree":
            self._json([self._entry(repository, path, content) for path, content in files])
            return
        siblings = [
            self._sibling(repository, path, content) if sizes else {"rfilename": path} for path, content in files
        ]
        self._json(
            {"id": name, "modelId": name, "sha": commit, "siblings": siblings, "tags": [], "downloads": 0, "likes": 0}
            | {"private": repository.private, "gated": "auto" if repository.gated else False}
            | ({"cardData": repository.card} if repository.card else {})
        )

    def _sibling(self, repository: Repository, path: str, content: bytes) -> dict[str, Any]:
        described: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": git_hash(content)}
        if len(content) >= repository.large:
            digest = hashlib.sha256(content).hexdigest()
            described["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
        return described

    def _entry(self, repository: Repository, path: str, content: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_hash(content)}
        if len(content) >= repository.large:
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        return entry

    def _resolve(self, name: str, revision: str, path: str) -> None:
        if (repository := self._repository(name)) is None:
            return
        commit = repository.commit(revision)
        if commit is None:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        content = repository.files(commit).get(path)
        if repository.gated and self._token not in self.hub.members:
            self._error(403 if self._token else 401, "GatedRepo", f"Access to model {name} is restricted")
        elif content is None:
            self._error(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
        elif status := self.hub.status.get(path):
            self._error(status, "")
        elif len(content) >= repository.large:
            digest = hashlib.sha256(content).hexdigest()
            headers = {
                "Location": f"{self.hub.store_url}/store/{digest}/{quote(path)}",
                "X-Repo-Commit": commit,
                "X-Linked-Size": str(len(content)),
                "X-Linked-ETag": f'"{digest}"',
            }
            self._send(302, b"", headers)
        else:
            self._file(path, content, {"X-Repo-Commit": commit, "ETag": f'"{git_hash(content)}"'})

    def _store(self, digest: str, path: str) -> None:
        """Send a file of LFS to anyone who has its address. A client must not send its token here."""
        if self._token:
            self._error(400, "", "a token was sent to the store")
            return
        everything = (
            content for repository in self.hub.repositories.values() for files in repository.revisions.values()
            for content in files.values()
        )  # fmt: skip
        content = next((content for content in everything if hashlib.sha256(content).hexdigest() == digest), None)
        if content is None:
            self._error(404, "EntryNotFound")
        else:
            self._file(path, content, {"ETag": f'"{digest}"'})

    def _file(self, path: str, content: bytes, headers: dict[str, str]) -> None:
        headers = headers | {"Accept-Ranges": "bytes"}
        status = 200
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(match[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content, status = content[start:], 206
        cuts = self.hub.cut.get(path) if self.command == "GET" else None
        self._send(status, content, headers, cuts.pop(0) if cuts else None)

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str, message: str = "", headers: dict[str, str] | None = None) -> None:
        body = json.dumps({"error": message}).encode()
        own = {"X-Error-Code": code, "X-Error-Message": message, "Content-Type": "application/json"}
        self._send(status, body, {key: value for key, value in own.items() if value} | (headers or {}))

    def _send(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])
        if cut is not None and cut < len(body):
            self.close_connection = True


def read_tree(directory: Path) -> Files:
    """The files below a directory by their relative paths, to be published."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}
