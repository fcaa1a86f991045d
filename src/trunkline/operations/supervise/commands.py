"""The command lines of what is kept running, and as what each is started: nowhere else are they written."""

import sys
from pathlib import Path

from trunkline.operations.supervise.supply import Supplied

HOST = "127.0.0.1"
PARAMS, TRAFFIC = "params.yaml", "traffic.json"
# What is started: this very Trunkline.
PROGRAM = (sys.executable, "-m", "trunkline")
ENGINE, GATEWAY = "engine", "gateway"


def engine(folder: Path, supplied: Supplied, port: int, threads: int) -> list[str]:
    """What serves a release on a port of the loopback interface."""
    where = ["--model", str(supplied.bundle), "--base", str(supplied.base)]
    return [*_trunkline(folder), "engine", *where, "--port", str(port), "--threads", str(threads)]


def gateway(folder: Path, listen: str) -> list[str]:
    """What answers clients by traffic.json."""
    return [*_trunkline(folder), "serve", "--traffic", str(folder / TRAFFIC), "--listen", listen]


def engine_role(version: str, port: int) -> str:
    """As what an engine is started."""
    return f"{ENGINE} {version} {port}"


def engine_of(role: str) -> tuple[str, int] | None:
    """The version and port of an engine by its role; None of what is no engine."""
    words = role.split(" ")
    if len(words) != 3 or words[0] != ENGINE or not words[2].isdecimal():
        return None
    return words[1], int(words[2])


def gateway_role(listen: str) -> str:
    """As what a gateway is started."""
    return f"{GATEWAY} {listen}"


def engine_url(port: int) -> str:
    """Where an engine answers."""
    return f"http://{HOST}:{port}"


def _trunkline(folder: Path) -> list[str]:
    """Its own params.yaml is as the supervisor read it, so that both know the same."""
    return [*PROGRAM, "--params", str(folder / PARAMS)]
