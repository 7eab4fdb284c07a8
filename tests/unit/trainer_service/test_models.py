from __future__ import annotations

import pytest

from services.common.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from services.common.pagination import PageRequest, page_request
from services.trainer.messages import Logged, Report
from services.trainer.queue import Published
from services.trainer.state import State
from services.trainer.watching import Watch
from tests.unit.trainer_service.desk import Desk

TENANT, MODEL = "default", "tone-abcdef"
PUBLISHED = Published(variants=[], dimension=1, max_tokens=1, hyperparameters={})


def test_the_same_request_again_makes_no_second_model(desk: Desk) -> None:
    first = desk.add("one", request_id="r1")
    again = desk.add("two", request_id="r1")

    assert again.id == first.id == "one"
    with pytest.raises(NotFound):
        desk.models.get(TENANT, "two")


def test_another_request_under_the_same_id_is_refused(desk: Desk) -> None:
    desk.add("one", request_id="r1")

    with pytest.raises(AlreadyExists):
        desk.add("two", request_id="r1", display_name="Other")


def test_tenants_do_not_see_each_other(desk: Desk) -> None:
    desk.add("one", tenant="blue")

    with pytest.raises(NotFound):
        desk.models.get("red", "one")
    with pytest.raises(NotFound):
        desk.control.cancel("red", "one", "mallory")


def test_pages_go_from_the_newest_to_the_oldest(desk: Desk) -> None:
    for number in range(5):
        desk.add(f"model-{number}")
    desk.add("elsewhere", tenant="blue")
    found: list[str] = []
    token = ""
    while True:
        request = page_request(page_size=2, page_token=token, scope=("t",))
        page = desk.models.list(TENANT, request, lambda _: 100)
        found += [row.id for row in page.items]
        token = page.next_page_token
        if not token:
            break

    assert found == [f"model-{number}" for number in (4, 3, 2, 1, 0)]


def test_a_page_that_begins_nowhere_is_refused(desk: Desk) -> None:
    request = PageRequest(size=2, cursor=("soon", "tone-abcdef"), checksum="")

    with pytest.raises(InvalidArgument, match="page_token"):
        desk.models.list(TENANT, request, lambda _: 100)


def test_cancelling_twice_is_no_error(desk: Desk) -> None:
    desk.add()
    first = desk.control.cancel(TENANT, MODEL, "anna")
    second = desk.control.cancel(TENANT, MODEL, "bert")

    assert second.phase is State.CANCELLED
    assert second.last_sequence == first.last_sequence == 2


def test_a_ready_model_cannot_be_cancelled(desk: Desk) -> None:
    desk.add()
    queue = desk.trainer()
    run = queue.claim()
    assert run is not None
    queue.close_ready(run, PUBLISHED)

    with pytest.raises(FailedPrecondition, match="READY: there is nothing left to cancel"):
        desk.control.cancel(TENANT, MODEL, "anna")


def test_a_watcher_sees_each_event_once_and_then_the_end(desk: Desk) -> None:
    desk.add()
    queue = desk.trainer()
    run = queue.claim()
    assert run is not None
    watch = Watch(desk.models, tenant=TENANT, model=MODEL, after=0)

    first = watch.look()
    nothing = watch.look()
    reports: list[Report] = [Logged(level="info", message=str(n)) for n in range(450)]
    queue.record(run, reports)
    seen = []
    while True:
        seen += watch.look()
        assert not watch.ended
        if not watch.behind:
            break
    queue.close_ready(run, PUBLISHED)
    last = watch.look()

    assert [news.event.sequence for news in first if news.event] == [1]
    assert nothing == []
    assert [news.event.sequence for news in seen if news.event] == list(range(2, 452))
    assert [news.event.body["state"] for news in last if news.event] == ["READY"]
    assert watch.ended


def test_who_watches_an_ended_model_from_its_end_sees_it_once(desk: Desk) -> None:
    desk.add()
    row = desk.control.cancel(TENANT, MODEL, "anna")
    watch = Watch(desk.models, tenant=TENANT, model=MODEL, after=row.last_sequence)

    seen = watch.look()

    assert [(news.row.phase, news.event) for news in seen] == [(State.CANCELLED, None)]
    assert watch.ended


def test_a_deleted_model_ends_the_watch(desk: Desk) -> None:
    desk.add()
    watch = Watch(desk.models, tenant=TENANT, model=MODEL, after=0)
    watch.look()

    desk.control.forget(TENANT, MODEL)

    with pytest.raises(NotFound):
        watch.look()
