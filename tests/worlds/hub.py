"""A stand-in for the Hugging Face hub on loopback: models and datasets by its own protocol, faults included."""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass
class Repository:
    """One repository: its commits in order, each with all its files."""

    commits: list[Mapping[str, bytes]]
    fault: str = ""
    """gated, private (answered as one that is not there), busy, or broken (half of each file)."""

    def sha(self, number: int) -> str:
        """The name of a commit."""
        return hashlib.sha1(repr(sorted(self.commits[number].items())).encode()).hexdigest()

    def commit(self, revision: str) -> tuple[str, Mapping[str, bytes]] | None:
        """A commit by name or branch, with its files."""
        numbers = {self.sha(k): k for k in range(len(self.commits))} | {"main": len(self.commits) - 1}
        number = numbers.get(revision)
        return None if number is None else (self.sha(number), self.commits[number])


@dataclass
class Hub:
    """What the server has, and what it was asked for."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    """By `datasets/ORG/NAME` and `models/ORG/NAME`."""
    moved: dict[str, str] = field(default_factory=dict)
    """Repositories that have another name now."""
    read_only: bool = False
    """No token may write."""
    asked: Counter[str] = field(default_factory=Counter)
    """Methods with their paths."""


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub at `url`, which HF_ENDPOINT may name."""
    hub = Hub()

    class Handler(_Handler):
        shared = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    shared: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing: `asked` has it."""

    def do_HEAD(self) -> None:
        """As GET, without the body."""
        self.do_GET()

    def do_GET(self) -> None:
        """Repositories at api/KIND/ORG/NAME, files at [datasets/]ORG/NAME/resolve/REV/FILE, their content at cdn/..."""
        path = self.path.partition("?")[0].strip("/")
        self.shared.asked[f"{self.command} {path}"] += 1
        parts = path.split("/")
        if parts[0] == "cdn":
            self._file("/".join(parts[1:4]), parts[4], "/".join(parts[5:]))
        elif parts[0] == "api" and len(parts) >= 4:
            answer = self._tree if parts[4:5] == ["tree"] else self._info
            answer("/".join(parts[1:4]), parts[5] if len(parts) > 5 else "main")
        elif "resolve" in parts:
            kind = parts.pop(0) if parts[0] == "datasets" else "models"
            self._resolve(f"{kind}/{parts[0]}/{parts[1]}", parts[3], "/".join(parts[4:]))
        else:
            self._send(404)

    def do_POST(self) -> None:
        """Make a repository and take a commit from whoever shows a token; every file travels in the commit."""
        path, body = self.path.partition("?")[0].strip("/"), self.rfile.read(int(self.headers["Content-Length"]))
        self.shared.asked[f"POST {path}"] += 1
        parts = path.split("/")
        if path == "api/validate-yaml":
            self._json(200, {"errors": [], "warnings": []})
        elif not self.headers.get("Authorization") or self.shared.read_only:
            self._send(403 if self.shared.read_only else 401, {"X-Error-Message": "this token may not write"})
        elif path == "api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            there = f"models/{name}" in self.shared.repositories
            self.shared.repositories.setdefault(f"models/{name}", Repository([{}]))
            self._json(409 if there else 200, {"url": f"{self.shared.url}/{name}"})
        elif parts[4:5] == ["preupload"]:
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            self._json(200, {"files": [file | {"shouldIgnore": False} for file in files]})
        else:
            self._take("/".join(parts[1:4]), body)

    def _take(self, name: str, body: bytes) -> None:
        repository = self.shared.repositories[name]
        lines = [line["value"] for line in map(json.loads, body.splitlines()) if line["key"] == "file"]
        files = {line["path"]: base64.b64decode(line["content"]) for line in lines}
        repository.commits.append({**repository.commits[-1], **files})
        sha = repository.sha(len(repository.commits) - 1)
        self._json(200, {"commitUrl": f"{self.shared.url}/{name}/commit/{sha}", "commitOid": sha})

    def _json(self, status: int, body: Any) -> None:
        self._send(status, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def _commit(self, name: str, revision: str) -> tuple[str, Mapping[str, bytes]] | None:
        """The commit, unless its absence or the repository's fault was answered."""
        if name in self.shared.moved:
            self._send(307, {"Location": self.path.replace(name.partition("/")[2], self.shared.moved[name])})
            return None
        repository = self.shared.repositories.get(name)
        fault = "private" if repository is None else repository.fault
        if fault == "private":
            self._send(401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        elif fault == "gated":
            self._send(403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        elif fault == "busy":
            self._send(429, {"Retry-After": "0"})
        elif repository is not None and (commit := repository.commit(revision)):
            return commit
        else:
            self._send(404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})
        return None

    def _info(self, name: str, revision: str) -> None:
        if commit := self._commit(name, revision):
            siblings = [{"rfilename": file} for file in commit[1]]
            body = {"id": name.partition("/")[2], "sha": commit[0], "siblings": siblings}
            self._send(200, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def _tree(self, name: str, revision: str) -> None:
        if commit := self._commit(name, revision):
            files = [
                {"type": "file", "path": path, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
                for path, body in commit[1].items()
            ]
            self._send(200, {"Content-Type": "application/json"}, json.dumps(files).encode())

    def _resolve(self, name: str, revision: str, file: str) -> None:
        commit = self._commit(name, revision)
        if commit is None:
            return
        sha, files = commit
        if file not in files:
            self._send(404, {"X-Error-Code": "EntryNotFound", "X-Error-Message": "no entry", "X-Repo-Commit": sha})
            return
        tag = f'"{hashlib.sha256(files[file]).hexdigest()}"'
        linked = {"X-Linked-Etag": tag, "X-Linked-Size": str(len(files[file])), "X-Repo-Commit": sha}
        elsewhere = self.shared.url.replace("127.0.0.1", "localhost")  # as the hub's files lie on another host
        self._send(302, {"Location": f"{elsewhere}/cdn/{name}/{sha}/{file}", **linked})

    def _file(self, name: str, sha: str, file: str) -> None:
        repository = self.shared.repositories[name]
        commit = repository.commit(sha)
        assert commit is not None
        body = commit[1][file]
        whole = repository.fault != "broken"
        self._send(200, {"ETag": f'"{hashlib.sha256(body).hexdigest()}"'}, body, len(body) if whole else len(body) // 2)

    def _send(
        self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"", sent: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:sent])
            self.close_connection = self.close_connection or (sent is not None and sent < len(body))
