"""Every command of the README does what it says, in a clean clone, as a newcomer types it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
NAME = re.compile(r"\b(datasets|models)/tone-[a-z2-7]{6}\b")


def shell(command: str, directory: Path) -> str:
    """Run what a newcomer types in a directory; return what it prints."""
    ran = subprocess.run(
        ["bash", "-ec", command],
        cwd=directory,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{command}\n{ran.stdout}"
    return ran.stdout


def environment() -> dict[str, str]:
    """A newcomer's: nothing of this test's own environment is active."""
    ours = ("ISOGLOSS_", "VIRTUAL_ENV", "MAKE", "MFLAGS", "UV")
    bare = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    bare["PATH"] = os.pathsep.join(
        part for part in bare["PATH"].split(os.pathsep) if not part.startswith(str(ROOT))
    )
    return bare


def lines(block: str) -> list[str]:
    return [line for line in block.splitlines() if line]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("newcomer")
    first = lines(BLOCKS[0][1])[0]
    shell(first.replace("REPOSITORY", str(ROOT)), home)
    return home / "isogloss"


@pytest.fixture(scope="module")
def suite(clone: Path) -> Iterator[None]:
    install, up = lines(BLOCKS[1][1])
    shell(install, clone)
    with subprocess.Popen(
        ["bash", "-ec", f"source .venv/bin/activate; exec {up}"],
        cwd=clone,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline(), "isogloss up did not start; are its ports taken?"
        yield
        running.send_signal(signal.SIGINT)
        running.communicate()
    assert running.returncode in {0, 130}


def test_the_demo(clone: Path) -> None:
    printed = shell(lines(BLOCKS[0][1])[1], clone)

    figures = json.loads(printed.strip().splitlines()[-1])
    assert figures["finetuned_accuracy"] > figures["baseline_accuracy"] + 0.03
    assert figures["finetuned_neighbor_agreement"] > figures["baseline_neighbor_agreement"] + 0.1
    assert figures["train_seconds"] < figures["total_seconds"]
    assert (clone / "out/demo/before-after.svg").read_text().startswith("<?xml")


@pytest.mark.usefixtures("suite")
def test_the_commands_and_the_client(clone: Path) -> None:
    (kind, commands), (other, program) = BLOCKS[2:4]
    assert (kind, other) == ("sh", "python")
    names: dict[str, str] = {}

    def mine(text: str) -> str:
        return NAME.sub(lambda found: names.get(found[1], found[0]), text)

    activate, *steps = lines(commands)
    for step in steps:
        printed = shell(f"{activate}; {mine(step)}", clone)
        names |= {found[1]: found[0] for found in NAME.finditer(printed) if found[1] not in names}
    vectors = clone / "vectors.npy"
    answer = shell(f"{activate}; python -c '{mine(program)}'", clone)

    assert set(names) == {"datasets", "models"}
    assert vectors.stat().st_size > 150 * 384 * 4
    f1, label, shape = answer.splitlines()
    assert 0.5 < float(f1) <= 1
    assert label in {"negative", "neutral", "positive"}
    assert shape == "(1, 384)"


def test_no_command_is_left_out() -> None:
    assert [kind for kind, _ in BLOCKS] == ["sh", "sh", "sh", "python"]
