from __future__ import annotations

import io
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from isogloss import ClassificationMetrics, errors
from isogloss.cli import words
from isogloss.cli.app import app
from isogloss.cli.commands import report
from isogloss.cli.document import dumps
from isogloss.cli.exits import MEANING, ExitCode, exit_code
from isogloss.cli.session import Session
from isogloss.cli.texts import parse_texts, read_texts
from isogloss.evaluations import Averaging


def _commands(group: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    inner: dict[str, object] = getattr(group, "commands", {})
    for name, command in inner.items():
        found += _commands(command, (*path, name)) or [(*path, name)]
    return found


COMMANDS = _commands(typer.main.get_command(app))
OURS = [path for path in COMMANDS if path[0] != "serve"]


def test_the_commands_are_all_there() -> None:
    assert {" ".join(path) for path in COMMANDS} == {
        "up",
        "serve ingest",
        "serve trainer",
        "serve inference",
        "datasets check",
        "datasets upload",
        "datasets append",
        "datasets import",
        "datasets download",
        "datasets diff",
        "datasets update",
        "datasets usage",
        "datasets list",
        "datasets show",
        "datasets preview",
        "datasets findings",
        "datasets delete",
        "models bases",
        "models create",
        "models list",
        "models show",
        "models watch",
        "models pause",
        "models resume",
        "models cancel",
        "models update",
        "models events",
        "models metrics",
        "models delete",
        "models export",
        "models import",
        "models evaluation",
        "models evaluate",
        "models evaluations",
        "models compare",
        "models projection",
        "models card",
        "aliases set",
        "aliases get",
        "aliases list",
        "aliases history",
        "aliases rollback",
        "aliases delete",
        "embed",
        "classify",
        "tokenize",
        "status",
        "doctor",
        "version",
    }


@pytest.mark.parametrize("path", OURS, ids=" ".join)
def test_every_help_has_json_and_an_example_of_itself(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"})

    assert result.exit_code == 0
    assert "--json" in result.stdout
    assert f"isogloss {' '.join(path)}" in result.stdout.split("Examples:")[1]


def test_the_help_tells_every_exit_code() -> None:
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"})

    assert set(MEANING) == set(ExitCode)
    for code, meaning in MEANING.items():
        assert f"{code.value}  {meaning}" in result.stdout


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.DatasetRefused, 3),
        (errors.InvalidArgument, 2),
        (errors.ConfigurationError, 2),
        (errors.NotFound, 4),
        (errors.Unauthenticated, 5),
        (errors.PermissionDenied, 5),
        (errors.Unavailable, 6),
        (errors.DeadlineExceeded, 6),
        (errors.ResourceExhausted, 6),
        (errors.FailedPrecondition, 7),
        (errors.AlreadyExists, 7),
        (errors.Aborted, 7),
        (errors.ModelFailed, 1),
        (errors.ModelCancelled, 1),
        (errors.ServerError, 1),
        (errors.DataLoss, 1),
        (errors.OutOfRange, 1),
    ],
)
def test_exit_codes(error: type[errors.IsoglossError], expected: int) -> None:
    assert exit_code(error("what happened")) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("one\ntwo\n", (["one", "two"], 0)),
        ("one\n\n  \ntwo", (["one", "two"], 2)),
        ("a, b\nc", (["a, b", "c"], 0)),
        ("text\none\ntwo\n", (["one", "two"], 0)),
        ('label,Text\nx,"one, and\nmore"\ny,two\n', (["one, and\nmore", "two"], 0)),
        ("label,text\nx\n", ([""], 0)),
        ("", ([], 0)),
    ],
)
def test_texts_are_csv_or_lines(content: str, expected: tuple[list[str], int]) -> None:
    assert parse_texts(content) == expected


def test_texts_from_nowhere_and_from_everywhere_are_refused(tmp_path: Path) -> None:
    latin = tmp_path / "latin.txt"
    latin.write_bytes("Größe".encode("latin-1"))

    with pytest.raises(typer.BadParameter, match="not both"):
        read_texts(["a"], latin)
    with pytest.raises(typer.BadParameter, match="no UTF-8"):
        read_texts([], latin)


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    marked = tmp_path / "marked.csv"
    marked.write_bytes(b"\xef\xbb\xbftext\none\n")

    assert read_texts([], marked) == (["one"], 0)


def test_json_has_what_the_values_have() -> None:
    metrics = ClassificationMetrics(
        headline=Averaging.MACRO,
        accuracy=math.nan,
        precision=0.5,
        recall=0.5,
        f1=0.5,
        accuracy_interval=None,
        f1_interval=None,
        calibration=None,
        coverage=(),
        log_loss=math.inf,
        averages=(),
        labels=(),
        confusion={("a", "b"): 3},
    )
    error = errors.InvalidArgument(
        "m", violations=[errors.Violation(field="f", description="d")], retry_after=1.0
    )

    document = json.loads(
        dumps(
            {
                "metrics": metrics,
                "error": error,
                "time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
                "vector": np.array([1.5, math.nan], dtype=np.float32),
            }
        )
    )

    assert document["metrics"]["confusion"] == [{"actual": "a", "predicted": "b", "count": 3}]
    assert document["metrics"]["headline"] == "MACRO"
    assert document["metrics"]["accuracy"] is document["metrics"]["log_loss"] is None
    assert document["error"]["code"] == grpc.StatusCode.INVALID_ARGUMENT.name
    assert document["error"]["violations"] == [{"field": "f", "description": "d", "reason": ""}]
    assert document["time"] == "2026-01-02T03:04:05Z"
    assert document["vector"] == [1.5, None]


def test_words() -> None:
    now = datetime.now(UTC)

    assert words.count(1, "row") == "1 row"
    assert words.count(1234, "row") == "1,234 rows"
    assert [words.size(n) for n in (0, 999, 1500, 2_500_000, 3e9)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "2.5 MB",
        "3.00 GB",
    ]
    assert [words.duration(n) for n in (0.4, 59, 61, 3700)] == [
        "0 s",
        "59 s",
        "1 min 01 s",
        "1 h 01 min",
    ]
    assert words.ago(now - timedelta(days=2, hours=1)) == "2 d ago"
    assert words.ago(now + timedelta(minutes=1)) == "0 s ago"
    assert words.ago(None) == ""
    assert words.short("a\n  b", 9) == "a b"
    assert words.short("abcdef", 4) == "abc…"


def test_what_the_message_says_is_not_listed_again() -> None:
    said = io.StringIO()
    message = "datasets/tone is used: models/tone uses it."
    error = errors.FailedPrecondition(
        message,
        violations=[
            errors.Violation(field="models/tone", description=message),
            errors.Violation(field="models/other", description="is not READY"),
        ],
    )

    report(Session(err=Console(file=said)), error)

    assert said.getvalue().count("is used") == 1
    assert "models/other: is not READY" in said.getvalue()
