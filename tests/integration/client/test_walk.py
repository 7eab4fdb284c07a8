"""A newcomer's first hour, through the command, over the real services and a tiny base."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.client.test_up import free_ports
from tests.tiny_base import write_tiny_base

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

Command = Callable[..., subprocess.CompletedProcess[str]]

COMPLAINTS = ("late", "broken", "lost", "awful", "charged twice")
PRAISE = ("great", "thanks", "perfect", "lovely", "fast")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "train.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for number in range(130):
            writer.writerow([f"my order {number} is {COMPLAINTS[number % 5]}", "negative"])
            writer.writerow([f"my order {number} was {PRAISE[number % 5]}", "positive"])
        writer.writerow(["my order 0 is late", "negative"])
    return path


@pytest.fixture(scope="module")
def isogloss(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    directory = tmp_path_factory.mktemp("suite")
    base = write_tiny_base(directory / "tiny")
    ports = free_ports()
    environment = {
        **os.environ,
        "ISOGLOSS_TRAINER_BASES": json.dumps({"tiny": str(base), "small": ""}),
        "ISOGLOSS_TRAINER_QUANTIZE": "never",
        "OMP_NUM_THREADS": "1",
        **{f"ISOGLOSS_{name.upper()}": f"localhost:{port}" for name, port in ports.items()},
    }
    flags = [f"--{name}-port={port}" for name, port in ports.items()]
    command = [sys.executable, "-m", "isogloss"]
    suite = subprocess.Popen(
        [*command, "up", "--json", "--data", str(directory / "data"), *flags],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert suite.stdout is not None
    assert json.loads(suite.stdout.readline())["addresses"]

    def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments],
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    yield run
    suite.terminate()
    suite.communicate(timeout=60)
    assert suite.returncode == 0


def document(result: subprocess.CompletedProcess[str]) -> Any:  # noqa: ANN401 (JSON)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def dataset(isogloss: Command, rows: Path) -> dict[str, Any]:
    found: dict[str, Any] = document(
        isogloss("datasets", "upload", "tone", "--train", str(rows), "--json")
    )
    return found


@pytest.fixture(scope="module")
def model(isogloss: Command, dataset: dict[str, Any]) -> list[dict[str, Any]]:
    result = isogloss(
        *("models", "create", "tone", "--dataset", dataset["name"], "--base", "tiny"),
        *("--epochs", "2", "--positive-label", "positive", "--watch", "--json"),
    )
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_doctor_is_content(isogloss: Command) -> None:
    assert document(isogloss("doctor", "--json"))["ok"] is True


def test_the_dataset_is_ready_and_its_duplicate_is_found(
    isogloss: Command, dataset: dict[str, Any]
) -> None:
    short = dataset["name"].removeprefix("datasets/")

    findings = isogloss("datasets", "findings", short, "--severity", "dropped")
    [train, *_] = document(isogloss("datasets", "preview", short, "--rows", "1", "--json"))

    assert dataset["state"] == "READY"
    assert sum(dataset["report"]["rows"].values()) == 260
    assert "train\t262\trow dropped\tduplicate" in findings.stdout
    assert set(train["labels"]) == {"negative", "positive"}


def test_the_run_is_watched_from_its_baseline_to_ready(model: list[dict[str, Any]]) -> None:
    steps = [
        update["event"]["detail"]
        for update in model
        if update["event"] and "accuracy" in update["event"]["detail"]
    ]

    assert steps[0]["step"] == 0
    assert len(steps) >= 2
    assert model[-1]["model"]["state"] == "READY"


def test_the_model_is_evaluated_beside_its_baseline(
    isogloss: Command, model: list[dict[str, Any]]
) -> None:
    name = model[-1]["model"]["name"]

    evaluation = document(isogloss("models", "evaluation", name, "--json"))

    assert evaluation["positive_label"] == "positive"
    assert evaluation["row_count"] == sum(c["count"] for c in evaluation["metrics"]["confusion"])
    assert evaluation["baseline"]["labels"]


def test_the_model_classifies_and_embeds(
    isogloss: Command, model: list[dict[str, Any]], rows: Path, tmp_path: Path
) -> None:
    name = model[-1]["model"]["name"]
    vectors = tmp_path / "vectors.npy"

    labels = document(isogloss("classify", "--model", name, "--json", stdin="my order is late\n"))
    isogloss("embed", "--model", name, "--file", str(rows), "--output", str(vectors))

    [result] = labels["results"]
    assert sum(label["confidence"] for label in result["labels"]) == pytest.approx(1.0, abs=1e-4)
    assert result["predictions"][0] == result["labels"][0]
    array = np.load(vectors)
    assert array.shape == (261, model[-1]["model"]["dimension"])
    np.testing.assert_allclose(np.linalg.norm(array, axis=1), 1.0, atol=1e-5)


def test_the_model_explains_itself_by_the_rows_that_it_learnt(
    isogloss: Command, dataset: dict[str, Any], model: list[dict[str, Any]], rows: Path
) -> None:
    name = model[-1]["model"]["name"]
    asked = ("--file", str(rows), "--explain", "1", "--out-of-scope", "--json")

    answer = document(isogloss("classify", "--model", name, *asked))
    [train, *_] = document(
        isogloss("datasets", "preview", dataset["name"], "--rows", "100", "--json")
    )

    assert answer["dataset"] == dataset["name"]
    near = [(result["text"], result["neighbours"][0]) for result in answer["results"]]
    own = [found["similarity"] for text, found in near if found["text"] == text]
    # The others were held out to choose by.
    assert len(own) > len(near) / 2
    assert min(own) > 0.9999
    for place, example in enumerate(train["examples"]):
        texts = [found["text"] for _, found in near if found["row"] == place]
        assert set(texts) <= {example["text"]}
    assert all(0 <= result["out_of_scope"]["score"] <= 1 for result in answer["results"])


def test_the_model_goes_out_comes_back_and_takes_over_a_name(
    isogloss: Command, model: list[dict[str, Any]], tmp_path: Path
) -> None:
    name, bundle = model[-1]["model"]["name"], str(tmp_path / "tone.tar")
    document(isogloss("aliases", "set", "reviews", name, "--preload", "--expect", "0", "--json"))

    refused = isogloss("models", "delete", name)
    document(isogloss("models", "export", name, "--output", bundle, "--json"))
    copy = document(isogloss("models", "import", bundle, "--name", "copy", "--json"))
    before = document(isogloss("classify", "--model", "aliases/reviews", "late", "--json"))
    switched = document(isogloss("aliases", "set", "reviews", copy["name"], "--json"))
    served = before["served_by"]["model"]
    while served == name:
        after = document(isogloss("classify", "--model", "aliases/reviews", "late", "--json"))
        served = after["served_by"]["model"]
    back = document(isogloss("aliases", "rollback", "reviews", "--json"))
    document(isogloss("aliases", "delete", "reviews", "--json"))

    assert refused.returncode == 7
    assert "aliases/reviews" in refused.stderr
    assert (switched["version"], switched["preload"]) == (2, True)
    assert served == copy["name"]
    assert after["results"] == before["results"]
    assert (back["model"], back["version"]) == (name, 3)


def test_the_first_mistakes_have_one_clear_message(
    isogloss: Command, dataset: dict[str, Any], model: list[dict[str, Any]], tmp_path: Path
) -> None:
    name = model[-1]["model"]["name"]
    few = tmp_path / "few.csv"
    few.write_text("text,label\na,b\n")

    results = {
        "refused": isogloss("datasets", "upload", "few", "--train", str(few)),
        "in use": isogloss("datasets", "delete", dataset["name"]),
        "no dataset": isogloss("datasets", "show", "never-was"),
        "no model": isogloss("classify", "--model", "never-was", "text"),
        "no head": isogloss("classify", "--model", "baseModels/tiny", "text"),
        "empty": isogloss("classify", "--model", name, ""),
        "ranges": isogloss(
            *("models", "create", "x", "--dataset", dataset["name"], "--base", "tiny"),
            *("--epochs", "1000", "--batch-size", "1"),
        ),
    }

    assert {what: result.returncode for what, result in results.items()} == {
        "refused": 3,
        "in use": 7,
        "no dataset": 4,
        "no model": 4,
        "no head": 7,
        "empty": 2,
        "ranges": 2,
    }
    for result in results.values():
        assert result.stderr.count("Error: ") == 1
        assert "Traceback" not in result.stderr
    assert "isogloss datasets findings" in results["refused"].stderr
    assert name in results["in use"].stderr
    assert results["ranges"].stderr.count("\n  - ") == 2


def test_what_is_deleted_is_gone(isogloss: Command, model: list[dict[str, Any]]) -> None:
    name = model[-1]["model"]["name"]

    assert isogloss("models", "delete", name).returncode == 0
    assert isogloss("models", "show", name).returncode == 4
