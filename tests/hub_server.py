"""A Hub on the loopback address, in memory: as much of the protocol as pushing and pulling models takes."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse


@dataclass
class Repository:
    """Commits, each a mapping of paths to contents; the last one is main."""

    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=lambda: [(sha(b"empty"), {})])

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main":
            return self.commits[-1]
        return next((commit for commit in self.commits if commit[0] == revision), None)


class LoopbackHub:
    """The server, in a thread of its own.

    `break_after_bytes`: the connection of an upload is cut once so many bytes of large files have arrived.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.large_files: dict[str, bytes] = {}
        self.break_after_bytes: int | None = None
        self.requests: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> LoopbackHub:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        return Handler


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = self._parts()
        if parts[:2] == ["api", "whoami-v2"]:
            return self._json({"type": "user", "name": "tester", "orgs": [], "auth": {"accessToken": {}}})
        if parts[:2] == ["api", "models"]:
            return self._info(parts[2:])
        if "resolve" in parts:
            return self._file(parts)
        return self._missing("RepoNotFound")

    do_HEAD = do_GET  # noqa: N815  (the name that http.server looks for)

    def do_POST(self) -> None:
        parts, body = self._parts(), self._body()
        if parts == ["api", "repos", "create"]:
            name = json.loads(body)
            repo_id = f"{name.get('organization') or 'tester'}/{name['name']}"
            self.hub.repositories.setdefault(repo_id, Repository())
            return self._json({"url": f"{self.hub.url}/{repo_id}", "name": repo_id, "id": "1"})
        if parts == ["api", "validate-yaml"]:
            return self._json({"errors": [], "warnings": []})
        if parts[-2:-1] == ["preupload"]:
            files = [{**file, "uploadMode": self._mode(file["path"])} for file in json.loads(body)["files"]]
            return self._json({"files": [{**file, "shouldIgnore": False, "oid": None} for file in files]})
        if parts[-2:-1] == ["commit"]:
            return self._commit("/".join(parts[2:4]), body)
        if parts[-1] == "batch":
            return self._batch(json.loads(body))
        return self._missing("EntryNotFound")

    def do_PUT(self) -> None:
        oid = self._parts()[-1]
        length, limit = int(self.headers["Content-Length"]), self.hub.break_after_bytes
        if limit is not None and length > limit:
            self.rfile.read(limit)
            self.close_connection = True
            self.connection.close()
            return
        self.hub.large_files[oid] = self.rfile.read(length)
        self._json({})

    def _mode(self, path: str) -> str:
        return "lfs" if path.endswith((".safetensors", ".png")) else "regular"

    def _batch(self, request: dict[str, Any]) -> None:
        objects = []
        for wanted in request["objects"]:
            actions = {"upload": {"href": f"{self.hub.url}/lfs/{wanted['oid']}", "header": {}}}
            known = wanted["oid"] in self.hub.large_files
            objects.append({**wanted, **({} if known else {"actions": actions})})
        self._json({"transfer": "basic", "objects": objects}, kind="application/vnd.git-lfs+json")

    def _commit(self, repo_id: str, body: bytes) -> None:
        repository = self.hub.repositories[repo_id]
        files = dict(repository.commits[-1][1])
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.large_files[value["oid"]]
            elif entry["key"] == "deletedFile":
                files.pop(value["path"], None)
        identity = sha(body + repository.commits[-1][0].encode())
        repository.commits.append((identity, files))
        self._json({"commitUrl": f"{self.hub.url}/{repo_id}/commit/{identity}", "commitOid": identity})

    def _info(self, parts: list[str]) -> None:
        repository = self.hub.repositories.get("/".join(parts[:2]))
        commit = repository.at(parts[3] if len(parts) > 3 else "main") if repository else None
        if commit is None:
            return self._missing("RepoNotFound" if repository is None else "RevisionNotFound")
        identity, files = commit
        if "tree" in parts:
            return self._json(
                [{"type": "file", "path": path, "size": len(c), "oid": sha(c)} for path, c in files.items()]
            )
        siblings = [{"rfilename": path} for path in files]
        return self._json(
            {"id": "/".join(parts[:2]), "sha": identity, "siblings": siblings, "private": False, "tags": []}
        )

    def _file(self, parts: list[str]) -> None:
        place = parts.index("resolve")
        repository = self.hub.repositories.get("/".join(parts[:place]))
        commit = repository.at(parts[place + 1]) if repository else None
        if commit is None:
            return self._missing("RepoNotFound" if repository is None else "RevisionNotFound")
        content = commit[1].get("/".join(parts[place + 2 :]))
        if content is None:
            return self._missing("EntryNotFound", {"X-Repo-Commit": commit[0]})
        etag = hashlib.sha256(content).hexdigest()
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit[0], "Accept-Ranges": "bytes"}
        self._send(200, content, "application/octet-stream", headers)

    def _parts(self) -> list[str]:
        self.hub.requests.append(f"{self.command} {self.path}")
        return [unquote(part) for part in urlparse(self.path).path.split("/") if part]

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _json(self, values: Any, kind: str = "application/json") -> None:
        self._send(200, json.dumps(values).encode(), kind, {})

    def _missing(self, code: str, headers: dict[str, str] | None = None) -> None:
        self._send(
            404, json.dumps({"error": code}).encode(), "application/json", {"X-Error-Code": code, **(headers or {})}
        )

    def _send(self, status: int, content: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def sha(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
