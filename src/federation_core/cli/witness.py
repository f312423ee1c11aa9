"""`fedcore witness`: run a witness, which cosigns the checkpoints of logs."""

import asyncio
import signal
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ..errors import OperatorError, SettingsError
from ..transparency import TransparencyError, VerifierKey
from ..witness import Home, Witness, WitnessApp, open_home, read_logs
from .groups import Command, noun
from .makers import takes
from .output import Output
from .session import output

__all__ = ["app"]

app = noun("Run a witness, which cosigns the checkpoints of logs.")

_GRACE_S = 10.0

DirOption = Annotated[
    Path,
    typer.Option("--data-dir", metavar="DIR", help="Where the witness alone keeps its data."),
]
NameOption = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        help="What a new witness is called for ever, such as example.com/witness.",
    ),
]


@app.command("serve", cls=Command)
def serve(
    *,
    data_dir: DirOption,
    name: NameOption = None,
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="Where it listens.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option("--port", min=0, max=65_535, metavar="PORT", help="0 takes a free one."),
    ] = 9406,
    log: Annotated[
        list[str] | None,
        typer.Option(
            "--log", metavar="VKEY", help="The key of a log to cosign for; may be repeated."
        ),
    ] = None,
    logs: Annotated[
        Path | None,
        typer.Option("--logs", metavar="FILE", help="A file of such keys, one a line."),
    ] = None,
) -> None:
    """Serve C2SP tlog-witness, POST /add-checkpoint.

    A witness is of use where somebody else runs it than the log. It cosigns a
    checkpoint where the log proves that it only added to the last one that was
    cosigned, which it remembers. Never copy its directory, nor put a backup of it
    back: a witness that forgets can be deceived. Ctrl-C stops it.
    """
    known = _known(log or [], logs)
    home = open_home(data_dir, name)
    try:
        asyncio.run(_serve(home, Witness(home, known), host, port))
    finally:
        home.store.close()


@app.command("key", cls=Command)
@takes(output)
def key(out: Output, *, data_dir: DirOption, name: NameOption = None) -> None:
    """Print the witness's key, as a file of trust has it.

    A new witness is made where there is none.
    """
    home = open_home(data_dir, name)
    home.store.close()
    out.show({"name": home.verifier.name, "key": home.verifier.text}, home.verifier.text)


def _known(given: list[str], file: Path | None) -> list[VerifierKey]:
    """The keys of `--log` and of `--logs`."""
    try:
        keys = [VerifierKey.parse(text) for text in given]
    except TransparencyError as e:
        raise typer.BadParameter(e.detail, param_hint="--log") from e
    if file is not None:
        try:
            keys += read_logs(file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as e:
            raise SettingsError(f"The logs in {file} cannot be read: {e}.") from e
    return keys


async def _serve(home: Home, witness: Witness, host: str, port: int) -> None:
    """Until SIGTERM or SIGINT; the first line says where it listens."""
    from ..api.server import Server, listen, url_of
    from ..telemetry.logs import configure_log

    with closing(configure_log()), listen(host, port) as listener:
        url = url_of(listener)
        server = Server(WitnessApp(witness), listener)
        serving = asyncio.ensure_future(server.serve())
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        typer.echo(f"The witness {home.verifier.name} listens on {url} (key {home.verifier.text})")
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not stopped.done():
            stopped.cancel()
            raise OperatorError(
                "The HTTP server ended by itself; start it again.", code="server_ended"
            ) from serving.exception()
        server.finish()
        await asyncio.wait({serving}, timeout=_GRACE_S)
