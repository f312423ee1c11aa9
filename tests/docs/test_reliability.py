"""The page about faults says what was counted, no more and no less."""

import json
from pathlib import Path

import pytest
from tests.docs.test_documentation import ROOT, names_in
from tests.faults.report import BEGIN, END, FAULTS, PAGE, Campaign, load, placed, table

ONE = Campaign("kill", "each | one", "tests/a.py::test_b", "sqlite", "local", 2, 3_000, 4, 0, 1)


def test_the_page_has_what_was_counted() -> None:
    page = PAGE.read_text("utf-8")
    assert page == placed(page, table(load())), "run python -m tests.faults.report"


def test_every_test_that_counted_exists() -> None:
    for campaign in load():
        path, _, name = campaign.test.partition("::")
        if path.startswith("tests/"):
            assert (ROOT / path).exists(), campaign.test
            assert not name or name.partition("[")[0] in names_in(ROOT / path), campaign.test


def test_a_campaign_is_a_row_with_its_numbers() -> None:
    told = table([ONE])
    assert (
        f"| {FAULTS['kill']} | each / one | `tests/a.py::test_b` | sqlite, local "
        "| 2 | 3,000 | 4 | 0 | 1 |"
    ) in told


def test_a_fault_without_a_campaign_says_so() -> None:
    assert table([]).count("no count here") == len(FAULTS)
    assert table([ONE]).count("no count here") == len(FAULTS) - 1


def test_a_fault_that_the_page_does_not_know_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    fields = {name: getattr(ONE, name) for name in ONE.__struct_fields__}
    path.write_text(json.dumps([fields]))
    assert load(path) == [ONE]
    path.write_text(json.dumps([fields | {"fault": "gremlins"}]))
    with pytest.raises(ValueError, match="no fault 'gremlins'"):
        load(path)


@pytest.mark.parametrize(
    "page", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"]
)
def test_a_page_with_other_marks_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="needs one"):
        placed(page, "")
