"""The file of a signing key's seed."""

from base64 import b64encode, urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from federation_core.errors import SettingsError
from federation_core.identity.signing_keys import load_or_create_seed

SEED = bytes(range(224, 256))  # both alphabets differ on it


def keep(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_seed_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "log.key"
    seed = load_or_create_seed(path)
    assert len(seed) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_create_seed(path) == seed
    assert load_or_create_seed(tmp_path / "other.key") != seed


def test_those_that_start_together_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(load_or_create_seed, [tmp_path / "log.key"] * 16))) == 1


@pytest.mark.parametrize(
    "text",
    [b64encode(SEED).decode(), urlsafe_b64encode(SEED).decode()],
    ids=["standard", "for-addresses"],
)
@pytest.mark.parametrize("end", ["", "\n"], ids=["bare", "newline"])
def test_a_seed_of_ones_own(tmp_path: Path, text: str, end: str) -> None:
    assert load_or_create_seed(keep(tmp_path / "a", text + end)) == SEED
    assert load_or_create_seed(keep(tmp_path / "b", text.rstrip("=") + end)) == SEED


@pytest.mark.parametrize(
    "text",
    [
        b64encode(bytes(31)).decode(),
        b64encode(bytes(33)).decode(),
        b64encode(bytes(64)).decode(),
        SEED.hex(),
        b64encode(SEED).decode() + "=",
        b64encode(SEED).decode()[:-2],
        b64encode(SEED).decode() + "\nmore",
        " " + b64encode(SEED).decode(),
        "=" * 44,
        "!" * 43,
        "\u00e9" * 43,
    ],
    ids=[
        *["31", "33", "64", "hex", "padding", "cut", "lines", "space", "padding-only", "signs"],
        "letters",
    ],
)
def test_what_is_no_seed(tmp_path: Path, text: str) -> None:
    path = keep(tmp_path / "log.key", text)
    with pytest.raises(SettingsError, match="must hold the 32 bytes") as caught:
        load_or_create_seed(path)
    assert text not in caught.value.detail
    assert path.read_text() == text


def test_a_seed_that_others_can_read(tmp_path: Path) -> None:
    path = keep(tmp_path / "log.key", b64encode(SEED).decode())
    path.chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        load_or_create_seed(path)


def test_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is empty"):
        load_or_create_seed(keep(tmp_path / "log.key", ""))
