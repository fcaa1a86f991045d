"""A gateway on this machine: where it answers, and what it exports of itself."""

import httpx2

# What a server may be bound to, and where it then answers on this machine.
_HERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 (nothing is bound to it here)


def url_of(listen: str) -> str:
    """Where a gateway that listens on ``HOST:PORT`` answers on this machine."""
    host, _, port = listen.rpartition(":")
    return f"http://{_HERE.get(host, host)}:{port}"


def metrics(url: str, seconds: float) -> str | None:
    """What a gateway exports now, in Prometheus' text format; None where none answers.

    Args:
        url: of the gateway.
        seconds: that connecting may take, and each part of the answer.
    """
    try:
        # A proxy leads elsewhere, and this is about this machine.
        with httpx2.Client(timeout=seconds, trust_env=False) as client:
            answer = client.get(f"{url}/metrics")
    except (httpx2.HTTPError, httpx2.InvalidURL):
        return None
    return answer.text if answer.is_success else None
