from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import status_pb2
from grpc_health.v1.health_pb2 import HealthCheckResponse
from pyarrow import parquet

from isogloss.v1 import dataset_pb2, finding_pb2, split_pb2
from isogloss.v1.precision_pb2 import Precision
from tests.integration.client.answers import bad_request, refusal
from tests.integration.client.running import Run
from tests.integration.client.scripted import MODEL, Model, Scripted, Suite, event, vector_of
from tests.integration.client.scripted_datasets import DATASET, Dataset

ANSI = "\x1b["


@pytest.fixture
def train(tmp_path: Path) -> Path:
    path = tmp_path / "train.csv"
    path.write_text("text,label\nMy order was late,negative\n")
    return path


def ready() -> Dataset:
    return Dataset(
        name=DATASET,
        display_name="tone",
        state=Dataset.STATE_READY,
        report=dataset_pb2.DatasetReport(
            splits=[dataset_pb2.SplitSize(split=split_pb2.SPLIT_TRAIN, row_count=600)],
            label_count=3,
            warnings=["Mind the [imbalance]."],
            removed_labels=["rare"],
            findings=[
                finding_pb2.FindingCount(
                    code="duplicate", severity=finding_pb2.Finding.SEVERITY_ROW_DROPPED, count=12
                )
            ],
        ),
    )


HISTORY = [
    event(1, state=Model.STATE_TRAINING),
    event(2, step=0),
    event(3, step=10),
    event(4, line="checkpoint [written]"),
    event(5, state=Model.STATE_READY, current=Model.STATE_READY),
]


def script_all(script: Scripted) -> None:
    script.dataset.CopyFrom(ready())
    script.events = list(HISTORY)
    script.findings = [
        finding_pb2.Finding(
            split=split_pb2.SPLIT_TRAIN,
            line=7,
            code="duplicate",
            severity=finding_pb2.Finding.SEVERITY_ROW_DROPPED,
            message="As line 2.",
            excerpt="My [order]",
        )
    ]
    for metrics, accuracy in ((script.evaluation.metrics, 0.9), (script.evaluation.baseline, 0.7)):
        metrics.accuracy = accuracy
        metrics.labels.add(label="a[b]", f1=accuracy, support=3)
        metrics.labels.add(label="c", f1=accuracy, support=2)
        metrics.confusion.add(actual=0, predicted=0, count=3)
        metrics.confusion.add(actual=1, predicted=0, count=2)


EVERY = [
    ["datasets", "list"],
    ["datasets", "show", "x"],
    ["datasets", "preview", DATASET],
    ["datasets", "findings", DATASET],
    ["datasets", "diff", DATASET, "other"],
    ["datasets", "update", DATASET, "--name", "new"],
    ["datasets", "usage"],
    ["datasets", "import", "tone", "--train", "s3://exports/train.csv"],
    ["datasets", "delete", DATASET],
    ["models", "bases"],
    ["models", "create", "tone", "--dataset", "x"],
    ["models", "list"],
    ["models", "show", "x"],
    ["models", "pause", "x"],
    ["models", "resume", "x"],
    ["models", "update", "x", "--name", "new", "--webhook", "https://hooks.example/x"],
    ["models", "events", "x", "--kind", "log_line"],
    ["models", "metrics", "x"],
    ["models", "cancel", "x"],
    ["models", "delete", "x"],
    ["models", "evaluation", "x"],
    ["models", "evaluation", "models/x/evaluations/aaaabbbbcccc"],
    ["models", "evaluate", "x", "--dataset", "d", "--no-wait"],
    ["models", "evaluations", "x"],
    ["models", "compare", "x", "y"],
    ["models", "projection", "x"],
    ["models", "card", "x"],
    ["aliases", "set", "reviews", "x", "--preload", "--expect", "5"],
    ["aliases", "get", "reviews"],
    ["aliases", "list"],
    ["aliases", "history", "reviews"],
    ["aliases", "rollback", "reviews", "--to", "2"],
    ["aliases", "delete", "reviews"],
    ["embed", "--model", "x", "one [text]"],
    ["classify", "--model", "x", "one [text]"],
    ["tokenize", "--model", "x", "one [text]"],
    ["status"],
    ["doctor"],
    ["version"],
]


@pytest.mark.parametrize("arguments", [*EVERY, ["datasets", "show", DATASET]], ids=" ".join)
def test_every_command_prints_one_json_document(
    run: Run, script: Scripted, arguments: list[str]
) -> None:
    script_all(script)
    script.dataset.name = f"datasets/{arguments[2]}" if arguments[2:] == ["x"] else DATASET

    result = run(*arguments, "--json")

    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) is not None
    assert result.stderr == ""


@pytest.mark.parametrize("terminal", [False, True], ids=["piped", "terminal"])
@pytest.mark.parametrize("arguments", EVERY, ids=" ".join)
def test_every_command_prints_for_people_and_plainly_where_piped(
    run: Run, script: Scripted, arguments: list[str], *, terminal: bool
) -> None:
    script_all(script)
    script.dataset.name = f"datasets/{arguments[2]}" if arguments[2:] == ["x"] else DATASET

    result = run(*arguments, terminal=terminal)

    assert result.exit_code == 0, result.stderr
    assert result.stdout or result.stderr
    if not terminal:
        assert ANSI not in result.output


def test_what_looks_like_markup_is_printed_as_it_is(run: Run, script: Scripted) -> None:
    script_all(script)

    assert "My order was [late]" in run("datasets", "preview", DATASET, terminal=True).stdout
    assert "[imbalance]" in run("datasets", "show", DATASET, terminal=True).stdout
    assert "a[b]" in run("models", "evaluation", "x", terminal=True).stdout
    assert "one [text]" in run("classify", "--model", "x", "one [text]", terminal=True).stdout


def test_upload_tells_the_dataset_and_what_to_mind(run: Run, script: Scripted, train: Path) -> None:
    script.validation = [ready()]

    result = run("datasets", "upload", "tone", "--train", str(train), "--no-header")

    assert result.exit_code == 0, result.stderr
    assert f"name\t{DATASET}" in result.stdout
    assert "warning\tMind the [imbalance]." in result.stdout
    assert "ready\n" in result.stderr
    assert script.asked("CreateDataset")[0].dataset.options.has_header is False
    assert script.asked("CreateDataset")[0].dataset.options.profile == ""


def test_upload_on_a_terminal_names_the_next_step(run: Run, script: Scripted, train: Path) -> None:
    script.validation = [ready()]

    result = run("datasets", "upload", "tone", "--train", str(train), terminal=True)

    assert f"isogloss models create tone --dataset {DATASET} --watch" in result.stderr


def test_upload_of_a_refused_file_lists_every_reason(
    run: Run, script: Scripted, train: Path
) -> None:
    script.validation = [
        Dataset(
            name=DATASET,
            state=Dataset.STATE_FAILED,
            error=refusal(
                grpc.StatusCode.FAILED_PRECONDITION,
                "The dataset was refused.",
                bad_request(("train", "1 example, needs 250"), ("label", "1 label, needs 2")),
                reason="DATASET_REFUSED",
            ),
        )
    ]

    result = run("datasets", "upload", "tone", "--train", str(train))

    assert result.exit_code == 3
    assert "Error: The dataset was refused." in result.stderr
    assert "  - train: 1 example, needs 250" in result.stderr
    assert "  - label: 1 label, needs 2" in result.stderr


def test_an_upload_that_breaks_off_says_how_to_go_on(
    run: Run, script: Scripted, train: Path
) -> None:
    script.refusals["FinalizeDataset"] = [refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "slow")]

    result = run("datasets", "upload", "tone", "--train", str(train))

    assert result.exit_code == 6
    assert f"--resume {DATASET}" in result.stderr


def test_a_tab_can_be_written_as_people_write_it(run: Run, script: Scripted, train: Path) -> None:
    run("datasets", "upload", "tone", "--train", str(train), "--delimiter", r"\t", "--no-wait")

    assert script.asked("CreateDataset")[0].dataset.options.delimiter == "\t"


def test_findings_are_filtered_by_the_server_and_cut_here(run: Run, script: Scripted) -> None:
    script_all(script)
    script.findings = script.findings * 3

    result = run(
        "datasets", "findings", "x", "--severity", "dropped", "--code", "duplicate", "--limit", "2"
    )

    [request] = script.asked("ListFindings")
    assert request.parent == "datasets/x"
    assert list(request.codes) == ["duplicate"]
    assert request.min_severity == finding_pb2.Finding.SEVERITY_ROW_DROPPED
    assert len(result.stdout.splitlines()) == 3
    assert "--limit 0" in result.stderr


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (refusal(grpc.StatusCode.NOT_FOUND, "models/x was not found."), 4),
        (refusal(grpc.StatusCode.UNAUTHENTICATED, "No key.", reason="CREDENTIALS_MISSING"), 5),
        (refusal(grpc.StatusCode.PERMISSION_DENIED, "Your key only reads."), 5),
        (refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too much."), 6),
        (refusal(grpc.StatusCode.FAILED_PRECONDITION, "Still training."), 7),
        (refusal(grpc.StatusCode.INVALID_ARGUMENT, "a: wrong", bad_request(("a", "wrong"))), 2),
        (refusal(grpc.StatusCode.INTERNAL, "A fault."), 1),
    ],
)
def test_errors_are_one_message_and_an_exit_code(
    run: Run, script: Scripted, status: status_pb2.Status, expected: int
) -> None:
    script.refusals["GetModel"] = [status, status]

    plain = run("models", "show", "x")
    documented = run("models", "show", "x", "--json")

    assert plain.exit_code == documented.exit_code == expected
    assert plain.stdout == documented.stdout == ""
    assert plain.stderr.startswith(f"Error: {status.message}\n")
    assert plain.stderr.count("wrong") <= 1
    assert "Traceback" not in plain.stderr
    assert json.loads(documented.stderr)["error"]["message"] == status.message


def test_several_violations_are_all_listed_and_none_twice(run: Run, script: Scripted) -> None:
    script.refusals["GetModel"] = [
        refusal(
            grpc.StatusCode.INVALID_ARGUMENT,
            "a: wrong (and 1 more field violation)",
            bad_request(("a", "wrong"), ("b", "[worse]")),
        )
    ]

    result = run("models", "show", "x")

    assert result.stderr == "Error: 2 things are wrong:\n  - a: wrong\n  - b: [worse]\n"


def test_a_traceback_is_there_for_who_asks(
    run: Run, script: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISOGLOSS_DEBUG", "1")
    script.refusals["GetModel"] = [refusal(grpc.StatusCode.INTERNAL, "A fault.")]

    assert type(run("models", "show", "x").exception).__name__ == "ServerError"


def test_nobody_there_says_what_to_do(run: Run) -> None:
    result = run("models", "list", "--trainer", "localhost:1")

    assert result.exit_code == 6
    assert "Connection refused" in result.stderr
    assert "isogloss up" in result.stderr


def test_a_key_is_not_sent_in_the_clear(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOGLOSS_API_KEY", "secret")

    result = run("models", "list", "--trainer", "trainer.example.com:50052")

    assert result.exit_code == 2
    assert "unencrypted" in result.stderr
    assert "secret" not in result.output


def test_create_sends_what_was_given_and_completes_ids(run: Run, script: Scripted) -> None:
    result = run(
        *("models", "create", "tone", "--dataset", "d", "--base", "large", "--epochs", "3"),
        *("--learning-rate", "1e-4", "--batch-size", "8", "--seed", "1", "--positive-label", "p"),
        "--validate-only",
    )

    [request] = script.asked("CreateModel")
    given = request.model.hyperparameters
    assert request.validate_only
    assert (request.model.dataset, request.model.base_model) == ("datasets/d", "baseModels/large")
    assert (given.epochs, given.batch_size, given.seed) == (3, 8, 1)
    assert given.learning_rate == pytest.approx(1e-4)
    assert request.model.positive_label == "p"
    assert "nothing was created" in result.stderr


def test_watching_prints_a_line_for_each_event(run: Run, script: Scripted) -> None:
    script.events = HISTORY

    result = run("models", "create", "tone", "--dataset", "d", "--watch")

    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0] == MODEL
    assert lines[1] == "training"
    assert lines[2].startswith("step 0 ")
    assert lines[2].endswith("(untrained baseline)")
    assert "accuracy 0.5000" in lines[3]
    assert lines[4] == "info: checkpoint [written]"
    assert lines[5] == "ready"
    assert lines[6:] == [f"{MODEL} is ready."]


@pytest.mark.parametrize("watch", [[], ["--watch"]], ids=["", "watched"])
def test_create_on_a_terminal_names_the_model_first_and_last(
    run: Run, script: Scripted, watch: list[str]
) -> None:
    script.events = HISTORY

    result = run("models", "create", "tone", "--dataset", "d", *watch, terminal=True)

    assert "models/" in "".join(result.stdout.splitlines()[:2])
    assert MODEL in result.stderr.splitlines()[-1]


def test_the_version_is_told_the_way_people_ask(run: Run) -> None:
    result = run("--version")

    assert result.exit_code == 0
    assert result.stdout.startswith("isogloss ")


def test_watching_on_a_terminal_draws_the_table_once(run: Run, script: Scripted) -> None:
    script.events = HISTORY

    result = run("models", "watch", "x", terminal=True)

    assert "untrained" in result.stdout
    assert "READY" in result.stdout
    assert "isogloss models evaluation models/x" in result.stderr


def test_watching_as_json_is_a_document_for_each_update(run: Run, script: Scripted) -> None:
    script.events = HISTORY

    result = run("models", "watch", "x", "--json")

    updates: list[Any] = [json.loads(line) for line in result.stdout.splitlines()]
    assert [update["event"]["sequence"] for update in updates] == [1, 2, 3, 4, 5]
    assert updates[-1]["model"]["state"] == "READY"


@pytest.mark.parametrize("state", [Model.STATE_FAILED, Model.STATE_CANCELLED])
def test_watching_a_run_that_ends_badly_fails(
    run: Run, script: Scripted, state: Model.State.ValueType
) -> None:
    last = event(2, state=state, current=state)
    last.model.state_reason = "out of memory"
    script.events = [HISTORY[0], last]

    result = run("models", "watch", "x")

    assert result.exit_code == 1
    assert "out of memory" in result.stderr


def test_ctrl_c_leaves_the_run_and_says_how_to_go_on(suite: Suite, script: Scripted) -> None:
    script.events = [HISTORY[0], HISTORY[1]]  # and then nothing: the stream is opened again
    process = subprocess.Popen(
        [sys.executable, "-m", "isogloss", "models", "watch", "x"],
        env={**os.environ, "ISOGLOSS_TRAINER": suite.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "training\n"

    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "isogloss models watch models/x" in stderr
    assert "isogloss models cancel models/x" in stderr
    assert "Traceback" not in stderr
    assert script.asked("CancelModel") == []


def test_a_reader_that_leaves_early_is_no_error(suite: Suite, script: Scripted) -> None:
    script.events = HISTORY
    process = subprocess.Popen(
        [sys.executable, "-m", "isogloss", "models", "watch", "x", "--json"],
        env={**os.environ, "ISOGLOSS_TRAINER": suite.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()

    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait(timeout=30)


def test_texts_come_from_a_pipe_a_file_or_the_command_line(
    run: Run, script: Scripted, tmp_path: Path
) -> None:
    file = tmp_path / "texts.csv"
    file.write_text("id,text\n1,three\n")

    piped = run("classify", "--model", "x", stdin="one\n\ntwo\n")
    dashed = run("classify", "--model", "x", "--file", "-", stdin="text\nfour\n")
    run("classify", "--model", "x", "--file", str(file), "--quantized")

    asked = script.asked("Classify")
    assert [list(request.texts) for request in asked] == [["one", "two"], ["four"], ["three"]]
    assert [Precision.Name(request.precision) for request in asked] == [
        "PRECISION_EXACT",
        "PRECISION_EXACT",
        "PRECISION_QUANTIZED",
    ]
    assert "1 blank line left out" in piped.stderr
    assert dashed.stdout.splitlines()[1].startswith("negative\t0.7500\t")


def test_nothing_to_read_is_a_usage_error(run: Run) -> None:
    result = run("classify", "--model", "x", stdin="")

    assert result.exit_code == 2
    assert "holds no text" in result.stderr


def test_very_many_texts_are_sent_behind_what_others_wait_for(
    run: Run, script: Scripted, tmp_path: Path
) -> None:
    texts, array = tmp_path / "texts.txt", tmp_path / "v.npy"
    many = [f"text {number}" for number in range(300)]
    texts.write_text("\n".join(many))

    embedded = run("embed", "--model", "x", "--file", str(texts), "--output", str(array))
    classified = run("classify", "--model", "x", "--file", str(texts))

    assert (embedded.exit_code, classified.exit_code) == (0, 0)
    np.testing.assert_array_equal(np.load(array), [vector_of(text) for text in many])
    assert len(classified.stdout.splitlines()) == 301
    assert {len(request.embed.texts) for request in script.asked("Process")} >= {32, 12}


def test_thresholds_are_of_all_labels_or_of_one(run: Run, script: Scripted) -> None:
    options = ["--threshold", "0.4", "--threshold", "a=b=0.25", "--abstain-below", "0.1"]

    run("classify", "--model", "x", "one", *options, "--raw-scores")
    wrong = run("classify", "--model", "x", "one", "--threshold", "high")

    [request] = script.asked("Classify")
    assert (request.threshold, dict(request.label_thresholds)) == (0.4, {"a=b": 0.25})
    assert (request.abstain_below, request.raw_scores) == (0.1, True)
    assert wrong.exit_code == 2
    assert "LABEL=NUMBER" in wrong.stderr


def test_labels_are_explained_line_by_line(run: Run, script: Scripted) -> None:
    asked = ["classify", "--model", "x", "one", "--explain", "2", "--out-of-scope"]

    piped = run(*asked).stdout.splitlines()
    document = json.loads(run(*asked, "--json").stdout)
    drawn = run(*asked, terminal=True).stdout

    [first, *_] = script.asked("Classify")
    assert (first.explain, first.out_of_scope) == (2, True)
    assert [line.split("\t") for line in piped] == [
        ["label", "confidence", "out of scope", "others", "row", "text"],
        ["negative", "0.7500", "0.9600", "positive 0.2500", "", "one"],
        ["negative", "0.5000", "", "", "0", ""],
        ["negative", "0.5000", "", "", "1", ""],
    ]
    [result] = document["results"]
    assert [near["row"] for near in result["neighbours"]] == [0, 1]
    assert result["out_of_scope"]["similarity"] == 0.125
    assert "(its text is not kept)" in drawn


def test_vectors_become_lines_and_parquet(run: Run, tmp_path: Path) -> None:
    lines, table = tmp_path / "v.jsonl", tmp_path / "v.parquet"

    for file in (lines, table):
        assert run("embed", "--model", "x", "a", "b", "--output", str(file)).exit_code == 0

    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    found = parquet.read_table(table)
    assert [row["text"] for row in rows] == found["text"].to_pylist() == ["a", "b"]
    np.testing.assert_allclose([row["vector"] for row in rows], [vector_of("a"), vector_of("b")])
    np.testing.assert_array_equal(found["vector"].to_pylist(), [row["vector"] for row in rows])


def test_vectors_are_written_where_asked(run: Run, script: Scripted, tmp_path: Path) -> None:
    array, table = tmp_path / "v.npy", tmp_path / "v.csv"

    run("embed", "--model", "baseModels/small", "a", "b", "--output", str(array))
    run("embed", "--model", "x", "a, b", "--output", str(table))
    wrong = run("embed", "--model", "x", "a", "--output", str(tmp_path / "v.txt"))

    assert script.asked("Embed")[0].model == "baseModels/small"
    np.testing.assert_array_equal(np.load(array), [vector_of("a"), vector_of("b")])
    lines = table.read_text().splitlines()
    assert lines[0] == "text,x0,x1,x2,x3"
    assert lines[1].startswith('"a, b",')
    assert wrong.exit_code == 2
    # In a box, and broken where the path that it begins with leaves no room.
    words = " ".join(wrong.stderr.replace("│", " ").split())
    assert ".npy, .csv, .jsonl, .parquet" in words


def test_doctor_names_the_fault_and_a_way_out(run: Run, suite: Suite, script: Scripted) -> None:
    suite.health.set("isogloss.v1.ModelService", HealthCheckResponse.NOT_SERVING)
    script.refusals["ListDatasets"] = [
        refusal(grpc.StatusCode.UNAUTHENTICATED, "No key.", reason="CREDENTIALS_MISSING")
    ]

    result = run("doctor", "--inference", "localhost:1", "--json")

    document = json.loads(result.stdout)
    failed = {(c["service"], c["what"]): c["tip"] for c in document["checks"] if not c["ok"]}
    assert result.exit_code == 1
    assert set(failed) == {("ingest", "access"), ("trainer", "health"), ("inference", "reach")}
    assert "ISOGLOSS_API_KEY" in failed["ingest", "access"]
    assert "isogloss up" in failed["inference", "reach"]


def test_doctor_is_content_with_a_healthy_suite(run: Run) -> None:
    result = run("doctor", "--json")

    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert document["ok"] is True
    assert len(document["checks"]) == 9
