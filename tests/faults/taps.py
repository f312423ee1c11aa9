"""Stands at every place where a process makes something durable: files, and databases.

`install(on)` wraps what Python programs write with, before anything of the product is imported.
From then on `on(when, names)` is called `before` and `after` each durable write, by the thread that
makes it; `names` say what is written, as in `durable.KNOWN`. Statements inside a transaction
become durable with its COMMIT, so they are gathered and named there.

`hear(told)` is a second, independent ear: Python's audit hooks (PEP 578) tell of every file that is
opened for writing, renamed, linked, removed or made, whichever way the program does it. What the
hooks tell of and the wrappers do not know is a durable write where nothing can be killed.
"""

import builtins
import io
import json
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["On", "hear", "install"]

On = Callable[[str, tuple[str, ...]], None]
"""Called with `before` or `after`, and the names of what is written."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_RANDOM = (
    (re.compile(r"^\.secret-\w+$"), ".secret-*"),
    (re.compile(r"\.[0-9a-f]{8}\.part$"), ".*.part"),
    (re.compile(r"^fedcore-pack-\w+$"), "fedcore-pack-*"),
)
_STATEMENT = re.compile(
    r"\b(INSERT(?: OR \w+)? INTO|DELETE FROM|(?<!DO )UPDATE(?! ON\b)|"
    r"CREATE (?:UNIQUE )?(?:TABLE|INDEX|TRIGGER)(?: IF NOT EXISTS)?|ALTER TABLE|"
    r"DROP (?:TABLE|INDEX)|COPY)\s+\"?(\w+)",
    re.IGNORECASE,
)
_DURABLE_PRAGMA = re.compile(r"PRAGMA (journal_mode *= *\w+|wal_checkpoint)", re.IGNORECASE)
_PASSING_PRAGMA = re.compile(
    r"PRAGMA (?:main\.|temp\.)?(synchronous|foreign_keys|cache_size|query_only|busy_timeout|"
    r"secure_delete|table_info|table_xinfo|index_list|foreign_key_list|data_version|read_uncommitted)\b",
    re.IGNORECASE,
)
_EVENT_TYPE = re.compile(r"FC[-_][A-Z]+[-_][A-Z0-9]+")


def _plain(path: object) -> str:
    """The name of a file without what is random in it; its folder does not matter."""
    name = os.path.basename(os.fsdecode(path).rstrip("/"))  # type: ignore[arg-type]  # noqa: PTH119
    for pattern, instead in _RANDOM:
        name = pattern.sub(instead, name)
    return name


def _of_descriptor(fd: int) -> str | None:
    """The file behind a descriptor; None for what is no file, or has no name any more."""
    try:
        path = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 (what is there is no path)
    except OSError:
        return None
    return path if path.startswith("/") and not _is_device(path) else None


def _is_device(path: str) -> bool:
    return path.startswith(("/dev/", "/proc/", "/sys/")) and not path.startswith("/dev/shm/")


# Files.


def _ignored(path: object) -> bool:
    if isinstance(path, int):
        return True
    text = os.fsdecode(path)  # type: ignore[arg-type]
    return _is_device(text) or "__pycache__" in text


def _opening(path: object, flags: int) -> str | None:
    """How the opening of a file is named; None where nothing is written."""
    if _ignored(path) or not flags & _WRITING:
        return None
    if os.path.isdir(path):  # type: ignore[arg-type]  # noqa: PTH112
        return None  # O_TMPFILE, a file without a name: no restart will ever see it
    return f"open {_plain(path)}"


def _flags_of(mode: str) -> int:
    return _WRITING if set(mode) & set("wax+") else 0


class _Files:
    def __init__(self, on: On) -> None:
        self._on = on

    def install(self) -> None:
        for name, told in (
            ("replace", lambda a, b: f"rename {_plain(a)} to {_plain(b)}"),
            ("rename", lambda a, b: f"rename {_plain(a)} to {_plain(b)}"),
            ("link", lambda a, b: f"link {_plain(b)}"),
            ("unlink", lambda a: f"remove {_plain(a)}"),
            ("remove", lambda a: f"remove {_plain(a)}"),
            ("mkdir", lambda a, *_: f"make folder {_plain(a)}"),
            ("truncate", lambda a, *_: f"truncate {_plain(a)}"),
        ):
            self._wrap(os, name, told)
        for name in ("fsync", "fdatasync", "ftruncate", "pwrite", "write"):
            self._wrap(os, name, self._descriptor_teller(name))
        self._wrap(os, "open", lambda path, flags=0, *_: _opening(path, flags))
        for module in (io, builtins):
            self._wrap(module, "open", lambda f, mode="r", *_: _opening(f, _flags_of(mode)))

    def _wrap(self, module: Any, name: str, told: Callable[..., str | None]) -> None:
        real, on = getattr(module, name), self._on

        def tapped(*args: Any, **kwargs: Any) -> Any:
            what = told(*args)
            if what is None:
                return real(*args, **kwargs)
            on("before", (what,))
            try:
                return real(*args, **kwargs)
            finally:
                on("after", (what,))

        setattr(module, name, tapped)

    @staticmethod
    def _descriptor_teller(name: str) -> Callable[..., str | None]:
        verb = {"ftruncate": "truncate", "pwrite": "write", "fdatasync": "fsync"}.get(name, name)

        def told(fd: Any, *_args: Any) -> str | None:
            path = _of_descriptor(fd if isinstance(fd, int) else fd.fileno())
            if path is None or path.endswith(" (deleted)"):
                return None
            return f"{verb} {'folder' if os.path.isdir(path) else _plain(path)}"  # noqa: PTH112

        return told


# Databases.


class _Transaction:
    """What the statements of a transaction write."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}

    def take(self) -> tuple[str, ...]:
        names, self.names = tuple(self.names), {}
        return names

    def add(self, sql: str, parameters: object) -> None:
        for name in _named(sql, parameters):
            self.names[name] = None


def _named(sql: str, parameters: object) -> Iterator[str]:
    for verb, table in _STATEMENT.findall(sql):
        word = verb.upper().split()[0]
        if word in {"INSERT", "UPDATE", "DELETE", "COPY"}:
            kind = {"INSERT": "rows of", "COPY": "rows of", "UPDATE": "change", "DELETE": "delete"}
            yield f"{kind[word]} {table.lower()}"
            if table.lower() == "events" and word in {"INSERT", "COPY"}:
                yield from sorted(set(_types(parameters)))
        else:
            yield "schema"


def _types(value: object) -> Iterator[str]:
    """The event types among the parameters of an insertion, however rows are handed over."""
    if isinstance(value, str):
        if value.startswith("["):
            yield from _types(json.loads(value))
        elif _EVENT_TYPE.fullmatch(value):
            yield value
    elif isinstance(value, dict):
        yield from _types(list(value.values()))
    elif isinstance(value, Iterable):
        for item in value:
            yield from _types(item)


def _sqlite(on: On) -> None:
    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, parameters: Any = (), /) -> Any:
            with _statement(self.connection, sql, parameters):
                return super().execute(sql, parameters)

        def executemany(self, sql: str, parameters: Any, /) -> Any:
            rows = list(parameters)
            with _statement(self.connection, sql, rows):
                return super().executemany(sql, rows)

        def executescript(self, sql: str, /) -> Any:
            with _statement(self.connection, sql, ()):
                return super().executescript(sql)

    class Connection(sqlite3.Connection):
        def __init__(self, path: Any, *args: Any, **kwargs: Any) -> None:
            self.path = str(path)
            self.transaction = _Transaction()
            new = not os.path.exists(path)  # noqa: PTH110
            name = (f"make database {_plain(path)}",) if new else ()
            with _around(name):
                super().__init__(path, *args, **kwargs)

        def cursor(self, *_factory: Any) -> Any:
            return super().cursor(Cursor)

        def execute(self, sql: str, parameters: Any = (), /) -> Any:
            return self.cursor().execute(sql, parameters)

        def executemany(self, sql: str, parameters: Any, /) -> Any:
            return self.cursor().executemany(sql, parameters)

        def executescript(self, sql: str, /) -> Any:
            return self.cursor().executescript(sql)

        def commit(self) -> None:
            with _around(self.transaction.take() if self.in_transaction else ()):
                super().commit()

        def rollback(self) -> None:
            self.transaction.take()
            super().rollback()

        def close(self) -> None:
            with _around((f"close database {_plain(self.path)}",)):
                super().close()

    @contextmanager
    def _around(names: tuple[str, ...]) -> Iterator[None]:
        if names:
            on("before", names)
        yield
        if names:
            on("after", names)

    @contextmanager
    def _statement(connection: Any, sql: str, parameters: object) -> Iterator[None]:
        assert isinstance(connection, Connection)
        pragma = _DURABLE_PRAGMA.search(sql)
        if pragma:
            with _around((f"{pragma[1].split('=')[0].strip()} of {_plain(connection.path)}",)):
                yield
            return
        word = sql.split(None, 1)[0].upper().rstrip(";") if sql.strip() else ""
        if word == "PRAGMA" and not _PASSING_PRAGMA.search(sql):
            raise AssertionError(f"{sql!r}: is this durable? Name it in tests/faults/taps.py.")
        if word in {"COMMIT", "END", "SAVEPOINT", "RELEASE", "ATTACH", "VACUUM"}:
            raise AssertionError(f"{sql!r}: tests/faults/taps.py has to learn of it.")
        connection.transaction.add(sql, parameters)
        if connection.in_transaction or word == "BEGIN":
            yield
            return
        with _around(connection.transaction.take()):  # it commits by itself
            yield

    real = sqlite3.connect

    def connect(*args: Any, **kwargs: Any) -> Any:
        return real(*args, **{**kwargs, "factory": Connection})

    sqlite3.connect = connect
    sqlite3.dbapi2.connect = connect


def _postgresql(on: On) -> None:
    try:
        import psycopg
    except ImportError:
        return
    transactions: dict[int, _Transaction] = {}

    def of(connection: Any) -> _Transaction:
        return transactions.setdefault(id(connection), _Transaction())

    def wrap_statement(kind: Any, name: str) -> None:
        real = getattr(kind, name)

        def tapped(self: Any, query: Any, params: Any = None, *args: Any, **kwargs: Any) -> Any:
            text = query if isinstance(query, str) else str(query)
            rows = list(params) if name == "executemany" else params
            of(self.connection).add(text, () if rows is None else rows)
            alone = self.connection.autocommit and of(self.connection).take()
            if alone:
                on("before", alone)
            done = real(self, query, rows, *args, **kwargs)
            if alone:
                on("after", alone)
            return done

        setattr(kind, name, tapped)

    for name in ("execute", "executemany"):
        wrap_statement(psycopg.Cursor, name)
    commit, rollback = psycopg.Connection.commit, psycopg.Connection.rollback

    def tapped_commit(self: Any) -> None:
        names = of(self).take()
        if names:
            on("before", names)
        commit(self)
        if names:
            on("after", names)

    def tapped_rollback(self: Any) -> None:
        of(self).take()
        rollback(self)

    psycopg.Connection.commit = tapped_commit  # type: ignore[method-assign]
    psycopg.Connection.rollback = tapped_rollback  # type: ignore[method-assign]


def install(on: On) -> None:
    """Wrap what this process writes with; there is no way back."""
    sys.dont_write_bytecode = True
    _Files(on).install()
    _sqlite(on)
    _postgresql(on)


def hear(told: Callable[[str], None]) -> None:
    """Call `told` with the name of everything that Python's audit hooks know to be written."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        teller = _HEARD.get(event)
        what = teller(*args) if teller else None
        if what is not None:
            told(what)

    sys.addaudithook(hook)


_HEARD: dict[str, Callable[..., str | None]] = {
    "open": lambda path, _mode, flags: None if path is None else _opening(path, flags),
    "os.rename": lambda old, new, *_: f"rename {_plain(old)} to {_plain(new)}",
    "os.link": lambda _, new, *__: f"link {_plain(new)}",
    "os.remove": lambda path, *_: f"remove {_plain(path)}",
    "os.mkdir": lambda path, *_: f"make folder {_plain(path)}",
    "os.truncate": lambda path, *_: _truncating(path),
    "sqlite3.connect": lambda path: f"database {_plain(path)}",
    **{
        f"os.{name}": lambda path, *_, name=name: f"{name} {_plain(path)}"
        for name in ("symlink", "rmdir", "chmod", "chown", "setxattr", "utime")
    },
}
"""How the audit events of writing are named."""


def _truncating(file: Any) -> str | None:
    path = _of_descriptor(file) if isinstance(file, int) else file
    return None if path is None else f"truncate {_plain(path)}"
