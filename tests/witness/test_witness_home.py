"""The directory: a key and its memory belong together, or there is no witness."""

import shutil
from pathlib import Path

import pytest
from tests.witness.witness_helpers import LOG, NAME, witness_at

from federation_core.errors import SettingsError
from federation_core.transparency import VerifierKey
from federation_core.transparency.errors import KeyMalformed
from federation_core.witness import open_home
from federation_core.witness.errors import MemoryUnavailable


def key_of(folder: Path, name: str | None = None) -> VerifierKey:
    home = open_home(folder, name)
    home.store.close()
    return home.verifier


def test_a_witness_is_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "w1"
    key = key_of(folder, NAME)
    assert (key.name, key.algorithm) == (NAME, 0x04)
    assert (folder / "witness.key").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert sorted(p.name for p in folder.iterdir()) == ["witness.db", "witness.key"]
    assert key_of(folder) == key_of(folder, NAME) == key


def test_two_witnesses_have_two_keys(tmp_path: Path) -> None:
    assert key_of(tmp_path / "a", NAME).public != key_of(tmp_path / "b", NAME).public


def test_a_new_witness_needs_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with pytest.raises(SettingsError, match="needs a name"):
        open_home(folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["", "two words", "a+b", "a\nb"])
def test_a_name_that_no_key_may_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyMalformed):
        open_home(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_another_name_for_the_same_key(tmp_path: Path) -> None:
    """A cosignature does not say the name, so one key under two names would speak for both."""
    key_of(tmp_path, NAME)
    with pytest.raises(SettingsError, match="one key has one name"):
        open_home(tmp_path, "witness.example/w2")


def test_a_key_without_its_memory(tmp_path: Path) -> None:
    key_of(tmp_path, NAME)
    (tmp_path / "witness.db").unlink()
    with pytest.raises(SettingsError, match="its memory"):
        open_home(tmp_path, NAME)
    assert not (tmp_path / "witness.db").exists()


def test_a_memory_without_its_key(tmp_path: Path) -> None:
    key_of(tmp_path, NAME)
    (tmp_path / "witness.key").unlink()
    with pytest.raises(SettingsError, match="is gone"):
        open_home(tmp_path, NAME)
    assert not (tmp_path / "witness.key").exists()


def test_the_key_of_another_witness(tmp_path: Path) -> None:
    key_of(tmp_path / "a", NAME)
    key_of(tmp_path / "b", NAME)
    shutil.copy(tmp_path / "b" / "witness.key", tmp_path / "a" / "witness.key")
    with pytest.raises(SettingsError, match="is not the key of"):
        open_home(tmp_path / "a")


def test_an_empty_memory_beside_a_key(tmp_path: Path) -> None:
    """As a crash at the very first start leaves it: nothing was ever cosigned."""
    (tmp_path / "witness.db").touch()
    key = key_of(tmp_path, NAME)
    assert key_of(tmp_path) == key


def test_a_crash_between_memory_and_key(tmp_path: Path) -> None:
    (tmp_path / "witness.db").touch()
    with pytest.raises(SettingsError, match="needs a name"):
        open_home(tmp_path)
    assert key_of(tmp_path, NAME).name == NAME


def test_a_key_that_others_can_read(tmp_path: Path) -> None:
    key_of(tmp_path, NAME)
    (tmp_path / "witness.key").chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        open_home(tmp_path)


def test_a_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be used"):
        open_home(tmp_path / "file", NAME)


def test_a_memory_that_is_none(tmp_path: Path) -> None:
    key_of(tmp_path, NAME)
    (tmp_path / "witness.db").write_bytes(b"x" * 5000)
    with pytest.raises(MemoryUnavailable):
        open_home(tmp_path)


def test_what_was_cosigned_is_remembered_in_the_next_life(tmp_path: Path) -> None:
    home, witness = witness_at(tmp_path)
    witness.add_checkpoint(LOG.request(0, 5))
    home.store.close()
    again, witness = witness_at(tmp_path)
    assert again.verifier == home.verifier
    assert witness.add_checkpoint(LOG.request(5, 9))
    again.store.close()
