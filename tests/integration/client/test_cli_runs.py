"""Runs on the command line: steered, followed and looked back at."""

from __future__ import annotations

import json

import pytest

from isogloss.cli.training_view import sparkline
from tests.integration.client.running import Run
from tests.integration.client.scripted import MODEL, Model, Scripted, event, model
from tests.integration.client.test_cli import HISTORY


def test_a_model_that_is_not_started_is_resumed_next(run: Run, script: Scripted) -> None:
    result = run("models", "create", "tone", "--dataset", "d", "--no-start", terminal=True)

    [request] = script.asked("CreateModel")
    assert request.HasField("auto_start")
    assert not request.auto_start
    assert f"isogloss models resume {MODEL}" in result.stderr


def test_what_is_paused_cannot_be_watched_to_its_end(run: Run) -> None:
    assert run("models", "create", "tone", "--dataset", "d", "--no-start", "--watch").exit_code == 2


def test_a_pause_that_is_under_way_is_told(run: Run) -> None:
    result = run("models", "pause", "x")

    assert f"{MODEL} stops at its next step." in result.stderr


def test_a_resumed_model_tells_its_place(run: Run) -> None:
    assert "queued, place 3 in the queue" in run("models", "resume", "x").stderr


def test_an_update_needs_something_to_change(run: Run, script: Scripted) -> None:
    assert run("models", "update", "x").exit_code == 2

    run("models", "update", "x", "--webhook", "")
    [request] = script.asked("UpdateModel")
    assert list(request.update_mask.paths) == ["webhook_uri"]


def test_a_list_is_narrowed(run: Run, script: Scripted) -> None:
    run(
        *("models", "list", "--state", "queued", "--state", "paused", "--query", "to"),
        *("--dataset", "d", "--base", "small"),
    )

    [request] = script.asked("ListModels")
    assert list(request.states) == [Model.STATE_QUEUED, Model.STATE_PAUSED]
    assert (request.query, request.dataset, request.base_model) == (
        "to",
        "datasets/d",
        "baseModels/small",
    )


def test_a_state_that_is_none_is_refused_with_the_choices(run: Run) -> None:
    result = run("models", "list", "--state", "sleeping")

    assert result.exit_code != 0
    assert "`PAUSED`" in result.stderr


def test_the_end_is_in_the_events_whatever_their_number(run: Run, script: Scripted) -> None:
    script.events = HISTORY

    lines = run("models", "events", "x").stdout.splitlines()

    assert len(lines) == 1 + len(HISTORY)
    assert "READY" in lines[-1]
    assert "info: checkpoint [written]" in lines[-2]


def test_measurements_are_a_table(run: Run, script: Scripted) -> None:
    script.events = HISTORY

    lines = run("models", "metrics", "x").stdout.splitlines()

    assert lines[0].split("\t")[:3] == ["step", "epoch", "loss"]
    assert [line.split("\t")[0] for line in lines[1:]] == ["0", "10"]
    assert "untrained" in run("models", "metrics", "x", terminal=True).stdout


def test_nothing_measured_is_said(run: Run) -> None:
    assert "Nothing was measured yet." in run("models", "metrics", "x").stderr


def test_who_waits_sees_its_place_and_later_the_curves(run: Run, script: Scripted) -> None:
    waits = event(1, state=Model.STATE_QUEUED)
    waits.model.CopyFrom(model(Model.STATE_QUEUED))
    waits.model.queue_position = 4
    moved = event(1, state=Model.STATE_QUEUED)
    moved.CopyFrom(waits)
    moved.ClearField("event")
    moved.model.queue_position = 2
    script.events = [waits, moved, *HISTORY]

    plain = run("models", "watch", "x").stdout
    drawn = run("models", "watch", "x", terminal=True).stdout

    assert "place 2 in the queue" in plain
    assert "▅▅" in drawn


def test_an_estimate_is_told_without_false_exactness(run: Run, script: Scripted) -> None:
    waiting = model(Model.STATE_PAUSED)
    waiting.estimate.duration.FromSeconds(754)
    waiting.estimate.peak_memory_bytes = 1_730_000_000
    waiting.estimate.total_steps = 225
    script.models = [waiting]

    shown = run("models", "show", "x").stdout
    document = json.loads(run("models", "show", "x", "--json").stdout)

    assert "about 13 min in 225 steps, and up to 1.73 GB of memory" in shown
    assert document["estimate"]["seconds"] == 754


@pytest.mark.parametrize(
    ("numbers", "drawn"),
    [([1.0, 2.0, 3.0], "▁▅█"), ([3.0, 1.0], "█▁"), ([2.0, 2.0], "▅▅")],
)
def test_bars_span_from_the_least_to_the_most(numbers: list[float], drawn: str) -> None:
    assert sparkline(numbers) == drawn


def test_a_list_shows_places_in_the_queue(run: Run, script: Scripted) -> None:
    waiting = model(Model.STATE_QUEUED)
    waiting.queue_position = 7
    script.models = [waiting, model()]

    states = [line.split("\t")[2] for line in run("models", "list").stdout.splitlines()[1:]]

    assert states == ["QUEUED #7", "READY"]
