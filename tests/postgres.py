"""A real PostgreSQL for one test session: its own cluster in a temporary folder, on a port of its own.

And the network to it, which may swallow everything without a word.
"""

import os
import pwd
import select
import shutil
import socket
import subprocess
import tempfile
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql

import ports

USER = "trunkline"
# Seconds that a start or a stop may take.
_PATIENCE = "--timeout=300"
MISSING = "PostgreSQL is not installed here: apt-get install postgresql"


def programs() -> Path | None:
    """Where `initdb` and `pg_ctl` are: on PATH, or in the newest version's folder of Debian's packages."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "pg_ctl").exists()), None)


class Postgres:
    """A server that is started, stopped and started again; PostgreSQL refuses to run as root, so root lends a user."""

    def __init__(self, durable: bool = False) -> None:
        programs_at = programs()
        assert programs_at is not None, MISSING
        self._programs, self._durable = programs_at, durable
        self._folder = Path(tempfile.mkdtemp(prefix="trunkline-postgres-"))
        self._data = self._folder / "data"
        self._kept = ExitStack()
        self.port = self._kept.enter_context(ports.kept())
        self._as: list[str] = []
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self._folder, account.pw_uid, account.pw_gid)
            self._as = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]

    def __enter__(self) -> Self:
        options = ["--auth=trust", f"--username={USER}", "--no-sync", "--no-instructions", "--encoding=UTF8"]
        self._run("initdb", f"--pgdata={self._data}", "--locale=C", *options)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._kept.close()
        shutil.rmtree(self._folder)

    @property
    def process(self) -> int:
        """The server's process; a connection's processor time is added to its own once that has ended."""
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def start(self) -> None:
        fsync = "on" if self._durable else "off"
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync={fsync}"
        self._run(
            "pg_ctl",
            "start",
            f"--pgdata={self._data}",
            f"--log={self._folder}/log",
            "--wait",
            _PATIENCE,
            f"-o {options}",
        )

    def stop(self) -> None:
        if (self._data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", f"--pgdata={self._data}", "--mode=immediate", "--wait", _PATIENCE)

    def database(self, name: str) -> str:
        """The address of a new, empty database."""
        with psycopg.connect(self.address("postgres").replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.address(name)

    def address(self, name: str) -> str:
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/{name}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self._programs / program), *arguments]
        # Its log goes to a file: a server that inherits a pipe would keep whoever reads it waiting.
        with (self._folder / "output").open("w+") as output:
            done = subprocess.run(command, stdout=output, stderr=output, cwd="/", check=False)
            output.seek(0)
            assert done.returncode == 0, f"{program}: {output.read()}"


class Network:
    """Takes connections and leads them to a server, until it swallows what they say, and never tells either side.

    Attributes:
        port: where it listens on this machine.
    """

    def __init__(self, to: int) -> None:
        self._to, self._ends = to, threading.Event()
        self._paths: dict[socket.socket, socket.socket] = {}
        self._dead: set[socket.socket] = set()
        self._place = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._place.getsockname()[1])
        self._thread = threading.Thread(target=self._lead)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()
        for place in (self._place, *self._paths, *self._dead):
            place.close()

    def swallow(self) -> None:
        """Of all connections that there are; those that come later are led on."""
        self._dead |= set(list(self._paths))

    def _lead(self) -> None:
        while not self._ends.is_set():
            open_ = [place for place in [*self._paths] if place not in self._dead]
            for place in select.select([self._place, *open_], [], [], 0.02)[0]:
                if place is self._place:
                    here, there = place.accept()[0], socket.create_connection(("127.0.0.1", self._to))
                    self._paths |= {here: there, there: here}
                elif place in self._paths and place not in self._dead:
                    self._pass_on(place)

    def _pass_on(self, place: socket.socket) -> None:
        other = self._paths[place]
        with suppress(OSError):
            if said := place.recv(65_536):
                other.sendall(said)
                return
        for end in (place, other):
            del self._paths[end]
            end.close()
