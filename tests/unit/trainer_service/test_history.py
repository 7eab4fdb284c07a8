from __future__ import annotations

import pytest

from services.common.errors import InvalidArgument, NotFound
from services.common.pagination import PageRequest, page_request
from services.trainer.history import History, Kind
from services.trainer.messages import Logged, Measured, Report
from services.trainer.queue import RunQueue
from tests.unit.trainer_service.desk import Desk

TENANT, MODEL = "default", "tone-abcdef"


def page(size: int = 50, token: str = "") -> PageRequest:
    return page_request(page_size=size, page_token=token, scope=("t",))


def measured(step: int, loss: float) -> Measured:
    return Measured(step=step, epoch=0, loss=loss, accuracy=0, precision=0, recall=0, f1=0)


def tell(queue: RunQueue, *reports: Report) -> None:
    run = queue.claim()
    assert run is not None
    queue.begin(run, "begins")
    queue.record(run, reports)
    queue.give_back(run, "lost", refund=True)


def test_events_come_in_pages_and_by_kind(desk: Desk) -> None:
    desk.add()
    tell(
        desk.trainer(), measured(0, 1.0), *(Logged(level="info", message=str(n)) for n in range(5))
    )
    history = History(database=desk.database)

    found, token = [], ""
    while True:
        part = history.events(TENANT, MODEL, page(2, token), kinds=(Kind.LOGGED, Kind.MEASURED))
        found += part.items
        token = part.next_page_token
        if not token:
            break

    assert [row.kind for row in found] == ["measured", *["logged"] * 5]
    everything = history.events(TENANT, MODEL, page(), kinds=()).items
    assert [row.sequence for row in everything] == list(range(1, 10))


def test_a_later_measurement_at_a_step_replaces_the_one_before(desk: Desk) -> None:
    desk.add()
    tell(desk.trainer(), measured(0, 1.0), measured(10, 0.9), measured(20, 0.8))
    # The second attempt goes on from step 10 and measures again from there.
    tell(desk.trainer(), measured(20, 0.7), measured(30, 0.6))
    history = History(database=desk.database)

    first = history.measurements(TENANT, MODEL, page(3))
    rest = history.measurements(TENANT, MODEL, page(3, first.next_page_token))

    steps = [(row.body["step"], row.body["loss"]) for row in first.items + rest.items]
    assert steps == [(0, 1.0), (10, 0.9), (20, 0.7), (30, 0.6)]
    assert rest.next_page_token == ""


def test_an_attempt_that_begins_anew_measures_anew(desk: Desk) -> None:
    desk.add()
    tell(desk.trainer(), measured(0, 1.0), measured(10, 0.9))
    tell(desk.trainer(), measured(0, 1.1))

    found = History(database=desk.database).measurements(TENANT, MODEL, page()).items

    assert [row.body["loss"] for row in found] == [1.1]


def test_another_tenants_history_is_not_found(desk: Desk) -> None:
    desk.add(tenant="blue")
    history = History(database=desk.database)

    with pytest.raises(NotFound):
        history.events("red", MODEL, page(), kinds=())
    with pytest.raises(NotFound):
        history.measurements("red", MODEL, page())


@pytest.mark.parametrize("cursor", [("x",), (-1,), (1, 2), (1 << 63,)])
def test_a_page_that_begins_nowhere_is_refused(desk: Desk, cursor: tuple[str | int, ...]) -> None:
    desk.add()
    request = PageRequest(size=2, cursor=cursor, checksum="")
    history = History(database=desk.database)

    with pytest.raises(InvalidArgument, match="page_token"):
        history.events(TENANT, MODEL, request, kinds=())
    with pytest.raises(InvalidArgument, match="page_token"):
        history.measurements(TENANT, MODEL, request)
