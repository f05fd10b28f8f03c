"""A server on this machine that speaks what an upload asks of the Hugging Face hub: repositories, LFS, commits."""

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import yaml

LARGE = (".safetensors", ".parquet", ".gguf")
TOKEN = "hf_" + "a" * 34


@dataclass
class Repository:
    """A repository: the commits of each branch, oldest first, each with the content of every file."""

    private: bool
    branches: dict[str, list[tuple[str, dict[str, bytes]]]] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, bytes]:
        return self.branches["main"][-1][1]


class Hub:
    """The server, and what it has been asked and given."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.puts_left: int | None = None
        """After so many files it breaks off every further one; None: it breaks off none."""
        self.refused: dict[str, int] = {}
        """The status that is given to paths that end so."""
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def add(self, name: str, files: dict[str, bytes], private: bool = False) -> None:
        """A repository that is there already, as `models/owner/name`."""
        first = (hashlib.sha1(name.encode()).hexdigest(), {".gitattributes": b"", **files})
        self.repositories[name] = Repository(private, {"main": [first]})

    def asked(self, method: str, end: str = "") -> int:
        return sum(own == method and path.endswith(end) for own, path in self.requests)

    def _handler(hub: "Hub") -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                hub._answer(self, "GET", b"")

            def do_POST(self) -> None:
                hub._answer(self, "POST", _body(self))

            def do_PUT(self) -> None:
                if hub.puts_left == 0:
                    hub.requests.append(("BROKEN", self.path))
                    self.close_connection = True
                    self.rfile.read(10)
                    self.connection.close()
                    return
                hub.puts_left = hub.puts_left and hub.puts_left - 1
                hub._answer(self, "PUT", _body(self))

        return Handler

    def _answer(self, to: BaseHTTPRequestHandler, method: str, body: bytes) -> None:
        path = to.path.partition("?")[0]
        self.requests.append((method, path))
        status, content = 401, {"error": "Invalid username or password."}
        if method == "PUT":  # storage, whose address is the right to write
            self.objects[path.rpartition("/")[2]] = body
            status, content = (200, {}) if hashlib.sha256(body).hexdigest() == path.rpartition("/")[2] else (400, {})
        elif to.headers["Authorization"] == f"Bearer {TOKEN}":
            refused = [status for end, status in self.refused.items() if path.endswith(end)]
            status, content = (refused[0], {"error": "no"}) if refused else self._done(method, path, body)
        text = json.dumps(content).encode()
        to.send_response(status)
        to.send_header("Content-Type", "application/json")
        to.send_header("Content-Length", str(len(text)))
        to.end_headers()
        to.wfile.write(text)

    def _done(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if path == "/api/validate-yaml":
            return self._validated(json.loads(body)["content"])
        if path == "/api/repos/create":
            return self._created(json.loads(body))
        if path.endswith(".git/info/lfs/objects/batch"):
            return 200, {"transfer": "basic", "objects": [self._action(one) for one in json.loads(body)["objects"]]}
        if path == "/lfs/verify":
            return (200, {}) if json.loads(body)["oid"] in self.objects else (404, {})
        _, _, kinds, owner, name, *rest = path.split("/")
        repository = self.repositories.get(f"{kinds}/{owner}/{name}")
        if repository is None:
            return 404, {"error": "Repository not found"}
        if rest and rest[0] == "commit":
            place = f"{self.url}/{owner}/{name}" if kinds == "models" else f"{self.url}/{kinds}/{owner}/{name}"
            lines = [json.loads(line) for line in body.splitlines()]
            return self._committed(repository.branches[unquote(rest[1])], place, lines)
        return self._in(repository, f"{owner}/{name}", rest, body)

    def _in(self, repository: Repository, name: str, rest: list[str], body: bytes) -> tuple[int, Any]:
        what, branch = [unquote(part) for part in rest] or ["revision", "main"]
        if what == "branch":
            if branch in repository.branches:
                return 409, {"error": "Reference already exists"}
            repository.branches[branch] = [*repository.branches["main"]]
            return 200, {}
        oid, files = repository.branches[branch][-1]
        if what == "revision":
            siblings = [{"rfilename": path} for path in files]
            return 200, {"id": name, "sha": oid, "private": repository.private, "siblings": siblings}
        return 200, {"files": [_mode(one["path"], files) for one in json.loads(body)["files"]]}

    def _committed(self, branch: list[tuple[str, dict[str, bytes]]], place: str, lines: list[Any]) -> tuple[int, Any]:
        parent, before = branch[-1]
        if lines[0]["value"]["parentCommit"] != parent:
            return 412, {"error": "A commit has happened since."}
        files = dict(before)
        for key, value in [(line["key"], line["value"]) for line in lines[1:]]:
            match key:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.objects[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        oid = hashlib.sha1(f"{parent}{len(branch)}{sorted(files)}".encode()).hexdigest()
        branch.append((oid, files))
        return 200, {"success": True, "commitOid": oid, "commitUrl": f"{place}/commit/{oid}", "hookOutput": ""}

    def _created(self, asked: Any) -> tuple[int, Any]:
        name = f"{asked['type']}s/{asked['organization']}/{asked['name']}"
        if asked["organization"] == "another":
            return 403, {"error": "You don't have the rights to create one there"}
        if name in self.repositories:
            return 409, {"error": "You already created this repo", "url": f"{self.url}/{name}"}
        self.add(name, {}, asked.get("visibility") == "private")
        return 200, {"url": f"{self.url}/{name.removeprefix('models/')}"}

    def _action(self, one: Any) -> dict[str, Any]:
        places = {"upload": {"href": f"{self.url}/lfs/{one['oid']}"}, "verify": {"href": f"{self.url}/lfs/verify"}}
        return {**one, **({} if one["oid"] in self.objects else {"actions": places})}

    def _validated(self, card: str) -> tuple[int, Any]:
        header = yaml.safe_load(card.split("---\n")[1])
        wrong = [] if header.get("tags") else [{"message": '"tags" is required'}]
        return (400 if wrong else 200), {"errors": wrong, "warnings": []}


def _mode(path: str, files: dict[str, bytes]) -> dict[str, Any]:
    large, content = path.endswith(LARGE), files.get(path)
    oid = None
    if content is not None:
        git = hashlib.sha1(f"blob {len(content)}\0".encode() + content)
        oid = (hashlib.sha256(content) if large else git).hexdigest()
    return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}


def _body(request: BaseHTTPRequestHandler) -> bytes:
    if "chunked" not in request.headers.get("Transfer-Encoding", ""):
        return request.rfile.read(int(request.headers.get("Content-Length", 0)))
    found = b""
    while size := int(request.rfile.readline(), 16):
        found += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return found
