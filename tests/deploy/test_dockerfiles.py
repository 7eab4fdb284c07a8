"""The Dockerfiles, as far as that can be told without a container engine."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.deploy.images import DEPLOY, IMAGES, OTHER_VARIABLES, ROOT, SETTINGS, variables
from tests.engines import unavailable

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HADOLINT = Path(sys.executable).with_name("hadolint")


def test_every_dockerfile_is_known() -> None:
    assert {path.name.split(".")[0] for path in DEPLOY.glob("*.Dockerfile")} == set(IMAGES)


@pytest.mark.parametrize("name", IMAGES)
def test_lint(name: str) -> None:
    file = str(DEPLOY / f"{name}.Dockerfile")
    command = [str(HADOLINT), "--failure-threshold", "style", file]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("name", IMAGES)
def test_runs_as_a_user_of_its_own(name: str) -> None:
    users = [IMAGES[other].last("USER") for other in IMAGES]
    uid, gid = IMAGES[name].last("USER").split(":")
    assert int(uid) == int(gid) >= 10000  # far from what base images and hosts use
    assert users.count(f"{uid}:{gid}") == 1
    made = " ".join(IMAGES[name].all("RUN"))
    assert re.search(rf"(useradd --uid|adduser -u) {uid}\b", made)


@pytest.mark.parametrize("name", IMAGES)
def test_base_images_are_tagged(name: str) -> None:
    image = IMAGES[name]
    defaults = dict(rest.split("=", 1) for rest in image.all("ARG"))
    for base in image.all("FROM"):
        reference = base.split(" AS ")[0]
        for argument, value in defaults.items():
            reference = reference.replace(f"${{{argument}}}", value)
        assert re.fullmatch(r"[a-z]+:\d[\w.-]+", reference), reference


@pytest.mark.parametrize("name", IMAGES)
def test_build_sees_what_it_copies_and_nothing_else(name: str) -> None:
    ignore = (DEPLOY / f"{name}.Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in ignore if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert allowed == set(IMAGES[name].context)
    for source in allowed:
        assert (ROOT / source).exists(), source
    hidden = [rule for rule in rules[1:] if not rule.startswith("!")]
    assert not any(fnmatch.fnmatch(source, rule) for rule in hidden for source in allowed)


@pytest.mark.parametrize("name", SETTINGS)
def test_extra_exists(name: str) -> None:
    image = IMAGES[name]
    extra = re.search(r"--extra (\S+)", image.install)
    assert extra is not None
    default = dict(rest.split("=", 1) for rest in image.all("ARG")).get("EXTRA", name)
    assert extra[1] in {name, "${EXTRA}"}
    assert default == name
    assert name in PROJECT["optional-dependencies"]


def test_other_extra_that_the_documents_name_exists() -> None:
    assert "EXTRA=inference-gpu" in (DEPLOY / "README.md").read_text()
    assert "inference-gpu" in PROJECT["optional-dependencies"]


@pytest.mark.parametrize(("service", "variable"), variables())
def test_every_variable_is_a_setting(service: str, variable: str) -> None:
    prefix = SETTINGS[service].model_config["env_prefix"]
    known = {f"{prefix}{field}".upper() for field in SETTINGS[service].model_fields}
    assert variable in known | OTHER_VARIABLES


@pytest.mark.parametrize("name", SETTINGS)
def test_ports_agree(name: str) -> None:
    image = IMAGES[name]
    port = str(SETTINGS[name].model_fields["address"].default).rpartition(":")[2]
    assert image.last("EXPOSE") == port
    assert image.environment[f"ISOGLOSS_{name.upper()}_ADDRESS"] == f"0.0.0.0:{port}"


@pytest.mark.parametrize("name", SETTINGS)
def test_image_holds_all_that_its_commands_import(name: str, tmp_path: Path) -> None:
    home = IMAGES[name].lay_out(tmp_path)
    for command in IMAGES[name].commands:
        program, *arguments = command
        assert program == "python"
        # From the copy alone: the checkout must not help out.
        ran = subprocess.run(
            [sys.executable, "-W", "error", *arguments, "--help"],
            cwd=home,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_install_takes_the_locked_packages_of_one_service(name: str, tmp_path: Path) -> None:
    uv = os.environ.get("UV") or shutil.which("uv") or ROOT / ".tools/uv/bin/uv"
    if not Path(uv).exists():
        unavailable("the images install with uv, which is not here")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "v"], check=True)
    install = IMAGES[name].install.split("&&")[-1].strip().removeprefix("uv ")
    install = install.replace("/opt/isogloss", str(tmp_path / "v")).replace("${EXTRA}", name)
    ran = subprocess.run(
        [uv, *install.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if ran.returncode != 0 and "error sending request" in ran.stderr:
        unavailable("no package index can be reached")
    assert ran.returncode == 0, ran.stderr
    chosen = dict(re.findall(r"^ \+ (\S+)==(\S+)$", ran.stderr, re.MULTILINE))
    lock = (ROOT / "requirements.lock").read_text()
    # A package may be there more than once, for different versions of Python.
    assert chosen.items() <= set(re.findall(r"^(\S+)==(\S+)", lock, re.MULTILINE))
    assert {"grpcio", "structlog", "minio"} <= chosen.keys()
    dev = {re.split(r"[^\w-]", line)[0] for line in PROJECT["optional-dependencies"]["dev"]}
    assert not chosen.keys() & (dev - {"isogloss", "pyyaml"})  # a hub client asks for pyyaml
    assert ("torch" in chosen) == (name == "trainer")
    assert ("duckdb" in chosen) == (name == "ingest")
