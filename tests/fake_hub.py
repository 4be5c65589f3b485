"""A small hub: model repositories over HTTP, as far as the real client's upload and download need.

Every file is a plain git blob; the hub's storage for large files is not spoken.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """A model repository with one branch."""

    private: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    @property
    def sha(self) -> str:
        """Names the present content."""
        state = repr(sorted(self.files.items())) + repr(len(self.messages))
        return hashlib.sha1(state.encode()).hexdigest()


@dataclass
class FakeHub:
    """The repositories by name, and what the server does wrong on purpose."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    loses: str = ""
    tokens: set[str] = field(default_factory=set)
    endpoint: str = ""


def _blob(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the tests' output is theirs."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = urlsplit(self.path).path
        self.hub.tokens.add(self.headers.get("Authorization", ""))
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        name, _, action = path.removeprefix("/api/models/").rpartition("/main")[0].rpartition("/")
        repository = self.hub.repositories[name]
        if action == "preupload":
            modes = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self._json({"files": modes})
        assert action == "commit", path
        for line in body.splitlines():
            step = json.loads(line)
            value = step["value"]
            if step["key"] == "header":
                repository.messages.append(value["summary"])
            elif step["key"] == "deletedFile":
                del repository.files[value["path"]]
            elif value["path"] != self.hub.loses:
                repository.files[value["path"]] = base64.b64decode(value["content"])
        self._json({"commitUrl": f"{self.hub.endpoint}/{name}/commit/1", "commitOid": repository.sha})

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/api/models/"):
            owner, model, *rest = path.removeprefix("/api/models/").split("/")
            repository = self.hub.repositories.get(f"{owner}/{model}")
            if repository is None:
                return self._json({"error": "not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            if rest[:1] == ["tree"]:
                return self._json(
                    [
                        {"type": "file", "path": name, "size": len(content), "oid": _blob(content)}
                        for name, content in repository.files.items()
                    ]
                )
            files = [
                {"rfilename": name, "size": len(content), "blobId": _blob(content)}
                for name, content in repository.files.items()
            ]
            facts = {"id": f"{owner}/{model}", "private": repository.private, "sha": repository.sha}
            return self._json(facts | {"siblings": files})
        owner, model, _, _, name = path.removeprefix("/").split("/", 4)
        repository = self.hub.repositories[f"{owner}/{model}"]
        content = repository.files[name]
        self._send(content, 200, {"ETag": f'"{_blob(content)}"', "X-Repo-Commit": repository.sha})

    do_HEAD = do_GET

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
        url = {"url": f"{self.hub.endpoint}/{name}"}
        if name in self.hub.repositories:
            return self._json(url | {"error": "You already created this model repo"}, 409)
        private = bool(wanted.get("private")) or wanted.get("visibility") == "private"
        self.hub.repositories[name] = Repository(private, {".gitattributes": b"*.bin filter=lfs\n"})
        return self._json(url)

    def _json(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(
            json.dumps(content).encode(), status, {"Content-Type": "application/json"} | (headers or {})
        )

    def _send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def running_hub() -> Iterator[FakeHub]:
    """A hub on a free port of this machine."""
    hub = FakeHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
