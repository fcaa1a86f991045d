"""A Hugging Face Hub on a local socket: what the real client asks for models, answered as it was recorded."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from hub_api import JOB, ROUTES, Answer, Request, as_json
from hub_store import Blobs, Refusal, Repository

TOKEN = "hf_ThisTokenMustNeverBePrinted"


@dataclass
class Fault:
    """What goes wrong with the requests whose ``METHOD /path`` matches, ``times`` times."""

    pattern: str
    status: int = 0  # answered instead of the file
    cut: int = -1  # bytes after which the connection breaks
    content: bytes | None = None  # answered instead of the right one
    silent: bool = False  # no more is answered while the double lives: nothing, or what `cut` allows
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1_000_000


@dataclass
class Double:
    """The state of the Hub: its repositories, who may do what, what it was asked, and what goes wrong."""

    blobs: Blobs
    url: str = ""
    page: int = 1000  # entries of one page of a tree
    repositories: dict[str, Repository] = field(default_factory=dict)
    writers: set[str] = field(default_factory=lambda: {TOKEN})
    readers: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)  # "METHOD /path?query", with " bytes=..." for a range
    faults: list[Fault] = field(default_factory=list)
    trusted: set[str] = field(default_factory=set)  # what a job's identity gets a token for
    lock: threading.Lock = field(default_factory=threading.Lock)  # of every change: two commits, one wins
    stopped: threading.Event = field(default_factory=threading.Event)

    def publish(self, name: str, files: dict[str, bytes]) -> str:
        """Commit these files and nothing else to main, without the wire, and return the commit."""
        repository = self.repositories.setdefault(name, Repository(self.blobs))
        kept = {path: self.blobs.file(path, content) for path, content in files.items()}
        return repository.commit("main", "publish", kept)

    def fail(self, pattern: str, **how: object) -> None:
        self.faults.append(Fault(pattern, **how))

    def fault(self, request: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and re.search(fault.pattern, request):
                fault.times -= 1
                return fault
        return None

    def fetched(self) -> list[str]:
        """The names of the files whose content was asked for, in order."""
        matches = [re.match(r"GET /[^/]+/[^/]+/resolve/[^/]+/(\S+)", request) for request in self.asked]
        return [match[1] for match in matches if match]


def _answer(double: Double, request: Request) -> Answer:
    for method, pattern, function in ROUTES:
        match = pattern.fullmatch(request.path) if method == request.method else None
        if match:
            if request.token and request.token not in double.writers | double.readers | {JOB}:
                raise Refusal(401, "Invalid credentials in Authorization header")
            parts = {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
            with double.lock:
                content = function(double, request, **parts)
            return content if isinstance(content, Answer) else as_json(content)
    raise Refusal(404, "Sorry, we can't find the page you are looking for.")


def _refused(refusal: Refusal) -> Answer:
    headers = {"X-Error-Message": str(refusal), **({"X-Error-Code": refusal.code} if refusal.code else {})}
    return as_json({"error": str(refusal)}, refusal.status, headers)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    double: ClassVar[Double]

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        asked = f"{self.command} {self.path} {self.headers.get('Range', '')}".strip()
        self.double.asked.append(asked)
        body = self._body()
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        request = Request(self.command, parts.path, query, dict(self.headers.items()), body, token)
        fault = self.double.fault(asked)
        if fault is not None and fault.silent and fault.cut < 0:
            self.double.stopped.wait()
            self.close_connection = True
            return
        try:
            if fault is not None and fault.status:
                raise Refusal(fault.status, "as the test wants")
            answer = _answer(self.double, request)
        except Refusal as refusal:
            answer = _refused(refusal)
        self._send(answer, fault or Fault(""))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, answer: Answer, fault: Fault) -> None:
        if fault.content is not None:
            kept = {name: value for name, value in answer.headers.items() if name != "Content-Range"}
            answer = Answer(200, fault.content, kept)
        self.send_response(answer.status)
        # A HEAD tells the size of a file without sending it.
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers, **fault.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body if fault.cut < 0 else answer.body[: fault.cut])
        if fault.silent:
            self.wfile.flush()
            self.double.stopped.wait()
        self.close_connection |= fault.cut >= 0

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: the tests read `asked`."""


@contextmanager
def serving(folder: Path) -> Iterator[Double]:
    """A double on a free port, with its blobs in ``folder``, until the block ends."""
    double = Double(Blobs(folder))
    handler = type("Handler", (_Handler,), {"double": double})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    double.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield double
    finally:
        double.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()


def stand_in(double: Double, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let huggingface_hub know no other Hub than this one, in this process and in those that it starts.

    The environment is what the processes read that a test starts. In this one huggingface_hub may have been
    imported long ago, and it reads these variables only then: what it made of them has to be replaced too.
    """
    from huggingface_hub import close_session, constants

    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    environment = {"HF_ENDPOINT": double.url, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    for name, value in {**environment, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}.items():
        monkeypatch.setenv(name, value)
    made: dict[str, object] = {
        "ENDPOINT": double.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": f"{double.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_HUB_OFFLINE": False,
    }
    for name, value in made.items():
        monkeypatch.setattr(constants, name, value)
    # The client of an earlier test remembers the proxies of an earlier environment.
    close_session()
