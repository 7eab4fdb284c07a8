from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from services.common.errors import (
    DeadlineExceeded,
    InvalidArgument,
    IsoglossError,
    Reason,
    Unavailable,
)
from services.inference.dispatcher import AnyCall, Dispatcher
from services.inference.engine import EngineDied, EngineLimits, FloatArray, Output, RunFailed
from services.inference.model import Computed, LabelMode, Model, Precision, Question
from services.inference.scheduling.admission import QueueLimits
from services.inference.scheduling.priority import Priority
from services.inference.scheduling.scheduler import Scheduler
from services.inference.scheduling.stats import Shed
from services.inference.tokenization import TextReader, Truncation
from tests.tiny_model import tiny_tokenizer

WAIT = 30.0
POISON = "refund"
NO_NUMBER = "delivery"
DEADLY = "twice"
TOKENIZER = tiny_tokenizer()
READER = TextReader(TOKENIZER.to_str().encode(), max_tokens=16)


class SumEngine:
    """Gives each text the sum of its tokens; some it cannot compute, and some kill it."""

    limits = EngineLimits(texts=8, padded_tokens=128, runs=1_024)

    def __init__(self) -> None:
        self.runs: list[int] = []
        self.free = threading.Event()
        self.free.set()
        self.begun = threading.Semaphore(0)

    def run(
        self, token_ids: Sequence[Sequence[int]], outputs: tuple[Output, ...]
    ) -> tuple[FloatArray, ...]:
        self.runs.append(len(token_ids))
        self.begun.release()
        assert self.free.wait(WAIT)
        if any(id_of(POISON) in ids for ids in token_ids):
            raise RunFailed("not a number")
        if any(id_of(DEADLY) in ids for ids in token_ids):
            raise EngineDied
        sums = np.array([[float(sum(ids))] for ids in token_ids], np.float32)
        sums[[id_of(NO_NUMBER) in ids for ids in token_ids]] = np.nan
        return tuple(sums + number for number in range(len(outputs)))


def id_of(word: str) -> int:
    found = TOKENIZER.token_to_id(word)
    assert found is not None
    return found


@pytest.fixture
def engine() -> SumEngine:
    return SumEngine()


@pytest.fixture
def model(engine: SumEngine) -> Model:
    return Model(
        name="models/tone",
        precision=Precision.EXACT,
        digest="0" * 64,
        dimension=1,
        max_tokens=16,
        labels=("calm",),
        label_mode=LabelMode.SINGLE,
        thresholds=(),
        cleaner=None,
        reader=READER,
        engine=engine,
    )


def started(workers: int) -> Dispatcher:
    scheduler: Scheduler[AnyCall] = Scheduler(
        workers=workers,
        limits=QueueLimits(tokens=10_000, bytes=10**6),
        batch_seconds=0.04,
        bulk_share=0.2,
    )
    return Dispatcher(scheduler, workers=workers, answered=lambda: None)


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    dispatcher = started(1)
    yield dispatcher
    dispatcher.close()


def question(
    *texts: str,
    truncation: Truncation = Truncation.END,
    outputs: tuple[Output, ...] = (Output.EMBEDDING,),
    remaining: float | None = None,
    each: bool = False,
) -> Question:
    return Question(
        texts=texts,
        truncation=truncation,
        outputs=outputs,
        priority=Priority.INTERACTIVE,
        caller="acme",
        remaining=remaining,
        each=each,
    )


def same(computed: Computed) -> Computed:
    return computed


def sums(texts: Sequence[str]) -> list[float]:
    return [float(sum(READER.read(text, Truncation.END).ids)) for text in texts]


def rows(computed: Computed, output: Output = Output.EMBEDDING) -> list[float]:
    return [float(row[0]) for row in computed.rows[output]]


@pytest.mark.parametrize("count", [1, 2, 33, 512])
def test_each_text_has_its_own_row(dispatcher: Dispatcher, model: Model, count: int) -> None:
    texts = ["order late" + " again" * (number % 12) for number in range(count)]

    call = dispatcher.submit(model, question(*texts), same)

    computed = call.future.result(WAIT)
    assert rows(computed) == sums(texts)
    assert [text and len(text.ids) for text in computed.texts] == [
        len(READER.read(text, Truncation.END).ids) for text in texts
    ]
    assert computed.errors == {}
    assert computed.timings.infer > 0


def test_both_outputs_come_from_one_pass(dispatcher: Dispatcher, model: Model) -> None:
    outputs = (Output.EMBEDDING, Output.LOGITS)

    call = dispatcher.submit(model, question("great", outputs=outputs), same)

    computed = call.future.result(WAIT)
    assert rows(computed) == sums(["great"])
    assert rows(computed, Output.LOGITS) == [sums(["great"])[0] + 1]


def test_callers_at_once_get_their_own_answers(model: Model) -> None:
    dispatcher = started(3)

    def ask(number: int) -> bool:
        times = [(number + item) % 12 for item in range(number % 40 + 1)]
        texts = ["order late" + " again" * often for often in times]
        computed = dispatcher.submit(model, question(*texts), same).future.result(WAIT)
        return rows(computed) == sums(texts)

    with ThreadPoolExecutor(16) as executor:
        assert all(executor.map(ask, range(120)))
    dispatcher.close()


def test_all_that_is_wrong_is_told_and_nothing_is_computed(
    dispatcher: Dispatcher, model: Model, engine: SumEngine
) -> None:
    texts = ["again " * 40 if number in {3, 50, 90} else "great" for number in range(100)]

    call = dispatcher.submit(model, question(*texts, truncation=Truncation.NONE), same)

    with pytest.raises(InvalidArgument) as caught:
        call.future.result(WAIT)
    assert [found.field for found in caught.value.violations] == [
        "texts[3]",
        "texts[50]",
        "texts[90]",
    ]
    assert {found.reason for found in caught.value.violations} == {Reason.TEXT_TOO_LONG}
    assert not engine.runs


def test_where_each_is_asked_for_a_text_has_an_error_of_its_own(
    dispatcher: Dispatcher, model: Model
) -> None:
    texts = ["great", "again " * 40, "late"]

    call = dispatcher.submit(model, question(*texts, truncation=Truncation.NONE, each=True), same)

    computed = call.future.result(WAIT)
    assert set(computed.errors) == {1}
    assert computed.texts[1] is None
    assert rows(computed) == [*sums(["great"]), 0.0, *sums(["late"])]


def test_a_call_of_which_every_text_has_an_error_is_answered(
    dispatcher: Dispatcher, model: Model
) -> None:
    texts = ["again " * 40] * 3

    call = dispatcher.submit(model, question(*texts, truncation=Truncation.NONE, each=True), same)

    computed = call.future.result(WAIT)
    assert set(computed.errors) == {0, 1, 2}
    assert computed.rows[Output.EMBEDDING].shape == (3, 1)


@pytest.mark.parametrize("word", [POISON, NO_NUMBER])
def test_one_text_that_cannot_be_computed_fails_alone(
    dispatcher: Dispatcher, model: Model, engine: SumEngine, word: str
) -> None:
    engine.free.clear()
    first = dispatcher.submit(model, question("late"), same)
    assert engine.begun.acquire(timeout=WAIT)
    # These wait together while the only worker is held, and so are of one batch.
    good = [dispatcher.submit(model, question("great order"), same) for _ in range(3)]
    bad = dispatcher.submit(model, question(f"great {word}"), same)
    several = dispatcher.submit(model, question("great order", f"late {word}", each=True), same)
    engine.free.set()

    first.future.result(WAIT)
    for call in good:
        assert rows(call.future.result(WAIT)) == sums(["great order"])
    with pytest.raises(IsoglossError, match=r"texts\[0\]"):
        bad.future.result(WAIT)
    computed = several.future.result(WAIT)
    assert set(computed.errors) == {1}
    assert rows(computed) == [*sums(["great order"]), 0.0]
    assert max(engine.runs) > 1


def test_what_an_engine_was_computing_is_lost_with_it_and_nothing_else(
    dispatcher: Dispatcher, model: Model, engine: SumEngine
) -> None:
    engine.free.clear()
    first = dispatcher.submit(model, question("late"), same)
    assert engine.begun.acquire(timeout=WAIT)
    lost = [dispatcher.submit(model, question(f"great {DEADLY}"), same) for _ in range(2)]
    stream = dispatcher.submit(model, question(f"late {DEADLY}", each=True), same)
    # Too long to share a batch with these.
    other = dispatcher.submit(model, question("again " * 14), same)
    engine.free.set()

    first.future.result(WAIT)
    for call in lost:
        with pytest.raises(Unavailable) as caught:
            call.future.result(WAIT)
        assert caught.value.retry_after
    assert isinstance(stream.future.result(WAIT).errors[0], Unavailable)
    assert rows(other.future.result(WAIT)) == sums(["again " * 14])


def test_what_nobody_waits_for_is_not_computed(
    dispatcher: Dispatcher, model: Model, engine: SumEngine
) -> None:
    engine.free.clear()
    first = dispatcher.submit(model, question("late"), same)
    assert engine.begun.acquire(timeout=WAIT)
    left = dispatcher.submit(model, question(*["great"] * 5), same)

    left.give_up()
    engine.free.set()

    with pytest.raises(DeadlineExceeded):
        left.future.result(WAIT)
    first.future.result(WAIT)
    dispatcher.submit(model, question("late"), same).future.result(WAIT)
    assert sum(engine.runs) == 2
    assert dispatcher.stats().shed[Shed.GIVEN_UP] == 1


def test_giving_up_what_is_answered_or_runs_harms_nobody(
    dispatcher: Dispatcher, model: Model, engine: SumEngine
) -> None:
    done = dispatcher.submit(model, question("late"), same)
    done.future.result(WAIT)
    done.give_up()
    engine.free.clear()
    assert engine.begun.acquire(timeout=WAIT)
    runs = dispatcher.submit(model, question("late"), same)
    assert engine.begun.acquire(timeout=WAIT)
    runs.give_up()
    engine.free.set()

    assert rows(dispatcher.submit(model, question("great"), same).future.result(WAIT)) == sums(
        ["great"]
    )
    stats = dispatcher.stats()
    assert (stats.shed[Shed.GIVEN_UP], stats.waiting[Priority.INTERACTIVE].texts) == (1, 0)


def test_a_call_whose_time_is_over_is_not_computed(
    dispatcher: Dispatcher, model: Model, engine: SumEngine
) -> None:
    call = dispatcher.submit(model, question("late", remaining=0.0), same)

    with pytest.raises(DeadlineExceeded):
        call.future.result(WAIT)
    assert not engine.runs


def test_an_answer_that_cannot_be_made_fails_its_call_only(
    dispatcher: Dispatcher, model: Model
) -> None:
    def broken(_: Computed) -> Computed:
        raise ValueError("no answer")

    with pytest.raises(ValueError, match="no answer"):
        dispatcher.submit(model, question("late"), broken).future.result(WAIT)
    dispatcher.submit(model, question("late"), same).future.result(WAIT)


def test_stopping_finishes_what_has_begun_and_drops_the_rest(
    model: Model, engine: SumEngine
) -> None:
    dispatcher = started(1)
    engine.free.clear()
    runs = dispatcher.submit(model, question("late"), same)
    assert engine.begun.acquire(timeout=WAIT)
    waits = dispatcher.submit(model, question("great"), same)

    with ThreadPoolExecutor(1) as executor:
        closing = executor.submit(dispatcher.close)
        # Only once nothing new is taken is what runs let go.
        refused = until_refused(dispatcher, model)
        engine.free.set()
        closing.result(WAIT)

    assert rows(runs.future.result(WAIT)) == sums(["late"])
    for call in [waits.future, *refused]:
        with pytest.raises(Unavailable, match="stopping"):
            call.result(WAIT)


def until_refused(dispatcher: Dispatcher, model: Model) -> list[Future[Computed]]:
    taken = []
    while True:
        try:
            taken.append(dispatcher.submit(model, question("great"), same).future)
        except Unavailable:
            return taken
