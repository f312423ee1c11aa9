"""What the command prints, and its exit status."""

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from tests.evidence.corpus import packs
from tests.evidence.corpus.calls import Call
from tests.evidence.pack_forge import Forge, b64, canonical, consistency_proof, repack

from federation_core.evidence import verify

__all__ = ["command"]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _run(arguments: list[str], files: dict[str, bytes], *, terminal: bool = False) -> list[str]:
    """Exit status, output and errors, without the folder and what only spaces lines."""
    out, err = io.StringIO(), _Terminal() if terminal else io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            Path(folder, name).write_bytes(data)
        told = [argument.replace("@", folder + "/") for argument in arguments]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _wide():
            try:
                status: object = verify.main(told)
            except SystemExit as e:
                status = f"exit {e.code}"
    texts = [text.getvalue().replace(folder + "/", "@") for text in (out, err)]
    return [str(status), *(" ".join(t.split()) if "usage" in t else t for t in texts)]


def _wide() -> contextlib.AbstractContextManager[object]:
    return mock.patch.dict(os.environ, {"COLUMNS": "200"})


def command() -> Iterator[Call]:
    forge, pack = packs.plain()
    rich, many = packs.rich()
    size = len(forge.leaves)
    proof = [b64(node) for node in consistency_proof(forge.tree(), 3, size)]
    files = {
        "p": pack,
        "t": forge.trust().encode(),
        "bom": b"\xef\xbb\xbf" + forge.trust().encode(),
        "bad": b"\xff",
        "bad2": forge.trust().encode() + b"# \xff\n",
        "rich": many,
        "tr": rich.trust(packs.W1, packs.W2).encode(),
        "seen": forge.checkpoint(3),
        "proof": json.dumps({"hashes": proof}).encode(),
        "open": _open(),
        "broken": pack[:-30],
        "esc": _escape(),
        "six": _six(),
        "less": repack(pack, {"log/checkpoint": None, "events/run:r1.jsonl": None}),
    }
    for line in (
        "@p --trust @t", "@p", "@p --trust @bom", "@p --trust @bad", "@p --trust @bad2", "@none",
        "@p --trust @none", "@p --trust @t --json", "@p --json", "@rich --trust @tr",
        "@p --trust @t --run r1", "@p --trust @t --run r2", "@p --trust @t --tenant acme",
        "@p --trust @t --tenant x", "@p --trust @t --seen @seen",
        "@p --trust @t --seen @seen --consistency @proof", "@p --trust @t --consistency @proof",
        "@p --trust @t --seen @bad", "@p --trust @t --seen @seen --consistency @bad",
        "@p --trust @t --seen @p --consistency @bad", "@p --trust @t --seen @none",
        "@p --trust @t --seen @seen --consistency @none",
        "@open --trust @t", "@broken --trust @t", "@esc --trust @t", "@six --trust @t", "",
        "@less --trust @t",
        "--help", "@p --what",
    ):  # fmt: skip
        yield line, _run, (line.split(), files)
    yield "on a terminal", _small_bar, (files, True)
    yield "on no terminal", _small_bar, (files, False)
    for of in (4_999, 5_000, 40_000):
        yield f"bar of {of}", _bar, (of,)
    yield "progress", _progress, (many, rich.trust(packs.W1, packs.W2))
    unread = repack(many, {"index.json": None})
    yield "progress without an index", _progress, (unread, rich.trust(packs.W1, packs.W2))
    yield "progress of many", _progress, (_many().pack(), _many().trust())
    untold = repack(_many().pack(), {"index.json": None})
    yield "progress of many without an index", _progress, (untold, _many().trust())
    for room in (-2, -1, 0, 1):
        yield f"a line, and room for {room} more", _long_line, (room,)


def _small_bar(files: dict[str, bytes], terminal: bool) -> list[str]:
    with mock.patch.object(verify._Bar, "_LEAST", 1):
        return _run(["@rich", "--trust", "@tr"], files, terminal=terminal)


def _bar(of: int) -> str:
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        bar = verify._Bar()
        bar.close()
        for done in (0, of // 2, of // 2, of):
            bar(done, of)
        bar.close()
    return err.getvalue()


def _progress(pack: bytes, trust: str) -> list[str]:
    told: list[str] = []
    with tempfile.NamedTemporaryFile() as file:
        file.write(pack)
        file.flush()
        verify.verify_pack(file.name, trust, progress=lambda done, of: told.append(f"{done}/{of}"))
    return told


def _long_line(room: int) -> list[object]:
    """What is said to a pack whose longest line is so much shorter than may be."""
    forge = Forge()
    run = forge.run("r1")
    run.decide("run.cancel", reason="x" * 5_000)
    run.end("cancelled")
    longest = max(len(canonical(event)) + 1 for event in forge.leaves)
    with (
        mock.patch.object(verify, "_MAX_FILE_BYTES", longest + room),
        tempfile.NamedTemporaryFile() as file,
    ):
        file.write(forge.pack())
        file.flush()
        told = verify.verify_pack(file.name, forge.trust())
    return [told.verdict, told.events, *(told.error or {}).values()]


def _open() -> bytes:
    forge = Forge()
    forge.run("r1").start()
    return forge.pack(payloads=False)


def _escape() -> bytes:
    forge = Forge(tenant="a\x1b[1m")
    forge.run("r1").start().complete()
    return forge.pack()


def _six() -> bytes:
    forge = Forge()
    for number in range(7):
        run = forge.run(f"r{number}")
        run.decide("run.cancel")
        run.end("cancelled")
    return forge.pack()


def _many() -> Forge:
    forge = Forge()
    run = forge.run("r1").start()
    for _ in range(510):
        run.decide("run.pause")
    return forge
