"""Stands in for `trunkline engine` and `trunkline serve`: their command lines, routes and signals, without a model.

An engine answers every chat with its version, and says in its log whom it makes wait, and when it was told to end.
What lies in the folder `faults` makes it misbehave: `broken-VERSION` ends it as it starts, `wrong-VERSION` lets it
serve other weights, `slow-VERSION` lets it load for as long as it lies there.
"""

import argparse
import json
import signal
import sys
import threading
import time
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from trunkline import identity
from trunkline.assignment import arm_of
from trunkline.records import Base
from trunkline.records.release import Manifest
from trunkline.records.traffic import Traffic

FAULTS = Path("faults")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def body(self) -> dict:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def log_message(self, *_: object) -> None:
        pass


def engine(arguments: argparse.Namespace) -> type[Handler]:
    manifest = Manifest.read(arguments.model / "manifest.json")
    version = manifest.version
    base = Base.read(arguments.base / "base.json")
    if (FAULTS / f"broken-{version}").exists():
        sys.exit("error: the model does not generate\nhint: serve it with vLLM or TGI")
    while (FAULTS / f"slow-{version}").exists():
        time.sleep(0.05)
    recorded = base.configuration if manifest.configuration else {}
    wrong = (FAULTS / f"wrong-{version}").exists()
    digest = identity.digest(manifest.weights, "other" if wrong else base.sha256, recorded)

    class Engine(Handler):
        def do_GET(self) -> None:
            self.answer(200, {"model_id": f"support-triage@{version}", "model_sha": digest, "version": "stand-in"})

        def do_POST(self) -> None:
            if seconds := self.body().get("seconds"):
                print("somebody waits", flush=True)
                time.sleep(seconds)
            choice = {"message": {"content": version}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 1, "completion_tokens": 1}
            self.answer(200, {"choices": [choice], "usage": usage, "system_fingerprint": digest[:12]})

    return Engine


def gateway(arguments: argparse.Namespace) -> type[Handler]:
    """It looks at traffic.json once a second, as the real one does; `faults/deaf` lets it follow it no more."""
    state = {"read": 0.0, "traffic": Traffic.read(arguments.traffic)}

    def traffic() -> Traffic:
        if time.monotonic() - state["read"] > 1 and not (FAULTS / "deaf").exists():
            state.update(read=time.monotonic(), traffic=Traffic.read(arguments.traffic))
        return state["traffic"]

    class Gateway(Handler):
        def do_GET(self) -> None:
            self.answer(200, {"model_id": traffic().stable.release, "model_sha": None, "version": "stand-in"})

        def do_POST(self) -> None:
            asked, now = self.body(), traffic()
            arm = now.stable
            if now.canary is not None and arm_of(now.salt, asked["unit"], now.weight) == "canary":
                arm = now.canary
            connection = HTTPConnection(urlsplit(arm.url).netloc, timeout=60)
            try:
                connection.request("POST", "/v1/chat/completions", json.dumps(asked))
                said = json.loads(connection.getresponse().read())["choices"][0]["message"]["content"]
                self.answer(200, {"release": arm.release, "answer": said})
            except OSError as error:
                self.answer(503, {"release": arm.release, "error": str(error)})

    return Gateway


class Server(ThreadingHTTPServer):
    # What was accepted is answered before the process ends.
    daemon_threads = False
    request_queue_size = 128

    def server_close(self) -> None:
        self.socket.setblocking(False)
        with suppress(OSError):
            while True:
                self.process_request(*self.get_request())
        super().server_close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--params", required=True)
    steps = parser.add_subparsers(dest="step", required=True)
    serving, answering = steps.add_parser("engine"), steps.add_parser("serve")
    for flag in ("--model", "--base"):
        serving.add_argument(flag, type=Path, required=True)
    for flag in ("--port", "--threads"):
        serving.add_argument(flag, type=int, required=True)
    answering.add_argument("--traffic", type=Path, required=True)
    answering.add_argument("--listen", required=True)
    arguments = parser.parse_args()
    if arguments.step == "engine":
        address, handler = ("127.0.0.1", arguments.port), engine(arguments)
    else:
        host, port = arguments.listen.split(":")
        address, handler = (host, int(port)), gateway(arguments)
    server = Server(address, handler)

    def end(*_: object) -> None:
        print("told to end at", time.time(), flush=True)
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    server.serve_forever(poll_interval=0.05)
    server.server_close()


if __name__ == "__main__":
    main()
