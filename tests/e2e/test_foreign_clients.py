"""The Go and the Node example client walk from a file to answers, over TLS and with a key."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from isogloss import Client
from isogloss.connection import Service
from tests.engines import free_ports, unavailable
from tests.processes import ServiceProcess
from tests.tiny_base import write_tiny_base

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "examples" / "clients"
TONE = ROOT / "examples" / "tone" / "train.csv"
ROWS = 300  # enough for every default minimum, and a run of seconds
TEXTS = [
    'They said "tomorrow", and it came today.',
    "Wo bleibt mein Päckchen?",
    "Locked out AGAIN.",
]
SERVICES: tuple[Service, ...] = ("ingest", "trainer", "inference")
_START_SECONDS = 300
_WALK_SECONDS = 500
"""For one client, training included: half a minute alone, minutes on a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A running suite and how to get in."""

    addresses: Mapping[Service, str]
    ca: Path
    key: str

    @property
    def environment(self) -> dict[str, str]:
        """What a client program needs in its environment."""
        return {
            **{f"ISOGLOSS_{name.upper()}": address for name, address in self.addresses.items()},
            "ISOGLOSS_TLS_CA": str(self.ca),
            "ISOGLOSS_API_KEY": self.key,
        }

    def client(self) -> Client:
        return Client(
            ingest=self.addresses["ingest"],
            trainer=self.addresses["trainer"],
            inference=self.addresses["inference"],
            tls_ca=self.ca,
            api_key=self.key,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A client that was built."""

    command: tuple[str, ...]

    def run(
        self, *arguments: str | Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        bare = {k: v for k, v in os.environ.items() if not k.startswith("ISOGLOSS_")}
        return subprocess.run(
            [*self.command, *map(str, arguments)],
            env={**bare, **environment},
            capture_output=True,
            encoding="utf-8",
            timeout=_WALK_SECONDS,
            check=False,
        )


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    folder = tmp_path_factory.mktemp("suite")
    secrets = folder / "secrets"
    subprocess.run([ROOT / "deploy" / "make-secrets.sh", secrets], check=True, capture_output=True)
    addresses = {
        name: f"localhost:{port}" for name, port in zip(SERVICES, free_ports(3), strict=True)
    }
    suite = Suite(
        addresses=addresses,
        ca=secrets / "ca.pem",
        key=(secrets / "api_key").read_text().strip(),
    )
    with contextlib.ExitStack() as running:
        services = [_service(name, addresses[name], folder, secrets) for name in SERVICES]
        for service in services:
            running.callback(service.stop)
            service.start()
        for service in services:
            service.wait_until_healthy()
        yield suite


@pytest.fixture(scope="module", params=["go", "node"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    language: str = request.param
    needed = {"go": "go", "node": "npm"}[language]
    if shutil.which(needed) is None:
        unavailable(f"the {language} client needs {needed}, which is not on the PATH")
    _build([sys.executable, "-m", "tools.clients", language], ROOT)
    home = CLIENTS / language
    if language == "go":
        binary = tmp_path_factory.mktemp("go") / "isogloss-example"
        _build(["go", "vet", "./..."], home)
        _build(["go", "build", "-o", str(binary), "."], home)
        return Program(command=(str(binary),))
    _build(["npm", "run", "build"], home)
    return Program(command=("node", str(home / "dist" / "src" / "main.js")))


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "messages.csv"
    with TONE.open(encoding="utf-8", newline="") as rows:
        file.write_text("".join(islice(rows, 1 + ROWS)), encoding="utf-8")
    return file


def test_walks_from_a_file_to_answers(program: Program, suite: Suite, messages: Path) -> None:
    options = ("--base", "baseModels/tiny", "--epochs", "2")
    ran = program.run(*options, messages, *TEXTS, environment=suite.environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr

    lines = ran.stdout.splitlines()
    states = [line.partition(": ")[2] for line in lines if re.match(r"(datasets|models)/", line)]
    assert states[0] == f"uploaded {messages.stat().st_size} bytes"
    dataset_states, model_states = _cut(states[1:])
    assert dataset_states[-1] == "READY"
    assert model_states[-1] == "READY"
    assert "TRAINING" in model_states
    _check_metrics(lines)

    model = next(line.partition(":")[0] for line in lines if line.startswith("models/"))
    with suite.client() as client:
        classifications = client.classify(model, TEXTS)
        embeddings = np.asarray(client.embed(model, TEXTS))
    said = _answers(lines)
    assert [text for text, _ in said] == 2 * TEXTS
    for (_, answer), expected in zip(said, classifications, strict=False):
        scores = {label: float(score) for label, score in (line.split() for line in answer)}
        assert list(scores) == [label.label for label in expected.labels]
        for label in expected.labels:
            assert scores[label.label] == pytest.approx(label.confidence, abs=1e-4)
    for (_, answer), vector in zip(said[len(TEXTS) :], embeddings, strict=True):
        found = re.fullmatch(r"(\d+) numbers: \[(.*)\] \.\.\.  cosine .*: (\S+)", answer[0])
        assert found is not None
        assert int(found[1]) == len(vector)
        assert [float(n) for n in found[2].split()] == pytest.approx(vector[:4].tolist(), abs=2e-6)
        assert float(found[3]) == pytest.approx(float(vector @ embeddings[0]), abs=1e-4)


def test_tells_every_violation(program: Program, suite: Suite, tmp_path: Path) -> None:
    small = tmp_path / "small.csv"
    small.write_text("text,label\nToo few.,negative\nAnd one label.,negative\n")
    ran = program.run(small, "A text.", environment=suite.environment)
    assert ran.returncode == 1
    name = ran.stdout.partition(":")[0]
    with suite.client() as client:
        refused = client.datasets.get(name).error
    assert refused is not None
    assert len(refused.violations) > 1
    assert refused.message in ran.stderr
    assert f"reason: {refused.reason}" in ran.stderr
    for violation in refused.violations:
        assert f"  {violation.field}: {violation.description}" in ran.stderr


def test_without_a_key_is_told_what_is_missing(program: Program, suite: Suite) -> None:
    environment = suite.environment | {"ISOGLOSS_API_KEY": ""}
    ran = program.run(TONE, "A text.", environment=environment)
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: Unauthenticated: ")
    assert "reason: CREDENTIALS_MISSING" in ran.stderr


def _check_metrics(lines: list[str]) -> None:
    """See that the metrics begin with the untrained baseline and are numbers in their range."""
    names = ("loss", "accuracy", "precision", "recall", "f1")
    form = r"  step +(\d+)" + "".join(rf"  {name} (\d+\.\d+)" for name in names)
    points = [found.groups() for found in (re.fullmatch(form, line) for line in lines) if found]
    assert len(points) >= 10
    steps = [int(step) for step, *_ in points]
    assert steps[0] == 0
    assert steps == sorted(set(steps))
    assert all(0 <= float(value) <= 1 for _, _, *values in points for value in values)
    assert len({loss for _, loss, *_ in points}) > 1


def _cut(states: list[str]) -> tuple[list[str], list[str]]:
    """Divide the states into the dataset's and the model's."""
    end = states.index("READY") + 1
    return states[:end], states[end:]


def _answers(lines: list[str]) -> list[tuple[str, list[str]]]:
    """Return each quoted text with the lines below it, unindented."""
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith('"'):
            found.append((line[1:-1].replace('\\"', '"'), []))
        elif found and line.startswith("  "):
            found[-1][1].append(line.strip())
    return found


def _build(command: list[str], folder: Path) -> None:
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{' '.join(command)}:\n{ran.stdout}{ran.stderr}"


def _service(name: Service, address: str, folder: Path, secrets: Path) -> ServiceProcess:
    settings: dict[str, object] = {
        "DATA_DIRECTORY": str(folder / "data"),
        "TLS_CERTIFICATE": str(secrets / f"{name}.pem"),
        "TLS_KEY": str(secrets / f"{name}_key.pem"),
        "API_KEYS_FILE": str(secrets / "api_keys.toml"),
    }
    if name == "trainer":
        # The tiny base is random: the clients are what is tested here, not the models.
        base = write_tiny_base(folder / "tiny")
        settings |= {"BASES": {"tiny": str(base), "small": ""}, "RUN_THREADS": 1}
    return ServiceProcess(
        name=name,
        address=address,
        log=folder / f"{name}.log",
        settings=settings,
        probe={"ISOGLOSS_TLS_CA": str(secrets / "ca.pem")},
    )
