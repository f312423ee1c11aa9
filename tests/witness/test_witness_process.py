"""A real witness on loopback: it refuses by name, is killed, and remembers."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.witness.witness_helpers import LOG, NAME, Log, Serving, serving, witness_at

from federation_core.cli.main import run
from federation_core.transparency import VerifierKey, verify_cosignature
from federation_core.witness import AddCheckpoint
from federation_core.witness.client import StaleSize, submit
from federation_core.witness.errors import WitnessRefused

ROOT = Path(__file__).resolve().parents[2]
OTHER = Log("log.example/b")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("witness")
    with serving(folder, "--name", NAME, "--log", OTHER.verifier.text) as witness:
        yield witness


async def test_a_log_gets_its_cosignature_and_catches_up(live: Serving) -> None:
    """As a log that was started anew: it asks from nothing, hears the size, and goes on there."""
    first, then = OTHER.note(20), OTHER.note(40)
    [line] = await submit(live.url, 0, (), first.encode())
    assert verify_cosignature(first.text, line, live.key) > 0
    with pytest.raises(StaleSize) as caught:
        await submit(live.url, 0, (), then.encode())
    assert caught.value.size == 20
    [line] = await submit(live.url, 20, OTHER.proof(20, 40), then.encode())
    assert verify_cosignature(then.text, line, live.key) > 0


async def test_each_refusal_by_name(live: Serving) -> None:
    await submit(live.url, 0, (), LOG.note(50).encode())
    fork = Log(fork=3)
    asked = {
        400: AddCheckpoint(51, (), LOG.note(50)),
        403: Log(seed=9).request(0, 5),
        404: Log("log.example/unknown").request(0, 5),
        409: fork.request(50, 50),
        422: fork.request(50, 51),
    }
    for status, request in asked.items():
        with pytest.raises(WitnessRefused) as caught:
            await submit(live.url, request.old_size, request.proof, request.note.encode())
        assert caught.value.status == status
    assert live.ask(AddCheckpoint(0, (), LOG.note(1))).text == "50\n"


def test_a_witness_that_is_killed_remembers(tmp_path: Path) -> None:
    with serving(tmp_path, "--name", NAME) as first:
        assert first.ask(LOG.request(0, 10)).status_code == 200
        first.kill()
    with serving(tmp_path) as second:
        assert second.key == first.key
        rolled_back = second.ask(LOG.request(0, 5))
        assert (rolled_back.status_code, rolled_back.text) == (409, "10\n")
        assert second.ask(AddCheckpoint(10, (), LOG.note(5))).status_code == 400
        assert second.ask(Log(fork=4).request(10, 10)).status_code == 409
        assert second.ask(Log(fork=4).request(10, 12)).status_code == 422
        assert second.ask(LOG.request(10, 12)).status_code == 200


@pytest.mark.parametrize(("when", "seen"), [("before", 10), ("after", 12)])
def test_killed_between_the_memory_and_the_answer(tmp_path: Path, when: str, seen: int) -> None:
    """Before its memory is written nothing happened. After it nobody has the cosignature, and the
    log gets it by asking again; another tree of that size is refused all the same."""
    home, witness = witness_at(tmp_path)
    witness.add_checkpoint(LOG.request(0, 10))
    home.store.close()
    died = subprocess.run(
        [sys.executable, "-m", "tests.witness.dying", str(tmp_path), when, "10", "12"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=False,
    )
    assert (died.returncode, died.stdout) == (-signal.SIGKILL, b"")
    home, witness = witness_at(tmp_path)
    with pytest.raises(StaleSize) as caught:
        witness.add_checkpoint(LOG.request(3, 12))
    assert caught.value.size == seen
    [line] = witness.add_checkpoint(LOG.request(seen, 12))
    assert verify_cosignature(LOG.note(12).text, line, home.verifier) > 0
    home.store.close()


def test_a_witness_stops_when_told(tmp_path: Path) -> None:
    with serving(tmp_path, "--name", NAME) as witness:
        assert witness.first.startswith(f"The witness {NAME} listens on http://127.0.0.1:")
        witness.process.send_signal(signal.SIGTERM)
        assert witness.process.wait(15) == 0


def test_the_logs_of_a_file_and_the_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = tmp_path / "logs"
    logs.write_text(f"log {LOG.verifier.text}\n{OTHER.verifier.text}\n")
    with serving(tmp_path / "data", "--name", NAME, "--logs", str(logs)) as witness:
        assert witness.ask(LOG.request(0, 3)).status_code == 200
        assert witness.ask(OTHER.request(0, 7)).status_code == 200
        assert run(["witness", "key", "--data-dir", str(tmp_path / "data")]) == 0
    assert capsys.readouterr().out == f"{witness.key.text}\n"


def test_a_witness_that_knows_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["witness", "serve", "--data-dir", str(tmp_path), "--name", NAME]) == 3
    assert "must know a log" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--log", "--logs"])
def test_logs_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    command = ["witness", "serve", "--data-dir", str(tmp_path / "data"), "--name", NAME]
    assert run([*command, option, "missing"]) == {"--log": 2, "--logs": 3}[option]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_the_key_as_json_and_a_new_witness_without_a_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["witness", "key", "--data-dir", str(tmp_path)]
    assert run(command) == 3
    assert "--name" in capsys.readouterr().err
    assert run([*command, "--name", NAME]) == 0
    text = capsys.readouterr().out.rstrip("\n")
    assert run([*command, "--json"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out) == {"name": NAME, "key": text}
    assert VerifierKey.parse(text).name == NAME
