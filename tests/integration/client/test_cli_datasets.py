from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner, Result

from isogloss.cli.app import app
from isogloss.v1 import dataset_service_pb2 as pb
from isogloss.v1 import finding_pb2, split_pb2
from isogloss.v1.cleaning_pb2 import Cleaning
from isogloss.v1.dataset_pb2 import FILE_FORMAT_CSV, DatasetOptions, SplitOptions
from tests.integration.client.answers import refusal
from tests.integration.client.scripted import Scripted, Suite
from tests.integration.client.scripted_datasets import DATASET

Run = Callable[..., Result]
TRAIN, TEST = split_pb2.SPLIT_TRAIN, split_pb2.SPLIT_TEST
EVIL = "\x1b[2J\x1b]0;owned\x07 \N{RIGHT-TO-LEFT OVERRIDE}gpj.exe \x9b31m"


@pytest.fixture
def run(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("ISOGLOSS_INGEST", suite.address)

    def run(*arguments: str, terminal: bool = False) -> Result:
        env = {"FORCE_COLOR": "1" if terminal else None, "COLUMNS": "80", "TERM": "dumb"}
        return CliRunner().invoke(app, arguments, env=env)

    return run


@pytest.fixture
def train(tmp_path: Path) -> Path:
    path = tmp_path / "train.csv"
    path.write_text("text,label\nMy order was late,negative\n")
    return path


def scripted_check(script: Scripted, *, readable: bool, trainable: bool) -> None:
    report = script.check.report
    report.readable, report.trainable = readable, trainable
    report.files.add(
        split=TRAIN,
        size_bytes=1500,
        row_count=40,
        format="FILE_FORMAT_CSV",
        encoding="cp1252",
        delimiter=";",
        text_column="body",
        label_column="tag",
        ignored_columns=["id"],
        assumed=["encoding", "delimiter"],
    )
    report.splits.add(split=TRAIN, row_count=38)
    report.dropped_rows = 2
    report.tokens.histogram.add(max_tokens=8, text_count=30)
    report.tokens.histogram.add(max_tokens=16, text_count=10)
    report.languages.add(language="en", share=0.9)
    report.findings.add(code="duplicate", severity="SEVERITY_ROW_DROPPED", count=2)
    report.warnings.append("Mind this.")
    report.advice.append("Add examples of `refund`.")
    split = script.check.splits.add(split=TRAIN, row_count=38)
    split.labels.add(label="bad", count=38)
    for line in range(1, 6):
        split.examples.add(text=f"text {line}", labels=["bad"], line=line)
    if not trainable:
        script.check.errors.add(
            split=TRAIN,
            code="too_few_examples",
            severity="SEVERITY_ERROR",
            message="38 examples, 250 are needed.",
            fix="Add examples.",
        )


@pytest.mark.parametrize(
    ("readable", "trainable", "code", "verdict"),
    [
        (True, True, 0, "trainable"),
        (True, False, 3, "readable, not trainable"),
        (False, False, 2, "refused"),
    ],
)
def test_a_check_ends_by_its_verdict(
    run: Run,
    script: Scripted,
    train: Path,
    *,
    readable: bool,
    trainable: bool,
    code: int,
    verdict: str,
) -> None:
    scripted_check(script, readable=readable, trainable=trainable)

    plain = run("datasets", "check", str(train))
    drawn = run("datasets", "check", "--train", str(train), terminal=True)
    documented = run("datasets", "check", str(train), "--json")

    assert plain.exit_code == drawn.exit_code == documented.exit_code == code
    assert f"verdict\t{verdict}\n" in plain.stdout
    assert verdict in drawn.stdout
    report = json.loads(documented.stdout)["report"]
    assert (report["readable"], report["trainable"]) == (readable, trainable)
    assert documented.stderr == ""


def test_a_check_tells_how_the_file_was_read_and_what_to_do(
    run: Run, script: Scripted, train: Path
) -> None:
    scripted_check(script, readable=True, trainable=False)

    plain = run("datasets", "check", str(train)).stdout
    drawn = run("datasets", "check", str(train), "--rows", "2", terminal=True).stdout

    for shown in (plain, drawn):
        assert "cp1252, semicolon" in shown
        assert "left out: id" in shown
        assert "encoding, delimiter" in shown
        assert "38 train; 2 dropped" in shown
        assert "Add examples of `refund`." in shown
        assert "38 examples, 250 are needed." in shown
    assert "tokens up to 16\t10\n" in plain
    assert "9-16" in drawn
    assert "text 2" in drawn
    assert "text 3" not in drawn
    assert max(map(len, drawn.splitlines())) <= 80


def test_a_check_that_fails_keeps_the_code_of_its_error(
    run: Run, script: Scripted, train: Path
) -> None:
    script.refusals["CheckDataset"] = [refusal(grpc.StatusCode.PERMISSION_DENIED, "no")]

    assert run("datasets", "check", str(train)).exit_code == 5


@pytest.mark.parametrize("arguments", [[], ["{file}", "--train", "{file}"]], ids=["none", "both"])
def test_a_check_needs_one_training_file(run: Run, train: Path, arguments: list[str]) -> None:
    result = run("datasets", "check", *(part.format(file=train) for part in arguments))

    assert result.exit_code == 2
    assert "training file once" in " ".join(result.stderr.split())


def test_every_flag_of_an_upload_reaches_the_server(
    run: Run, script: Scripted, train: Path
) -> None:
    result = run(
        *("datasets", "upload", "tone", "--train", str(train), "--no-wait"),
        *("--format", "csv", "--has-header", "--delimiter", ";", "--quoting", "backslash"),
        *("--encoding", "cp1252", "--text-column", "body", "--label-column", "tag"),
        *("--keep-column", "id", "--keep-column", "3", "--label-separator", "|"),
        *("--split-column", "part", "--validation-share", "0.2", "--test-share", "0.3"),
        *("--seed", "7", "--profile", "small", "--near-duplicates", "off", "--keep-raw"),
        *("--strip-html", "--urls", "mask", "--emails", "remove", "--user-names", "mask"),
        *("--remove-symbols", "--fix-text", "--expire-days", "30"),
    )

    assert result.exit_code == 0, result.stderr
    [created] = script.asked("CreateDataset")
    assert created.dataset.HasField("expire_time")
    assert created.dataset.options == DatasetOptions(
        format=FILE_FORMAT_CSV,
        has_header=True,
        delimiter=";",
        quoting=DatasetOptions.QUOTING_BACKSLASH,
        encoding="cp1252",
        text_column="body",
        label_column="tag",
        keep_columns=["id", "3"],
        label_separator="|",
        split=SplitOptions(column="part", validation_share=0.2, test_share=0.3, seed=7),
        profile="small",
        near_duplicates=DatasetOptions.NEAR_DUPLICATES_OFF,
        keep_raw=True,
        cleaning=Cleaning(
            strip_html=True,
            urls=Cleaning.REPLACEMENT_MASK,
            emails=Cleaning.REPLACEMENT_REMOVE,
            user_names=Cleaning.REPLACEMENT_MASK,
            remove_symbols=True,
            fix_text=True,
        ),
    )


def test_a_word_that_a_flag_does_not_know_is_a_usage_error(
    run: Run, script: Scripted, train: Path
) -> None:
    result = run("datasets", "upload", "tone", "--train", str(train), "--quoting", "double")

    assert result.exit_code == 2
    assert "quoting: `double` is none of `doubled`, `backslash`, `none`." in result.stderr
    assert script.calls == []


def test_a_store_that_cannot_sign_says_which_flag_to_leave_out(
    run: Run, script: Scripted, train: Path
) -> None:
    script.refusals["GenerateUploadUrl"] = [
        refusal(grpc.StatusCode.FAILED_PRECONDITION, "A directory.", reason="STORE_UNSUITABLE")
    ]

    result = run("datasets", "upload", "tone", "--train", str(train), "--direct")

    assert result.exit_code == 7
    assert "without --direct" in result.stderr


def test_the_share_of_a_label_is_that_of_all_rows(run: Run, script: Scripted, train: Path) -> None:
    split = script.check.splits.add(split=TRAIN, row_count=4_000)
    for number in range(1_000):
        split.labels.add(label=f"label {number}", count=4)

    drawn = run("datasets", "check", str(train), terminal=True).stdout

    assert "0.1 %" in drawn
    assert "980 labels more" in drawn


def test_texts_of_strangers_do_not_steer_the_terminal(
    run: Run, script: Scripted, train: Path
) -> None:
    script.findings = [
        finding_pb2.Finding(split=TRAIN, line=7, code="duplicate", message=EVIL, excerpt=EVIL)
    ]
    script.check.report.warnings.append(EVIL)
    script.check.errors.add(code="choose_columns", message=EVIL, fix=EVIL, excerpt=EVIL)
    split = script.check.splits.add(split=TRAIN)
    split.examples.add(text=EVIL, labels=[EVIL])
    split.labels.add(label=EVIL, count=1)
    script.diff.labels.add(label=EVIL, other_count=1)
    script.diff.added.add(text=EVIL, labels=[EVIL])
    script.refusals["GetUsage"] = [refusal(grpc.StatusCode.NOT_FOUND, EVIL)] * 3
    commands = [
        ["datasets", "findings", DATASET],
        ["datasets", "check", str(train)],
        ["datasets", "diff", DATASET, "other"],
        ["datasets", "usage"],
    ]

    for command in commands:
        plain, drawn = run(*command), run(*command, terminal=True)
        documented = run(*command, "--json")
        for shown in (plain.output, drawn.output, documented.output):
            assert "\x1b[2J" not in shown
            assert not {"\x07", "\x9b", "\N{RIGHT-TO-LEFT OVERRIDE}"} & set(shown), command
        assert "gpj.exe" in plain.output
        assert "gpj.exe" in drawn.output


def test_json_says_texts_exactly(run: Run, script: Scripted) -> None:
    script.findings = [finding_pb2.Finding(code="duplicate", excerpt=EVIL)]

    [finding] = json.loads(run("datasets", "findings", DATASET, "--json").stdout)

    assert finding["excerpt"] == EVIL


def test_every_finding_is_written_into_a_file(run: Run, script: Scripted, tmp_path: Path) -> None:
    script.download = b"split,line\n"
    file = tmp_path / "findings.csv"

    written = run("datasets", "findings", DATASET, "--output", str(file))
    refused = run("datasets", "findings", DATASET, "--output", str(file), "--code", "duplicate")

    assert written.exit_code == 0, written.stderr
    assert file.read_bytes() == script.download
    assert "11 B written" in " ".join(written.stderr.split())
    assert refused.exit_code == 2


def test_a_file_of_findings_is_never_filtered_in_silence(
    run: Run, script: Scripted, tmp_path: Path
) -> None:
    file = tmp_path / "findings.csv"

    result = run("datasets", "findings", DATASET, "--output", str(file), "--severity", "dropped")

    assert result.exit_code == 2
    assert script.calls == []
    assert not file.exists()


@pytest.mark.parametrize("number", ["1e300", "inf", "40000"])
def test_an_end_beyond_the_calendar_is_a_usage_error(
    run: Run, script: Scripted, number: str
) -> None:
    updated = run("datasets", "update", "tone", "--expire-days", number)
    uploaded = run("datasets", "upload", "tone", "--train", __file__, "--expire-days", number)

    assert (updated.exit_code, uploaded.exit_code) == (2, 2)
    assert script.calls == []


def test_rows_are_downloaded_where_asked(run: Run, script: Scripted, tmp_path: Path) -> None:
    script.download = b"PAR1"
    file = tmp_path / "test.parquet"

    result = run("datasets", "download", "tone", "--split", "test", "--output", str(file), "--json")

    [request] = script.asked("DownloadDataset")
    assert (request.name, request.split) == ("datasets/tone", TEST)
    assert json.loads(result.stdout) == {"file": str(file), "size_bytes": 4}
    assert file.read_bytes() == b"PAR1"


@pytest.mark.parametrize("command", ["download", "findings"])
def test_a_dash_is_standard_output_and_no_file(
    run: Run, script: Scripted, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    script.download = "text,label\r\nspät,bad\r\n".encode()

    piped = run("datasets", command, "tone", "--output", "-")
    drawn = run("datasets", command, "tone", "--output", "-", terminal=True)
    documented = run("datasets", command, "tone", "--output", "-", "--json")

    assert piped.exit_code == 0, piped.stderr
    assert piped.stdout_bytes == script.download
    [request] = script.asked("DownloadDataset")
    assert request.format == FILE_FORMAT_CSV
    assert drawn.exit_code == documented.exit_code == 2
    assert drawn.stdout == documented.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_diff_shows_what_changed_and_nothing_else(run: Run, script: Scripted) -> None:
    script.diff = pb.DiffDatasetsResponse(relabelled_count=1, unchanged_count=9)
    script.diff.labels.add(label="bad", base_count=5, other_count=7)
    script.diff.labels.add(label="same", base_count=5, other_count=5)
    changed = script.diff.relabelled.add(base_labels=["good"])
    changed.example.text, changed.example.labels[:] = "late", ["bad"]

    plain = run("datasets", "diff", "a", "b").stdout

    assert "relabelled\t1\n" in plain
    assert "bad\t5\t7\t+2\n" in plain
    assert "same\t5" not in plain
    assert "good → bad\tlate\n" in plain


def test_what_may_change_is_changed_by_name(run: Run, script: Scripted) -> None:
    run("datasets", "update", "tone", "--name", "new", "--never-expire")
    nothing = run("datasets", "update", "tone")
    both = run("datasets", "update", "tone", "--never-expire", "--expire-days", "3")

    [request] = script.asked("UpdateDataset")
    assert list(request.update_mask.paths) == ["display_name", "expire_time"]
    assert not request.dataset.HasField("expire_time")
    assert nothing.exit_code == both.exit_code == 2


def test_appending_without_rows_is_a_usage_error(run: Run, script: Scripted) -> None:
    result = run("datasets", "append", "tone", "more")

    assert result.exit_code == 2
    assert script.calls == []


def test_purging_is_asked_for(run: Run, script: Scripted) -> None:
    run("datasets", "delete", "tone", "--purge")

    assert script.asked("DeleteDataset")[0].purge is True


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_upload_that_is_stopped_says_how_to_go_on(
    suite: Suite, script: Scripted, train: Path, number: signal.Signals, code: int
) -> None:
    script.refusals["WriteDataset"] = [refusal(grpc.StatusCode.UNAVAILABLE, "away")] * 12
    process = subprocess.Popen(
        [sys.executable, "-m", "isogloss", "datasets", "upload", "tone", "--train", str(train)],
        env={**os.environ, "ISOGLOSS_INGEST": suite.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("uploading train")

    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)

    assert process.returncode == code
    assert f"--resume {DATASET}\n" in stderr
    assert "Traceback" not in stderr
