"""Evaluations, maps and comparisons from the client and the command line."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import grpc
import pytest

from isogloss import Client, DeadlineExceeded, Evaluation, EvaluationState, Topic
from isogloss.errors import FailedPrecondition, InvalidArgument
from isogloss.v1 import evaluation_pb2, split_pb2
from tests.integration.client.answers import refusal
from tests.integration.client.running import Run
from tests.integration.client.scripted import MODEL, Scripted
from tests.integration.client.scripted_evaluations import FURTHER, whole_evaluation


@pytest.fixture
def whole(script: Scripted) -> Scripted:
    script.evaluation = whole_evaluation(f"{MODEL}/evaluation")
    script.further = [
        evaluation_pb2.Evaluation(name=FURTHER, state=evaluation_pb2.Evaluation.STATE_RUNNING),
        whole_evaluation(FURTHER),
    ]
    return script


@pytest.mark.usefixtures("whole")
def test_an_evaluation_is_read_whole(client: Client) -> None:
    found = client.models.evaluation(MODEL)

    assert found.state is EvaluationState.READY
    assert found.metrics.accuracy_interval is not None
    assert found.metrics.accuracy_interval.high == 0.99
    assert found.metrics.confusion["bad", "good"] == 5
    assert found.improvement is not None
    assert (found.improvement.gained, found.improvement.lost) == (12, 3)
    assert found.retention == 0.75
    assert found.geometry is not None
    assert found.geometry.silhouette == 0.4
    assert found.learning_curve is not None
    assert found.learning_curve.label_f1_per_doubling == {"good": 0.01, "bad": 0.06}
    assert found.advice[0].topic is Topic.MORE_ROWS
    assert found.worst_errors[0].predicted == ("good",)
    assert found.suspicious_labels[0].suggested == ("bad",)
    assert found.baseline_geometry is not None


def test_an_evaluation_is_asked_for_and_waited_for(client: Client, whole: Scripted) -> None:
    queued = client.models.evaluate(MODEL, dataset="datasets/d", split="test")
    found = client.models.wait_for_evaluation(queued, timeout=20)
    again = client.models.evaluation(found)

    (asked,) = whole.asked("EvaluateModel")
    assert asked.split == split_pb2.SPLIT_TEST
    assert asked.request_id
    assert queued.state is EvaluationState.QUEUED
    assert queued.baseline is None
    assert found.state is EvaluationState.READY
    assert again.name == FURTHER


def test_waiting_ends_with_the_time_and_with_a_failure(client: Client, script: Scripted) -> None:
    with pytest.raises(DeadlineExceeded, match="still running"):
        client.models.wait_for_evaluation(FURTHER, timeout=0.1)

    failed = script.further[0]
    failed.state = evaluation_pb2.Evaluation.STATE_FAILED
    failed.error.CopyFrom(
        refusal(
            grpc.StatusCode.FAILED_PRECONDITION, "datasets/d is gone.", reason="EVALUATION_FAILED"
        )
    )
    with pytest.raises(FailedPrecondition, match="is gone"):
        client.models.wait_for_evaluation(FURTHER)


def test_all_pages_of_evaluations_are_given(client: Client, whole: Scripted) -> None:
    found = list(client.models.evaluations(MODEL))
    client.models.delete_evaluation(found[0])

    assert [each.name for each in found] == [FURTHER, FURTHER]
    assert all(isinstance(each, Evaluation) for each in found)
    assert whole.asked("DeleteEvaluation")[0].name == FURTHER


def test_a_split_that_is_none_is_refused_before_the_call(client: Client, script: Scripted) -> None:
    with pytest.raises(InvalidArgument, match="split"):
        client.models.compare([MODEL, "models/b"], split="dev")

    assert script.asked("CompareModels") == []


@pytest.mark.usefixtures("whole")
@pytest.mark.parametrize("terminal", [False, True], ids=["piped", "terminal"])
def test_the_evaluation_tells_gain_advice_and_confidence(run: Run, *, terminal: bool) -> None:
    shown = run("models", "evaluation", "x", "--errors", terminal=terminal).stdout

    assert "late [again]" in shown
    assert "never again" in shown
    if terminal:
        assert "+9.0 points of accuracy" in shown
        assert "12 rows gained, 3 lost" in shown
        assert "More rows [of a] would help." in shown
        assert "more than chance" in shown
        assert "80.0 % → 90.0 % of the rows, silhouette 0.20 → 0.40; 0.75 of its order" in shown
        assert "by training rows: 300: 83.0 %" in shown
        # The worst label comes first.
        assert shown.index("bad ") < shown.index("good ")
    else:
        assert "accuracy\t0.8300\t0.9200\t+0.0900" in shown


def test_an_evaluation_is_deleted_by_its_name_and_the_model_stays(
    run: Run, script: Scripted
) -> None:
    run("models", "delete", FURTHER)

    assert [asked.name for asked in script.asked("DeleteEvaluation")] == [FURTHER]
    assert script.asked("DeleteModel") == []


@pytest.mark.usefixtures("whole")
def test_the_confusion_matrix_becomes_a_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "confusion.csv"

    run("models", "evaluation", "x", "--confusion-csv", str(file))

    with file.open(newline="") as opened:
        assert list(csv.reader(opened)) == [
            ["true label", "good", "bad"],
            ["good", "57", "3"],
            ["bad", "5", "35"],
        ]


def test_evaluate_waits_and_shows_or_names_what_it_began(run: Run, whole: Scripted) -> None:
    shown = run("models", "evaluate", "x", "--dataset", "d", "--split", "test").stdout
    begun = run("models", "evaluate", "x", "--dataset", "d", "--no-wait", "--json").stdout

    assert "accuracy\t0.8300\t0.9200" in shown
    assert json.loads(begun)["state"] == "QUEUED"
    assert [asked.dataset for asked in whole.asked("EvaluateModel")] == ["datasets/d"] * 2


@pytest.mark.parametrize("terminal", [False, True], ids=["piped", "terminal"])
def test_a_comparison_names_both_models(run: Run, script: Scripted, *, terminal: bool) -> None:
    shown = run("models", "compare", "a", "b", "--dataset", "d", terminal=terminal).stdout

    (asked,) = script.asked("CompareModels")
    assert (list(asked.models), asked.dataset) == (["models/a", "models/b"], "datasets/d")
    expected = "models/b against models/a:" if terminal else "models/a\tmodels/b\t+0.0900"
    assert expected in shown


def test_the_map_is_a_page_that_runs_and_fetches_nothing(
    run: Run, script: Scripted, tmp_path: Path
) -> None:
    script.projection.labels[0] = 'go"od'
    file = tmp_path / "map.html"

    run("models", "projection", "x", "--output", str(file))
    page = file.read_text(encoding="utf-8")

    assert page.count("<circle") == 1
    assert "&lt;b&gt;it&#x27;s late&lt;/b&gt;" in page
    assert "go&quot;od" in page
    assert re.findall(r"<script|https?://|<b>", page) == []
    assert 'class="l1 wrong"' in page


def test_the_card_is_shown_or_written(run: Run, script: Scripted, tmp_path: Path) -> None:
    file = tmp_path / "MODEL_CARD.md"

    shown = run("models", "card", "x").stdout
    run("models", "card", "x", "--output", str(file))

    assert {asked.name for asked in script.asked("GetModelCard")} == {"models/x/card"}
    # Whoever wrote the card does not steer the terminal.
    assert shown.startswith("# Tone\n\n- ")
    assert "\x1b" not in shown
    assert file.read_text(encoding="utf-8") == "# Tone\n\n- \x1b[2Jgood\n"


def test_the_map_is_told_in_lines_and_as_a_document(run: Run) -> None:
    lines = run("models", "projection", "x").stdout.splitlines()
    document = json.loads(run("models", "projection", "x", "--json").stdout)

    assert lines[1].split("\t")[:4] == ["3", "bad", "good", "1.000"]
    assert document["points"][0]["after"] == [0.0, -1.0]
