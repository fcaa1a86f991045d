"""An S3 on this machine: moto's server, asked over HTTP by the clients that DVC uses."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

BUCKET = "trunkline"


@contextmanager
def serving() -> Iterator[str]:
    """Its address, until the block ends; it is empty at first."""
    import requests
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    address = "http://{}:{}".format(*running.get_host_and_port())
    try:
        # All servers of a process have the same buckets: those of an earlier test, of another file perhaps.
        requests.post(f"{address}/moto-api/reset", timeout=60).raise_for_status()
        yield address
    finally:
        running.stop()


def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of an S3 in which `BUCKET` is there; this process may use it."""
    import boto3

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3", endpoint_url=server)
    client.create_bucket(Bucket=BUCKET)
    return client
