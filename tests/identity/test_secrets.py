"""The file of the token secret."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from federation_core.errors import SettingsError
from federation_core.identity import load_or_create_secret


def test_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "secret.key"
    secret = load_or_create_secret(path)
    assert len(secret) == 43  # 32 bytes in base64url
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert load_or_create_secret(path) == secret
    assert os.listdir(path.parent) == ["secret.key"]  # noqa: PTH208 - the draft is gone


def test_two_secrets_differ(tmp_path: Path) -> None:
    assert load_or_create_secret(tmp_path / "a") != load_or_create_secret(tmp_path / "b")


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(load_or_create_secret, [path] * 32))) == 1


def test_secret_is_made_private_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_or_create_secret(tmp_path / "secret.key")
    finally:
        os.umask(before)
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600


def test_own_secret_is_taken_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    path.write_text(" my own \n")
    path.chmod(0o400)
    assert load_or_create_secret(path) == " my own "


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o601])
def test_file_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret.key"
    path.write_text("known to all")
    path.chmod(mode)
    with pytest.raises(SettingsError, match=f"run `chmod 600 {path}`"):
        load_or_create_secret(path)


@pytest.mark.parametrize("content", ["", "\n"])
def test_empty_secret_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secret.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="is empty"):
        load_or_create_secret(path)


def test_secret_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    path.write_bytes(b"\xff")
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="cannot be read"):
        load_or_create_secret(path)


def test_pipe_or_directory_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(SettingsError, match="must be a plain file"):
            load_or_create_secret(path)


def test_link_that_leads_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="cannot be read or made"):
        load_or_create_secret(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


def test_place_where_no_file_can_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be read or made"):
        load_or_create_secret(tmp_path / "file" / "secret.key")
