"""Restate's library is an extra: without it everything else works, and its engine says so."""

import subprocess
import sys
from pathlib import Path

WITHOUT = """
import importlib, pkgutil, sys
sys.modules["restate"] = None

import federation_core
AROUND = (
    "federation_core.api.restate",  # the one that needs it
    "federation_core.__main__",
    "federation_core.ledger.migrations",  # not to be imported by anybody but Alembic
)
for module in pkgutil.walk_packages(federation_core.__path__, "federation_core."):
    if not module.name.startswith(AROUND):
        importlib.import_module(module.name)

import asyncio
from federation_core.app import serve
from federation_core.errors import SettingsError
from federation_core.settings import load_settings
settings = load_settings({"data_dir": sys.argv[1], "engine": "restate", "dev": True}, {})
try:
    asyncio.run(serve(settings))
except SettingsError as e:
    print(e.detail)
"""


def test_without_the_library(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (
        "The engine 'restate' needs Restate's library; pip install 'federation-core[restate]', or "
        "use the engine 'local'."
    )
