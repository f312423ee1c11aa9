"""An error is one sentence, a JSON value where that was asked for, and an exit status."""

import msgspec
import pytest
import typer
from tests.cli.cli_helpers import Fedcore

from federation_core.cli.errors import report, status_of
from federation_core.client import ApiError, ServerUnreachable
from federation_core.errors import (
    Conflict,
    FieldError,
    IntegrityError,
    InvalidInput,
    LedgerUnavailable,
    SettingsError,
)


def api_error(status: int) -> ApiError:
    return ApiError(status, {"detail": "No.", "code": "no"})


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Conflict("No."), 1),
        (InvalidInput("No."), 1),
        *((api_error(status), 1) for status in (400, 401, 403, 404, 409, 413, 422, 429)),
        (typer.BadParameter("No"), 2),
        (SettingsError("No."), 3),
        (LedgerUnavailable("No."), 3),
        (ServerUnreachable("No."), 3),
        (api_error(500), 3),
        (api_error(503), 3),
        (PermissionError(13, "Permission denied", "file"), 3),
        (RuntimeError("a mistake of ours"), 3),
        (IntegrityError("No."), 4),
        (typer.Abort(), 130),
    ],
)
def test_who_has_to_act_decides_the_exit_status(error: Exception, status: int) -> None:
    assert status_of(error) == status


def test_an_error_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(Conflict("The gate is closed."), as_json=False) == 1
    assert capsys.readouterr() == ("", "Error: The gate is closed.\n")


def test_programs_get_the_error_too(capsys: pytest.CaptureFixture[str]) -> None:
    report(Conflict("The gate is closed.", code="gate_not_pending"), as_json=True)
    out, err = capsys.readouterr()
    error = {"code": "gate_not_pending", "message": "The gate is closed.", "errors": []}
    assert msgspec.json.decode(out) == {"error": error}
    assert err == "Error: The gate is closed.\n"


def test_several_mistakes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    errors = [FieldError("/a", "is missing"), FieldError("/b\x1b", "is wrong")]
    report(InvalidInput("The body is refused.", errors=errors), as_json=False)
    expected = "Error: The body is refused.\n  /a: is missing\n  /b\\x1b: is wrong\n"
    assert capsys.readouterr().err == expected


def test_a_server_cannot_write_control_codes_through_its_refusal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report(ApiError(403, {"detail": "\x1b]0;owned\x07 No."}), as_json=False)
    assert capsys.readouterr().err == "Error: \\x1b]0;owned\\x07 No.\n"


def test_a_mistake_of_ours_shows_no_traceback_unless_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError("boom")
    report(error, as_json=False)
    told = "Error: RuntimeError: boom. Set FEDCORE_TRACEBACK=1 to see where.\n"
    assert capsys.readouterr().err == told
    monkeypatch.setenv("FEDCORE_TRACEBACK", "1")
    report(error, as_json=False)
    assert capsys.readouterr().err == f"RuntimeError: boom\n{told}"


def test_a_file_that_cannot_be_read_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    report(PermissionError(13, "Permission denied", "secret.key"), as_json=False)
    assert capsys.readouterr().err == "Error: secret.key: Permission denied.\n"


USAGE = {
    "nonsense": "No such command 'nonsense'; see `fedcore --help`.",
    "runs wach": "No such command 'wach'. Did you mean 'watch'? See `fedcore runs --help`.",
    "gate list": "No such command 'gate'. Did you mean 'gates'? See `fedcore --help`.",
    "runs start": "Missing argument 'WORKFLOW'; see `fedcore runs start --help`.",
    "runs list --limit many": "Invalid value for '--limit': Input should be a valid integer, ",
    "runs start pay --input {": "Invalid value for --input: it is not JSON: Expecting property ",
    "runs start pay --input []": "Invalid value for --input: it must be a JSON object, ",
    "runs start pay --input @x": "Invalid value: x cannot be read: No such file or directory;",
    "gates approve": "Invalid value: name gates, or choose by --all, --mine, ",
    "gates approve 1 --all": "Invalid value: name gates or choose them, not both;",
    "schedule add wf x --catch-up al": "Invalid value for '--catch-up': 'al' is not one of ",
}


@pytest.mark.parametrize("line", USAGE)
def test_wrong_usage_says_what_would_be_right(
    line: str, fedcore: Fedcore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDCORE_SECRET_KEY", "s" * 32)
    result = fedcore(*line.split())
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith(f"Error: {USAGE[line]}")
    assert result.err.endswith(" --help`.\n")
    assert result.err.count("\n") == 1


def test_programs_get_wrong_usage_too(fedcore: Fedcore) -> None:
    result = fedcore("runs", "start", "--json")
    assert result.status == 2
    assert result.json["error"]["code"] == "usage"
