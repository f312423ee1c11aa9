"""A real PostgreSQL server of the tests' own: its binaries are the system's, its data a folder."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from itertools import count
from pathlib import Path

import psycopg
from tests.connections import Connections
from tests.ports import free_port

from federation_core.ledger.database import open_database

__all__ = ["Postgres", "binaries"]


def binaries() -> Path:
    """Where `initdb` and `postgres` are. Raises `FileNotFoundError` with what to install."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: p.parts[-3])
    if found:
        return found[-1].parent
    there = shutil.which("postgres")
    if there is None:
        raise FileNotFoundError("The tests need PostgreSQL 14 or newer: install `postgresql`.")
    return Path(there).parent


class Postgres:
    """A server on a free port of loopback. `durable` where it has to survive its own end."""

    def __init__(
        self,
        *,
        durable: bool = False,
        settings: tuple[str, ...] = (),
        initdb: tuple[str, ...] = (),
        where: Path | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fedcore-pg-", dir=where))
        self.data = self.folder / "data"
        self._user = self.user = _unprivileged()
        self._numbers = count(1)
        self._shape: str | None = None
        self._used: list[str] = []
        self.connections = Connections()
        if self._user is not None:
            os.chown(self.folder, self._user, -1)
        self._bin = binaries()
        options = ["-U", "fedcore", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", *initdb]
        self._call("initdb", "-D", str(self.data), *options, *([] if durable else ["--no-sync"]))
        self.port = free_port()
        unsafe = () if durable else ("fsync=off", "full_page_writes=off")
        self._settings = (*unsafe, "max_connections=200", "shared_buffers=32MB", *settings)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def _call(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._bin / program, *arguments],
            check=True,
            user=self._user,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
        )

    def start(self) -> None:
        """Start it, and return when it answers."""
        given = [f"-c{setting}" for setting in self._settings]
        place = ["-D", str(self.data), "-k", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._bin / "postgres", *place, "-h", "127.0.0.1", "-p", str(self.port), *given],
                user=self._user,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        self._wait()

    def _is_up(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _wait(self) -> None:
        while not self._is_up():
            assert self.process is not None
            if self.process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text())

    def stop(self, number: int = signal.SIGINT) -> None:
        """SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def kill(self) -> None:
        """All of it at once, as a power cut does. (Each of its processes leads a group of its own,
        so they are looked up while the first of them stands still.)"""
        assert self.process is not None
        number = self.process.pid
        self.process.send_signal(signal.SIGSTOP)
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
        for child in (*map(int, children), number):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self.process.wait(30)
        self.process = None

    def ensure(self) -> None:
        """Start it again, if it has ended by itself, and wait where it is recovering: a server that
        cannot write what it must, as its disk is full, begins anew."""
        if self.process is None or self.process.poll() is not None:
            self.start()
        else:
            self._wait()

    def url(self, database: str) -> str:
        return f"postgresql://fedcore@127.0.0.1:{self.port}/{database}"

    def fresh(self, *, template: str = "template0") -> str:
        """The URL of a new database: an empty one, or a copy of `template`."""
        name = f"test{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def fresh_ledger(self) -> str:
        """The URL of a database with the tables of a ledger, and nothing in them."""
        if self._used:
            return self._used.pop()
        if self._shape is None:
            self.execute("CREATE DATABASE migrated TEMPLATE template0")
            database = open_database(self.url("migrated"))
            database.migrate()
            database.close()
            self.connections.forget("migrated")
            self._shape = str(self.execute(_SHAPE, "migrated"))
        return self.fresh(template="migrated")

    def give_back(self, url: str) -> None:
        """What `fresh_ledger` gave is not needed any more, and is emptied for the next, which is
        quicker than a new one. One that is in use, or was changed, or has grown, is left."""
        name = url.rpartition("/")[2]
        with psycopg.connect(url, autocommit=True) as connection:
            [(others, large)] = connection.execute(_STATE).fetchall()
            shape = str(connection.execute(_SHAPE).fetchall())
            if others == self.connections.idle(name) and not large and shape == self._shape:
                connection.execute(_EMPTY)
                self._used.append(url)
                return
        self.connections.forget(name)

    def forget(self) -> None:
        """Remove every database that `fresh` made."""
        for (name,) in self.execute("SELECT datname FROM pg_database WHERE datname LIKE 'test%'"):
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """One statement of a superuser."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


_SHAPE = """
SELECT (SELECT array_agg(row(relname, relkind) ORDER BY relname) FROM pg_class
        WHERE relnamespace = 'public'::regnamespace),
       (SELECT array_agg(row(attrelid::regclass, attname, atttypid, attnotnull) ORDER BY 1)
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace AND attnum > 0),
       (SELECT count(*) FROM pg_trigger), (SELECT count(*) FROM pg_proc),
       (SELECT version_num FROM alembic_version)
"""
_STATE = """
SELECT (SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()),
       (SELECT count(*) > 2000 FROM events)
"""
_EMPTY = """
DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
    AND relkind = 'r' AND relname <> 'alembic_version'
  LOOP EXECUTE 'DELETE FROM ' || quote_ident(name); END LOOP;
END $$
"""


def _unprivileged() -> int | None:
    """PostgreSQL refuses to be run by root; then somebody who may do nothing runs it."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise RuntimeError("There is no user who could run PostgreSQL.")
