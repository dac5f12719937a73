"""What the Hugging Face hub of these tests answers when a model is uploaded.

A client creates a repository, asks which files go to LFS, sends these to the store, and then makes one commit that has
the small files in it and names the others.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from hub_repository import Files, Repository, git_hash

Answer = tuple[int, dict[str, Any]]


@dataclass(frozen=True)
class Uploads:
    """The state that uploads read and change.

    Attributes:
        members, strangers: the tokens of users who may write, and who may not.
        stored: the content of files in LFS, by their sha256.
        url, store_url: of the hub and of the store, which must not be sent a token.
    """

    repositories: dict[str, Repository]
    members: set[str]
    strangers: set[str]
    stored: dict[str, bytes]
    url: str
    store_url: str

    def answer(self, method: str, path: str, body: bytes, token: str) -> Answer:
        """The status and the JSON document of an answer."""
        if method == "PUT" and (match := re.fullmatch(r"/upload/([0-9a-f]{64})", path)):
            return self._store(match[1], body, token)
        if token not in self.members:
            known = token in self.strangers
            return (403, {"error": "no write access"}) if known else (401, {"error": "Invalid credentials"})
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path == "/api/repos/create":
            return self._create(**json.loads(body))
        match = re.fullmatch(r"/(?:api/models/)?([^/]+/[^/]+?)(?:\.git)?/(branch|preupload|commit|info)/(.+)", path)
        if match is None or match[1] not in self.repositories:
            return 404, {"code": "RepoNotFound", "error": "Repository not found"}
        repository, revision = self.repositories[match[1]], match[3]
        if match[2] == "branch":
            repository.revisions[revision] = repository.files(json.loads(body)["startingPoint"])
            return 200, {}
        if match[2] == "info":
            asked = json.loads(body)
            return self._batch(repository, asked) if revision == "lfs/objects/batch" else self._verify(asked)
        if revision not in repository.revisions:
            return 404, {"code": "RevisionNotFound", "error": "Invalid rev id"}
        if match[2] == "preupload":
            return self._choose(repository, revision, json.loads(body)["files"])
        return self._commit(repository, revision, [json.loads(line) for line in body.splitlines()])

    def _create(self, name: str, organization: str, visibility: str = "", private: bool = False, **_: Any) -> Answer:
        """Old clients say `private`, new ones say `visibility`."""
        full = f"{organization}/{name}"
        if full in self.repositories:
            return 409, {"error": "You already created this model repo"}
        begun = {".gitattributes": b"*.onnx filter=lfs diff=lfs merge=lfs -text\n"}
        self.repositories[full] = Repository(full, {"main": begun}, private=private or visibility == "private")
        return 200, {"url": f"{self.url}/{full}", "name": full}

    def _choose(self, repository: Repository, revision: str, files: list[dict[str, Any]]) -> Answer:
        there = repository.revisions[revision]
        return 200, {
            "files": [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["size"] >= repository.large else "regular",
                    "shouldIgnore": file["path"] in repository.ignored,
                    "oid": self._oid(repository, there[file["path"]]) if file["path"] in there else None,
                }
                for file in files
            ]
        }

    def _oid(self, repository: Repository, content: bytes) -> str:
        return hashlib.sha256(content).hexdigest() if len(content) >= repository.large else git_hash(content)

    def _batch(self, repository: Repository, asked: dict[str, Any]) -> Answer:
        objects = [{"oid": file["oid"], "size": file["size"]} for file in asked["objects"]]
        verify = {"href": f"{self.url}/{repository.name}.git/info/lfs/verify"}
        for file in objects:
            if file["oid"] not in self.stored:
                file["actions"] = {"upload": {"href": f"{self.store_url}/upload/{file['oid']}"}, "verify": verify}
        return 200, {"transfer": "basic", "objects": objects}

    def _store(self, digest: str, content: bytes, token: str) -> Answer:
        if token or hashlib.sha256(content).hexdigest() != digest:
            return 400, {"error": "a token was sent to the store, or other content than was announced"}
        self.stored[digest] = content
        return 200, {}

    def _verify(self, file: dict[str, Any]) -> Answer:
        there = len(self.stored.get(file["oid"], b"")) == file["size"]
        return (200, {}) if there else (404, {"error": "not uploaded"})

    def _commit(self, repository: Repository, revision: str, lines: list[dict[str, Any]]) -> Answer:
        (header, *changes), files = lines, dict(repository.revisions[revision])
        if header["value"].get("parentCommit") not in (None, repository.commit(revision)):
            return 412, {"error": "A commit has happened since"}
        for change in changes:
            self._apply(change["key"], change["value"], files)
        commit = repository.change(revision, files)
        url = f"{self.url}/{repository.name}/commit/{commit}"
        return 200, {"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""}

    def _apply(self, key: str, value: dict[str, Any], files: Files) -> None:
        path = value["path"]
        if key == "deletedFile":
            del files[path]
        elif key == "lfsFile":
            files[path] = self.stored[value["oid"]]
        else:
            files[path] = base64.b64decode(value["content"])
