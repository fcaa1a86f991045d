"""A gateway on this machine, asked by others than its clients."""

import socket

import pytest
from aiohttp import web

import gateways
import ports
import served
from trunkline.clients import gateway


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("[::]:80", "http://[::1]:80"),
        ("10.0.0.1:80", "http://10.0.0.1:80"),
    ],
)
def test_it_is_asked_where_it_answers_on_this_machine(listen, url):
    assert gateway.url_of(listen) == url


def test_it_tells_its_metrics_past_any_proxy(tmp_path, monkeypatch):
    with gateways.serving(tmp_path) as world:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        assert "trunkline_engine_up_ratio{" in gateway.metrics(world.url, 60)


def test_what_answers_nothing_or_no_metrics_tells_none():
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=404, text="trunkline_engine_up_ratio 1")

    with served.answering(refuse) as url:
        assert gateway.metrics(url, 60) is None
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert gateway.metrics(f"http://127.0.0.1:{silent.getsockname()[1]}", 0.1) is None
    with ports.kept() as nobodys:
        assert gateway.metrics(f"http://127.0.0.1:{nobodys}", 10) is None
    assert gateway.metrics("http://:80:", 1) is None
