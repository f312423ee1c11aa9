"""What others wrote cannot play with the terminal of whoever reads it."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from federation_core.cli.output import Output
from federation_core.cli.tables import cell, facts, fixed, folded, table
from federation_core.cli.text import clean, clean_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("refund", "refund"),
        ("Zahlung über 5 € – größer 🙂", "Zahlung über 5 € – größer 🙂"),
        ("\x1b[2J\x1b[1;1H", "\\x1b[2J\\x1b[1;1H"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("one\r\ntwo\ttab", "one\\r\\ntwo\\ttab"),
        ("user\u202egnp.exe", "user\\u202egnp.exe"),
        ("\u2066hidden\u2069", "\\u2066hidden\\u2069"),
        ("half \ud800", "half \\ud800"),
    ],
)
def test_control_characters_are_shown_and_not_obeyed(text: str, shown: str) -> None:
    assert clean(text) == shown


@settings(deadline=None)
@given(st.text())
def test_clean_text_is_one_line_that_can_be_written(text: str) -> None:
    result = clean(text)
    result.encode()
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in result)
    assert clean(result) == result


def test_lines_stay_lines() -> None:
    assert clean_lines("a:1:2: one\x1b\nb:3:4: two") == "a:1:2: one\\x1b\nb:3:4: two"


@settings(deadline=None, max_examples=25)
@given(st.text(max_size=50))
def test_no_part_of_a_command_lets_control_characters_through(text: str) -> None:
    console = Console(width=60, force_terminal=False, color_system=None)
    output = Output(as_json=False)
    output.console = console
    rows = [[text, cell(text)]]
    with console.capture() as captured:
        for part in (table([fixed("A"), folded("B")], rows), facts([("C", text)])):
            console.print(part)
    assert not any(unicodedata.category(c) == "Cc" and c != "\n" for c in captured.get())


def test_brackets_are_text_and_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=False)
    output.show(None, "[red]not red[/red] :warning:", table([folded("X")], [["[bold]b"]]))
    assert capsys.readouterr().out == "[red]not red[/red] :warning:\nX\n[bold]b\n"
