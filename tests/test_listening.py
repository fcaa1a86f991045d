"""A port is taken at once, answers only when a server listens, and says why it cannot be had."""

import socket

import pytest

from trunkline.clients.listening import listen
from trunkline.errors import Error


def test_a_port_is_taken_before_it_answers():
    with listen("127.0.0.1", 0) as place:
        port = place.getsockname()[1]
        assert port > 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        place.listen()
        socket.create_connection(("127.0.0.1", port), timeout=5).close()


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("127.0.0.1", 99999, "cannot listen on port 99999"),
        ("192.0.2.1", 0, "Cannot assign requested address"),
        ("nowhere.invalid", 0, "cannot listen on port 0"),
    ],
)
def test_what_cannot_be_listened_on_is_one_error(host, port, said):
    with pytest.raises(Error, match=said):
        listen(host, port)


def test_a_port_that_somebody_has_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Error, match=f"cannot listen on port {port}: Address already in use"):
            listen("127.0.0.1", port)
