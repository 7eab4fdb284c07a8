"""`isogloss classify`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Unpack

import typer

from isogloss import Classifications, Client, Truncation
from isogloss.cli.commands import command, model_name
from isogloss.cli.labels_view import show_labels
from isogloss.cli.progress import MANY_TEXTS, text_progress
from isogloss.cli.session import Session
from isogloss.cli.text_options import (
    Cut,
    File,
    Model,
    Quantised,
    Texts,
    precision_of,
    texts_of,
)
from isogloss.cli.texts import read_examples
from isogloss.inference_options import ClassifyOptions

_MOST_NEIGHBOURS = 20
"""As the service has it."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "classify",
        services=["inference"],
        examples=[
            'isogloss classify --model tone-9x4kdp "My order was late"',
            "cat texts.txt | isogloss classify --model tone-9x4kdp --file - --json",
            'isogloss classify --model topics-5u3kac --threshold 0.4 --threshold bill=0.2 "Why?"',
            'isogloss classify --model tone-9x4kdp --explain 3 --out-of-scope "My order was late"',
            'isogloss classify --model baseModels/small --examples few.csv "My order was late"',
        ],
    )(classify)


def classify(
    session: Session,
    *,
    model: Model,
    texts: Texts = None,
    file: File = None,
    top_k: Annotated[
        int, typer.Option(min=0, help="Labels to tell for each text; 0: all.", show_default="all")
    ] = 0,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NUMBER|LABEL=NUMBER",
            help="With several labels a text: predict from this confidence on, all labels or one; "
            "may be repeated.",
            show_default="the model's own",
        ),
    ] = None,
    abstain_below: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Predict nothing for a text of which no label's confidence reaches this.",
            show_default=False,
        ),
    ] = None,
    raw_scores: Annotated[
        bool, typer.Option("--raw-scores", help="Tell the logits too, with --json.")
    ] = False,
    examples: Annotated[
        Path | None,
        typer.Option(
            help="CSV with the columns `text` and `label`: learn from these, two of each label at "
            "least, on any model or base.",
            show_default=False,
        ),
    ] = None,
    explain: Annotated[
        int,
        typer.Option(
            min=0,
            max=_MOST_NEIGHBOURS,
            help="Show so many of the training texts that are nearest to each text, with their "
            "labels; with --examples, of these.",
            show_default="none",
        ),
    ] = 0,
    out_of_scope: Annotated[
        bool,
        typer.Option(
            "--out-of-scope",
            help="Tell which share of held-out texts is nearer to the training texts than each "
            "text: over 0.95 it is probably of another kind.",
        ),
    ] = False,
    truncation: Cut = Truncation.END,
    quantized: Quantised = False,
) -> None:
    """Predict the label of each text, or its labels."""
    options = ClassifyOptions(
        top_k=top_k,
        raw_scores=raw_scores,
        explain=explain,
        out_of_scope=out_of_scope,
        truncation=truncation,
        precision=precision_of(quantized=quantized),
    )
    options.update(_thresholds(threshold or []))
    if abstain_below is not None:
        options["abstain_below"] = abstain_below
    if examples is not None:
        options["examples"] = read_examples(examples)
    found = texts_of(session, texts, file)
    with session.client() as client, text_progress(session, len(found)) as progress:
        answer = _classified(client, model_name(model), found, progress, **options)
    if session.json:
        session.document(_document(found, answer))
        return
    show_labels(session, found, answer, top_k=top_k, explain=explain > 0, out_of_scope=out_of_scope)


def _thresholds(given: Sequence[str]) -> ClassifyOptions:
    """Read `0.4` and `bill=0.2`."""
    options, of_labels = ClassifyOptions(), dict[str, float]()
    for word in given:
        label, _, text = word.rpartition("=")
        try:
            number = float(text)
        except ValueError:
            raise typer.BadParameter(
                f"--threshold {word}: write a number, or LABEL=NUMBER, such as bill=0.2."
            ) from None
        if label:
            of_labels[label] = number
        else:
            options["threshold"] = number
    if of_labels:
        options["label_thresholds"] = of_labels
    return options


def _classified(
    client: Client,
    model: str,
    texts: Sequence[str],
    progress: Callable[[int], None] | None,
    **options: Unpack[ClassifyOptions],
) -> Classifications:
    """Classify in calls of their own, or where there are very many, behind what others wait for."""
    if len(texts) <= MANY_TEXTS:
        return client.classify(model, texts, progress=progress, **options)
    parts = client.classify_many(model, texts, progress=progress, **options)
    return Classifications.joined(list(parts))


def _document(texts: Sequence[str], answer: Classifications) -> dict[str, object]:
    return {
        "served_by": answer.served_by,
        "label_mode": answer.label_mode,
        "dataset": answer.dataset,
        "timings": answer.timings,
        "results": [
            {
                "text": text,
                "predictions": result.predictions,
                "labels": result.labels,
                "abstained": result.abstained,
                "neighbours": result.neighbours,
                "out_of_scope": result.out_of_scope,
                "usage": result.usage,
                "error": result.error,
            }
            for text, result in zip(texts, answer, strict=True)
        ],
    }
