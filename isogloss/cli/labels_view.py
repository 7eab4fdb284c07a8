"""Labels as people read them: a line a text, and under it what explains it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from isogloss import Classification, Classifications, Neighbour
from isogloss.cli.session import Session
from isogloss.cli.words import short

_SHOWN_LABELS = 3
_TEXT = 80
"""Characters of a text on a terminal."""

_FAR = 0.95
"""From this score on a text stands out: of texts of the model's kind a twentieth has more."""

Cell = str | Text


def show_labels(
    session: Session,
    texts: Sequence[str],
    answer: Classifications,
    *,
    top_k: int,
    explain: bool,
    out_of_scope: bool,
) -> None:
    """Print labels: of neighbours, those that were learnt, with their similarity and their row.

    Args:
        session: Where to.
        texts: What was asked.
        answer: What became of each.
        top_k: How many labels were asked for; 0 for all, of which a terminal shows a few.
        explain: Whether neighbours were.
        out_of_scope: Whether scores were.
    """
    view = _View(session, top_k=top_k, explain=explain, out_of_scope=out_of_scope)
    session.table(view.columns, view.rows(texts, answer))


class _View:
    """The cells that were asked for."""

    def __init__(self, session: Session, *, top_k: int, explain: bool, out_of_scope: bool) -> None:
        self._rich = session.rich
        self._most = _SHOWN_LABELS if session.rich and not top_k else top_k
        self._explain = explain
        self._out_of_scope = out_of_scope

    @property
    def columns(self) -> list[str]:
        return [
            "!label",
            ">confidence",
            *([">out of scope"] if self._out_of_scope else []),
            "others",
            *([">row"] if self._explain else []),
            "text",
        ]

    def rows(self, texts: Sequence[str], answer: Classifications) -> Iterator[list[Cell]]:
        for text, result in zip(texts, answer, strict=True):
            yield self._result(text, result)
            for near in result.neighbours:
                yield self._neighbour(near)

    def _result(self, text: str, result: Classification) -> list[Cell]:
        if result.error is not None:
            return self._cells("", "", others=Text(result.error.message, "red"), text=text)
        predicted = {label.label for label in result.predictions}
        others = [label for label in result.labels if label.label not in predicted]
        shown = others[: self._most - 1] if self._most else others
        return self._cells(
            Text(", ".join(label.label for label in result.predictions), "bold"),
            ", ".join(f"{label.confidence:.4f}" for label in result.predictions),
            outside=_outside(result),
            others=Text(", ".join(f"{each.label} {each.confidence:.4f}" for each in shown), "dim"),
            text=text,
        )

    def _neighbour(self, near: Neighbour) -> list[Cell]:
        text = near.text or ("(its text is not kept)" if self._rich else "")
        labels = ", ".join(near.labels)
        return self._cells(
            Text(f"  {labels}" if self._rich else labels, "dim"),
            Text(f"{near.similarity:.4f}", "dim"),
            row=Text(str(near.row), "dim"),
            text=Text(self._short(text), "dim"),
        )

    def _cells(
        self,
        label: Cell,
        confidence: Cell,
        *,
        outside: Cell = "",
        others: Cell = "",
        row: Cell = "",
        text: Cell,
    ) -> list[Cell]:
        return [
            label,
            confidence,
            *([outside] if self._out_of_scope else []),
            others,
            *([row] if self._explain else []),
            self._short(text) if isinstance(text, str) else text,
        ]

    def _short(self, text: str) -> str:
        return short(text, _TEXT) if self._rich else text


def _outside(result: Classification) -> Text:
    if result.out_of_scope is None:
        return Text()
    score = result.out_of_scope.score
    return Text(f"{score:.4f}", "yellow" if score > _FAR else "")
