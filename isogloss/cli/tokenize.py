"""`isogloss tokenize`."""

from __future__ import annotations

from collections.abc import Sequence

import typer
from rich.text import Text

from isogloss import Tokenized, TokenizedText, Truncation
from isogloss.cli.commands import command, model_name
from isogloss.cli.session import Session
from isogloss.cli.text_options import Cut, File, Kind, Model, Texts, texts_of
from isogloss.cli.words import short


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "tokenize",
        services=["inference"],
        examples=[
            'isogloss tokenize --model tone-9x4kdp "My order was late"',
            "isogloss tokenize --model baseModels/small --file texts.csv --json",
        ],
    )(tokenize)


def tokenize(
    session: Session,
    *,
    model: Model,
    texts: Texts = None,
    file: File = None,
    input_type: Kind = None,
    truncation: Cut = Truncation.END,
) -> None:
    """Show the tokens of each text as the model reads it, and how many it has."""
    found = texts_of(session, texts, file)
    with session.client() as client:
        answer = client.tokenize(
            model_name(model),
            found,
            truncation=truncation,
            input_type=input_type,
            with_spans=session.json,
        )
    if session.json:
        session.document(_document(found, answer))
        return
    session.table(
        [">tokens", "cut", "as tokens", "text"],
        (_row(session, text, result) for text, result in zip(found, answer, strict=True)),
    )
    session.note(f"{answer.model} takes {answer.max_tokens} tokens.")


def _document(texts: Sequence[str], answer: Tokenized) -> dict[str, object]:
    return {
        "model": answer.model,
        "max_tokens": answer.max_tokens,
        "results": [
            {
                "text": text,
                "read": result.text,
                "ids": result.ids,
                "tokens": result.tokens,
                "spans": result.spans,
                "token_count": result.token_count,
                "truncated": result.truncated,
            }
            for text, result in zip(texts, answer, strict=True)
        ],
    }


def _row(session: Session, text: str, result: TokenizedText) -> list[str | Text]:
    return [
        str(result.token_count),
        "yes" if result.truncated else "",
        " ".join(result.tokens),
        short(text, 60) if session.rich else text,
    ]
