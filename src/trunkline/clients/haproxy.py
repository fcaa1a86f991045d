"""HAProxy's runtime API: commands on its UNIX socket (HAProxy management guide, "Unix Socket commands").

`set map` is part of the stable API, unlike `set var`; what it changes is lost on a restart, so the map's file is
written first.
"""

import socket
from pathlib import Path

from trunkline.clients import files
from trunkline.errors import Error

SECONDS = 5.0
_MOST = 2**20


def set_entry(sock: Path, file: Path, key: str, value: str) -> None:
    """Give a map's only key this value, in its file and in the running HAProxy, and see that it is there.

    Args:
        sock: HAProxy's ``stats socket`` with ``level admin``.
        file: the map's file, by which HAProxy knows the map.
        key: without spaces.
        value: without spaces or newlines.

    Raises:
        Error: the file cannot be written, or HAProxy does not take it; it will when it starts again.
    """
    files.write_text(file, f"{key} {value}\n")
    said = _ask(sock, f"set map {file} {key} {value}")
    found = entries(sock, file).get(key)
    if found != value:
        problem = f"HAProxy keeps {key} at {found}, not {value}: {said or 'it said nothing'}"
        raise Error(problem, f"reload HAProxy, which reads {file}")


def entries(sock: Path, file: Path) -> dict[str, str]:
    """What a map holds in the running HAProxy.

    Raises:
        Error: HAProxy does not answer, or has no such map.
    """
    said = _ask(sock, f"show map {file}")
    rows = [line.split(" ", 2) for line in said.splitlines() if line.startswith("0x")]
    if said and not rows:
        raise Error(f"HAProxy at {sock}: {' '.join(said.split())[:200]}", f"does its configuration use {file}?")
    return {row[1]: row[2] for row in rows if len(row) == 3}


def _ask(sock: Path, command: str) -> str:
    """The answer to a command, stripped; HAProxy closes the connection after it."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(SECONDS)
            connection.connect(str(sock))
            connection.sendall(f"{command}\n".encode())
            return _read(connection).strip()
    except OSError as error:
        reason = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or error
        problem = f"HAProxy does not answer at {sock}: {reason}"
        raise Error(problem, "start it, or correct deploy.haproxy.socket in params.yaml") from None


def _read(connection: socket.socket) -> str:
    parts = bytearray()
    while part := connection.recv(65536):
        parts += part
        if len(parts) > _MOST:
            break
    return parts.decode(errors="replace")
