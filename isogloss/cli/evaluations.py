"""`isogloss models evaluation|evaluate|compare|projection|card` and others: how good models are."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from isogloss import Comparison, Evaluation, EvaluationState
from isogloss.cli.commands import command, dataset_name, model_name
from isogloss.cli.confusion_view import confusion_rows
from isogloss.cli.dataset_files import SplitChoice
from isogloss.cli.evaluation_view import (
    in_words,
    show_evaluation,
    show_examples,
)
from isogloss.cli.projection_page import page
from isogloss.cli.session import Session
from isogloss.cli.words import ago, count, percent

Id = Annotated[str, typer.Argument(help="models/ID, or ID alone.", show_default=False)]
_COORDINATES = (">before x", ">before y", ">after x", ">after y")

Which = Annotated[
    SplitChoice | None,
    typer.Option(
        "--split",
        help="Which rows: train, validation or test. Otherwise the last of them that there is.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for name, function, examples in (
        (
            "evaluation",
            evaluation,
            [
                "isogloss models evaluation tone-9x4kdp",
                "isogloss models evaluation tone-9x4kdp --errors",
                "isogloss models evaluation tone-9x4kdp --confusion-csv confusion.csv",
            ],
        ),
        (
            "evaluate",
            evaluate,
            ["isogloss models evaluate tone-9x4kdp --dataset may-2c7wqa --split test"],
        ),
        ("evaluations", evaluations, ["isogloss models evaluations tone-9x4kdp"]),
        (
            "compare",
            compare,
            [
                "isogloss models compare tone-9x4kdp tone-b52mxe",
                "isogloss models compare tone-9x4kdp tone-b52mxe --dataset may-2c7wqa",
            ],
        ),
        (
            "projection",
            projection,
            ["isogloss models projection tone-9x4kdp --output map.html"],
        ),
        (
            "card",
            card,
            [
                "isogloss models card tone-9x4kdp",
                "isogloss models card tone-9x4kdp --output MODEL_CARD.md",
            ],
        ),
    ):
        command(app, name, services=["trainer"], examples=examples)(function)


def evaluation(
    session: Session,
    model: Annotated[
        str,
        typer.Argument(
            help="models/ID, or ID alone; or models/ID/evaluations/ID.", show_default=False
        ),
    ],
    *,
    errors: Annotated[
        bool,
        typer.Option("--errors", help="Show the worst errors, and labels that seem wrong."),
    ] = False,
    confusion_csv: Annotated[
        Path | None,
        typer.Option(
            help="Write the confusion matrix: a row for each true label.", show_default=False
        ),
    ] = None,
) -> None:
    """Show what a model scored on rows that it did not learn from, beside the untrained one."""
    with session.client() as client:
        found = client.models.evaluation(model_name(model))
    _show(session, found, errors=errors, confusion_csv=confusion_csv)


def evaluate(
    session: Session,
    model: Id,
    *,
    dataset: Annotated[
        str, typer.Option(help="Whose rows: datasets/ID, or ID alone.", show_default=False)
    ],
    split: Which = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for the figures and show them.")
    ] = True,
) -> None:
    """Score a model on the rows of a further dataset."""
    with session.client() as client:
        found = client.models.evaluate(
            model_name(model), dataset=dataset_name(dataset), split=split
        )
        if wait:
            session.note(f"{found.name} is {found.state.lower()}.")
            found = client.models.wait_for_evaluation(found)
    if wait:
        _show(session, found, errors=False, confusion_csv=None)
    elif session.json:
        session.document(found)
    else:
        session.table(["!name", "!state"], [[found.name, found.state]])
        session.next_step(f"isogloss models evaluation {found.name}")


def evaluations(session: Session, model: Id) -> None:
    """List the evaluations of a model on further datasets, newest first."""
    with session.client() as client:
        found = list(client.models.evaluations(model_name(model)))
    if session.json:
        session.document(found)
        return
    session.table(
        ["!name", "!state", "!dataset", "!split", ">rows", ">accuracy", ">F1", ">created"],
        (
            [
                each.name,
                each.state,
                each.dataset,
                each.split,
                str(each.row_count or ""),
                _figure(each, each.metrics.accuracy),
                _figure(each, each.metrics.f1),
                ago(each.create_time),
            ]
            for each in found
        ),
    )


def compare(
    session: Session,
    models: Annotated[
        list[str], typer.Argument(help="Two to ten: models/ID, or ID alone.", show_default=False)
    ],
    *,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Whose rows: datasets/ID, or ID alone. Otherwise those that the first model was "
            "trained with.",
            show_default=False,
        ),
    ] = None,
    split: Which = None,
) -> None:
    """Compare models on the same rows, pair by pair; each was evaluated there before."""
    with session.client() as client:
        found = client.models.compare(
            [model_name(model) for model in models],
            dataset=None if dataset is None else dataset_name(dataset),
            split=split,
        )
    if session.json:
        session.document(found)
    else:
        _show_comparison(session, found)


def projection(
    session: Session,
    model: Id,
    *,
    output: Annotated[
        Path | None,
        typer.Option(help="Write the map as one HTML file that runs nothing.", show_default=False),
    ] = None,
) -> None:
    """Show where held-out texts lie before and after training, on a map."""
    with session.client() as client:
        found = client.models.projection(model_name(model))
    if output is not None:
        output.write_text(page(found), encoding="utf-8")
        session.note(
            f"{output}: {count(len(found.points), 'text')} on a map; open it in a browser."
        )
    if session.json:
        session.document(found)
    elif output is None:
        session.table(
            [
                ">row",
                "label",
                "predicted",
                ">before x",
                ">before y",
                ">after x",
                ">after y",
                "text",
            ],
            (
                [
                    str(point.row),
                    ", ".join(point.labels),
                    ", ".join(point.predicted),
                    *(f"{value:.3f}" for value in (*point.before, *point.after)),
                    point.text,
                ]
                for point in found.points
            ),
        )


def card(
    session: Session,
    model: Id,
    *,
    output: Annotated[
        Path | None, typer.Option(help="Write the card into this file.", show_default=False)
    ] = None,
) -> None:
    """Show the model card: what the model is, how good it is and how it came about, as Markdown."""
    with session.client() as client:
        found = client.models.card(model_name(model))
    if output is not None:
        output.write_text(found, encoding="utf-8")
        session.note(f"{output}: the card of {model_name(model)}.")
    if session.json:
        session.document({"name": f"{model_name(model)}/card", "markdown": found})
    elif output is None:
        for line in found.splitlines():
            session.line(line)


def _show(session: Session, found: Evaluation, *, errors: bool, confusion_csv: Path | None) -> None:
    if confusion_csv is not None:
        with confusion_csv.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(confusion_rows(found.metrics))
        session.note(f"{confusion_csv}: {count(len(found.metrics.labels), 'label')} written.")
    if session.json:
        session.document(found)
    elif found.state in {EvaluationState.READY, EvaluationState.UNKNOWN}:
        show_evaluation(session, found)
        if errors:
            show_examples(session, found)
        elif found.worst_errors or found.suspicious_labels:
            session.next_step(f"isogloss models evaluation {found.name} --errors")
    else:
        session.line(f"{found.name} is {found.state.lower()}.")
        if found.error is not None:
            session.line(found.error.message)


def _show_comparison(session: Session, found: Comparison) -> None:
    if session.rich:
        left_out = f", {found.left_out_count:,} left out" if found.left_out_count else ""
        rows = count(found.row_count, f"{found.split} row")
        session.out.print(Text(f"{rows} of {found.dataset}{left_out}", "bold"))
    session.table(
        ["!model", ">accuracy", ">low", ">high", ">F1"],
        (
            [
                score.model,
                f"{score.accuracy.value:.4f}",
                f"{score.accuracy.low:.4f}",
                f"{score.accuracy.high:.4f}",
                f"{score.f1.value:.4f}",
            ]
            for score in found.scores
        ),
    )
    if session.rich:
        for pair in found.pairs:
            session.out.print()
            session.out.print(Text(f"{pair.second} against {pair.first}:", "bold"))
            session.out.print(Text(f"  {in_words(pair.improvement)}"))
            agreed = pair.improvement.both_right + pair.improvement.both_wrong
            session.out.print(Text(f"  alike on {percent(agreed / found.row_count)}", "dim"))
        return
    session.line()
    session.table(
        ["first", "second", ">change", ">low", ">high", ">p", ">gained", ">lost"],
        (
            [
                pair.first,
                pair.second,
                f"{pair.improvement.accuracy.value:+.4f}",
                f"{pair.improvement.accuracy.low:+.4f}",
                f"{pair.improvement.accuracy.high:+.4f}",
                f"{pair.improvement.accuracy_p_value:.3g}",
                str(pair.improvement.gained),
                str(pair.improvement.lost),
            ]
            for pair in found.pairs
        ),
    )


def _figure(found: Evaluation, value: float) -> str:
    return f"{value:.4f}" if found.state is EvaluationState.READY else ""
