"""Providers behind the proxy that the environment names, over real sockets: asked in plain, and through a tunnel."""

import asyncio
import base64
import json
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import act_world
import served
from provider import Provider
from trunkline.clients import engines, hosted
from trunkline.clients.engines import proxy
from trunkline.errors import Error
from trunkline.params.serve import EngineParams, PriceParams, TimeoutParams
from trunkline.records.serving import Completion, Request
from trunkline.records.serving import Provider as Record

# This machine by another name, which nothing tells to be near.
HOST = "llm.example.invalid"
PASSWORD = "a-secret"
REQUEST = Request(prompt=({"role": "user", "content": "my card is gone"},), max_new_tokens=5, temperature=0)
NAMES = [f"{name}_proxy" for name in ("http", "https", "all", "no")]


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    known = socket.getaddrinfo

    def resolve(host: str, *more: Any, **named: Any) -> Any:
        return known("127.0.0.1" if host == HOST else host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


class Proxy:
    """A proxy that wants a password and knows one host.

    Attributes:
        heads: the first line of each request that it let pass.
        port: where what it knows answers.
    """

    def __init__(self, port: int) -> None:
        self.heads: list[str] = []
        self.port = port

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *fields = head.split("\r\n")
        allowed = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
        if f"Proxy-Authorization: Basic {allowed}" not in fields:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        self.heads.append(line)
        there = await asyncio.open_connection("127.0.0.1", self.port)
        if line.startswith("CONNECT"):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            there[1].write(head.encode())
        await asyncio.gather(self._pass(reader, there[1]), self._pass(there[0], writer))

    @staticmethod
    async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65536):
            writer.write(part)
        writer.close()


@contextmanager
def between(port: int) -> Iterator[tuple[Proxy, str]]:
    """A running proxy, and where it is."""
    proxy, loop = Proxy(port), asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(proxy, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield proxy, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()


def record(url: str) -> Record:
    found = {"model": "large", "url": url, "key": None, "usd_input": 0, "usd_output": 0, "retries": 0, "timeout": 60}
    more = {"concurrent": 1, "messages": ["x"], "pinned_tokens": 1, "said": None, "fingerprint": None, "pins": ()}
    return Record.model_validate(found | more)


def ask(url: str) -> Completion:
    (answer,) = hosted.ask(record(url), [REQUEST])
    return answer


class Secure(BaseHTTPRequestHandler):
    """A provider over TLS."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        choice = {"message": {"content": "through the tunnel"}, "finish_reason": "stop"}
        said = json.dumps({"choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_provider_is_reached_through_the_proxy_that_the_environment_names(monkeypatch):
    with served.answering(Provider().handle) as url:
        port = int(url.rsplit(":", 1)[1])
        far = f"http://{HOST}:{port}"
        with between(port) as (there, address):
            monkeypatch.setenv("http_proxy", f"http://user:{PASSWORD}@{address}")
            assert "card_lost" in ask(far).text
            assert there.heads == [f"POST {far}/v1/chat/completions HTTP/1.1"]
            # What is near is reached directly, and so is what NO_PROXY names.
            assert "card_lost" in ask(url).text
            monkeypatch.setenv("NO_PROXY", "example.invalid")
            assert "card_lost" in ask(far).text
            assert len(there.heads) == 1


def test_a_provider_over_tls_is_reached_through_a_tunnel(tmp_path, monkeypatch):
    act_world.certificate(tmp_path / "own.pem")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "own.pem")
    trusting = ssl.create_default_context(cafile=str(tmp_path / "own.pem"))
    # It is a certificate of this machine by its address.
    trusting.check_hostname = False
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", trusting)
    server = HTTPServer(("127.0.0.1", 0), Secure)
    server.socket = serving.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    far = f"{HOST}:{server.server_port}"
    try:
        with between(server.server_port) as (there, address):
            monkeypatch.setenv("HTTPS_PROXY", f"user:{PASSWORD}@{address}")
            assert ask(f"https://{far}").text == "through the tunnel"
            assert there.heads == [f"CONNECT {far} HTTP/1.1"]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses_or_is_not_there_is_told_without_its_password(monkeypatch, caplog, scheme):
    with caplog.at_level(logging.DEBUG), between(0) as (there, address):
        for place, said in ((f"http://user:wrong-{PASSWORD}@{address}", "407"), (f"u:{PASSWORD}@127.0.0.1:1", "proxy")):
            monkeypatch.setenv(f"{scheme}_proxy", place)
            with pytest.raises(Error, match=said) as caught:
                ask(f"{scheme}://{HOST}")
            assert PASSWORD not in f"{caught.value.problem} {caught.value.hint}"
        assert there.heads == []
    assert PASSWORD not in caplog.text


def test_engines_are_never_asked_through_a_proxy(monkeypatch):
    async def models(url: str) -> tuple[str, ...]:
        price = PriceParams(input=0, output=0)
        settings = EngineParams(kind="openai", url=url, model=None, key=None, usd_per_million=price, retries=0)
        engine = engines.connect(settings, TimeoutParams.of(60))
        try:
            return (await engine.identity()).models
        finally:
            await engine.close()

    async def asked(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "tuned"}]})

    for name in NAMES[:3]:
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with served.answering(asked) as url:
        assert asyncio.run(models(url.replace("127.0.0.1", HOST))) == ("tuned",)


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        (f"https://{HOST}", {"HTTPS_PROXY": "http://p:3128"}, "http://p:3128"),
        (f"https://{HOST}", {"https_proxy": "p:3128", "HTTPS_PROXY": "http://other"}, "http://p:3128"),
        (f"https://{HOST}", {"HTTP_PROXY": "http://p:3128"}, None),
        (f"https://{HOST}", {"ALL_PROXY": "http://p:3128"}, "http://p:3128"),
        (f"https://{HOST}", {"HTTPS_PROXY": ""}, None),
        (f"https://{HOST}", {"HTTPS_PROXY": "http://p", "NO_PROXY": "*"}, None),
        (f"https://{HOST}:8443", {"HTTPS_PROXY": "http://p", "NO_PROXY": f"{HOST}:8443"}, None),
        (f"https://{HOST}:8443", {"HTTPS_PROXY": "http://p", "NO_PROXY": f"{HOST}:443"}, "http://p"),
        *((f"https://{near}", {"HTTPS_PROXY": "http://p"}, None) for near in ("localhost", "10.1.2.3", "[::1]:8000")),
        ("https://8.8.8.8", {"HTTPS_PROXY": "http://p"}, "http://p"),
    ],
)
def test_which_proxy_is_named(monkeypatch, url, environment, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy.named(url) == expected


@pytest.mark.parametrize("value", ["socks5://u:secret@p:1080", "http://", "http://p:99999", "http://[p"])
def test_what_is_no_http_proxy_is_an_error_that_tells_no_password(monkeypatch, value):
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(Error, match="none over HTTP") as caught:
        proxy.named(f"https://{HOST}")
    assert "secret" not in caught.value.problem
