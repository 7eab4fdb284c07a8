from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import pytest

from isogloss.api.bulk import WINDOW, Outbox
from isogloss.v1 import inference_service_pb2 as pb

SECONDS = 20.0


def request() -> pb.ProcessRequest:
    return pb.ProcessRequest(embed=pb.EmbedRequest(texts=["text"]))


def requests(count: int) -> Iterator[pb.ProcessRequest]:
    for _ in range(count):
        yield request()


def sent(stream: Iterator[pb.ProcessRequest], count: int) -> list[str]:
    return [next(stream).id for _ in range(count)]


def test_a_stream_sends_as_many_as_may_wait_for_their_turn() -> None:
    outbox = Outbox(requests(WINDOW + 2))
    stream = outbox.open()

    assert sent(stream, WINDOW) == [str(number) for number in range(WINDOW)]
    blocked = threading.Thread(target=lambda: sent(stream, 1), daemon=True)
    blocked.start()
    outbox.take(pb.ProcessResponse(id="1"))
    assert list(outbox.ready()) == []
    assert blocked.is_alive()
    outbox.take(pb.ProcessResponse(id="0"))
    assert [answer.id for answer in outbox.ready()] == ["0", "1"]
    blocked.join(SECONDS)
    assert not blocked.is_alive()
    assert next(stream).id == str(WINDOW + 1)


def test_a_new_stream_begins_with_what_has_no_answer() -> None:
    outbox = Outbox(requests(4))
    first = outbox.open()
    sent(first, 3)
    outbox.take(pb.ProcessResponse(id="1"))

    second = outbox.open()

    assert list(first) == []
    assert [found.id for found in second] == ["0", "2", "3"]
    for number in (3, 0, 2, 0):
        outbox.take(pb.ProcessResponse(id=str(number)))
    assert [answer.id for answer in outbox.ready()] == ["0", "1", "2", "3"]
    assert outbox.done


def test_what_the_old_stream_reads_late_is_sent_by_the_new_one() -> None:
    source: queue.Queue[pb.ProcessRequest] = queue.Queue()
    outbox = Outbox(iter(lambda: source.get(timeout=SECONDS), pb.ProcessRequest(id="end")))
    found: queue.Queue[str] = queue.Queue()

    def send() -> None:
        for one in outbox.open():
            found.put(one.id)

    old = threading.Thread(target=send)
    old.start()
    source.put(request())
    assert found.get(timeout=SECONDS) == "0"
    new = threading.Thread(target=send)
    new.start()
    assert found.get(timeout=SECONDS) == "0"
    # The old one waits for the source, and the new one for the old one.
    source.put(request())

    assert found.get(timeout=SECONDS) == "1"
    source.put(pb.ProcessRequest(id="end"))
    for thread in (old, new):
        thread.join(SECONDS)
        assert not thread.is_alive()


def test_a_source_that_fails_is_told_once_all_before_is_answered() -> None:
    def failing() -> Iterator[pb.ProcessRequest]:
        yield request()
        raise ZeroDivisionError

    outbox = Outbox(failing())
    assert [one.id for one in outbox.open()] == ["0"]
    assert not outbox.done
    outbox.take(pb.ProcessResponse(id="0"))
    list(outbox.ready())

    with pytest.raises(ZeroDivisionError):
        _ = outbox.done


def test_nothing_is_sent_once_it_is_closed() -> None:
    outbox = Outbox(requests(3))
    stream = outbox.open()
    next(stream)

    outbox.close()

    assert list(stream) == []
