"""Messages about the end of models: written with it, signed, sent until they are taken."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import ValidationError
from sqlalchemy import select, update

from services.trainer.bell import Bell
from services.trainer.control import Control
from services.trainer.models import Request
from services.trainer.settings import TrainerSettings
from services.trainer.tables import DeliveryRow
from services.trainer.webhooks.addresses import Addresses, fault, known_hosts
from services.trainer.webhooks.courier import Courier
from services.trainer.webhooks.outbox import Outbox
from services.trainer.webhooks.posting import HttpsPost
from services.trainer.webhooks.signing import headers, key_of
from tests.receiver import DrippingReceiver, Receiver
from tests.unit.trainer_service.desk import Desk, new_model

TENANT, MODEL = "default", "tone-abcdef"
KEY = b"0123456789abcdef0123456789abcdef"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.stop()


class Clock:
    now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


def end_a_model(desk: Desk, *uris: str, model: str = MODEL, webhook_uri: str = "") -> None:
    request = Request(actor="anna", request_id="", fingerprint=b"")
    desk.models.add(new_model(model, webhook_uri=webhook_uri), request)
    control = Control(desk.database, Bell(), addresses=Addresses(), outbox=Outbox(uris))
    control.cancel(TENANT, model, "anna")


def everything(_: str) -> bool:
    return True


def courier(desk: Desk, **parts: Any) -> Courier:  # noqa: ANN401 (what Courier takes)
    given = {"owner": "c", "key": KEY, "poll_seconds": 0.01, "takes": everything, **parts}
    return Courier(desk.database, **given)


def waiting(desk: Desk) -> list[DeliveryRow]:
    with desk.database.read() as session:
        return list(session.scalars(select(DeliveryRow)))


def make_due(desk: Desk) -> None:
    """Let the pauses between tries be over."""
    with desk.database.write() as session:
        session.execute(update(DeliveryRow).values(not_before=None))


def test_the_end_of_a_model_is_told_with_a_signature(desk: Desk, receiver: Receiver) -> None:
    end_a_model(desk, receiver.uri)

    assert courier(desk).send_next()

    ((got, body),) = receiver.got
    signed = f"{got['webhook-id']}.{got['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert got["webhook-signature"] == f"v1,{expected}"
    assert got["content-type"] == "application/json"
    message = json.loads(body)
    assert message["type"] == "model.cancelled"
    assert message["data"]["name"] == f"models/{MODEL}"
    assert message["data"]["state_reason"] == "Cancelled by a caller."
    assert datetime.fromisoformat(message["timestamp"]).tzinfo is not None
    assert waiting(desk) == []
    assert not courier(desk).send_next()


def test_it_goes_to_all_addresses_once(desk: Desk, receiver: Receiver) -> None:
    end_a_model(desk, receiver.uri, f"{receiver.uri}two", webhook_uri=f"{receiver.uri}two")

    uris = sorted(row.uri for row in waiting(desk))

    assert uris == [receiver.uri, f"{receiver.uri}two"]


@pytest.mark.parametrize("code", [500, 404, 302])
def test_what_is_not_taken_is_sent_again_with_the_same_id(
    desk: Desk, receiver: Receiver, code: int
) -> None:
    end_a_model(desk, receiver.uri)
    receiver.answers = [code]
    sender = courier(desk)

    assert sender.send_next()
    assert not sender.send_next()
    (row,) = waiting(desk)
    make_due(desk)
    assert sender.send_next()

    assert row.not_before is not None
    assert row.not_before > datetime.now(UTC)
    first, second = receiver.got
    assert first[0]["webhook-id"] == second[0]["webhook-id"]
    assert first[1] == second[1]
    assert waiting(desk) == []


def test_nobody_there_is_tried_again(desk: Desk, receiver: Receiver) -> None:
    receiver.stop()
    end_a_model(desk, receiver.uri)

    assert courier(desk).send_next()

    (row,) = waiting(desk)
    assert row.attempt == 1


def test_a_receiver_that_nobody_vouches_for_is_told_nothing(desk: Desk) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(tls)
    receiver = Receiver(tls)
    end_a_model(desk, receiver.uri)

    assert courier(desk).send_next()
    receiver.stop()

    assert receiver.got == []
    assert len(waiting(desk)) == 1


def test_a_message_is_given_up_after_two_days_and_the_model_says_so(
    desk: Desk, receiver: Receiver
) -> None:
    end_a_model(desk, receiver.uri)
    receiver.answers = [500] * 20
    clock = Clock()
    sender = courier(desk, clock=clock)
    waits = []
    while sender.send_next():
        waits += [row.not_before - clock.now for row in waiting(desk) if row.not_before]
        make_due(desk)

    assert len(receiver.got) == len(waits) + 1 == 9
    assert waits == sorted(waits)
    assert timedelta(hours=40) < sum(waits, timedelta()) < timedelta(hours=48)
    assert waiting(desk) == []
    last = desk.models.look(TENANT, MODEL, after=0).events[-1]
    assert last.body["level"] == "warning"
    assert "given up after 9 tries: 500" in last.body["message"]


def test_a_receiver_that_is_gone_is_not_asked_again(desk: Desk, receiver: Receiver) -> None:
    end_a_model(desk, receiver.uri)
    receiver.answers = [410]

    assert courier(desk).send_next()

    assert waiting(desk) == []


def test_what_was_never_tried_goes_before_what_failed(desk: Desk, receiver: Receiver) -> None:
    end_a_model(desk, f"{receiver.uri}old")
    receiver.answers = [500]
    sender = courier(desk)
    sender.send_next()
    make_due(desk)
    end_a_model(desk, f"{receiver.uri}new", model="tone-second")

    sender.send_next()

    assert [row.uri for row in waiting(desk)] == [f"{receiver.uri}old"]


def test_a_message_outlives_the_courier_that_died_with_it(desk: Desk, receiver: Receiver) -> None:
    end_a_model(desk, receiver.uri)
    with desk.database.write() as session:
        # As one leaves it that was killed while it sent: taken, and its lease ran out.
        past = datetime.now(UTC) - timedelta(seconds=1)
        session.execute(update(DeliveryRow).values(lease_until=past, token=1, attempt=1))

    assert courier(desk).send_next()

    assert len(receiver.got) == 1


def test_a_host_that_was_taken_off_the_list_is_sent_nothing_more(
    desk: Desk, receiver: Receiver
) -> None:
    end_a_model(desk, webhook_uri=receiver.uri)
    allowed = Addresses(hosts=known_hosts(["hooks.example"]))

    assert courier(desk, takes=allowed.takes).send_next()

    assert receiver.got == []
    assert waiting(desk) == []
    last = desk.models.look(TENANT, MODEL, after=0).events[-1]
    assert "webhook_hosts" in last.body["message"]
    assert Addresses(uris=frozenset([receiver.uri])).takes(receiver.uri)


def test_a_fault_of_ours_is_a_try_too_and_not_for_ever(desk: Desk, receiver: Receiver) -> None:
    def broken(uri: str, *, body: bytes, headers: dict[str, str]) -> int:
        raise RuntimeError(uri, body, headers)

    end_a_model(desk, receiver.uri)
    sender = courier(desk, post=broken)
    tries = 0
    while sender.send_next():
        tries += 1
        make_due(desk)

    assert tries == 9
    assert (
        "given up after 9 tries"
        in desk.models.look(TENANT, MODEL, after=0).events[-1].body["message"]
    )


def test_a_message_whose_couriers_die_is_given_up(desk: Desk, receiver: Receiver) -> None:
    end_a_model(desk, receiver.uri)
    with desk.database.write() as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        session.execute(update(DeliveryRow).values(lease_until=past, token=9, attempt=9))

    assert courier(desk).send_next()

    assert receiver.got == []
    assert waiting(desk) == []


def test_a_receiver_that_drips_is_left_after_the_whole_time() -> None:
    # Each byte comes within any time-out for one: only the whole time ends it.
    with DrippingReceiver() as uri, pytest.raises(OSError, match="no answer within"):
        HttpsPost(seconds=0.3)(uri, body=b"{}", headers={})


def test_a_slow_receiver_keeps_nobody_else_waiting(desk: Desk, receiver: Receiver) -> None:
    slow, held, hold = "https://slow.example/x", threading.Event(), threading.Event()
    sent: list[str] = []

    def post(uri: str, *, body: bytes, headers: dict[str, str]) -> int:  # noqa: ARG001 (Post's)
        if uri == slow:
            held.set()
            hold.wait()
        sent.append(json.loads(body)["data"]["name"])
        return 200

    for number in range(8):
        end_a_model(desk, model=f"tone-{number}", webhook_uri=slow)
    sender = courier(desk, post=post)
    sender.start()
    held.wait()
    end_a_model(desk, model="tone-other", webhook_uri=receiver.uri)
    while not sent:
        pass
    first = list(sent)
    hold.set()
    sender.stop()

    assert first == ["models/tone-other"]


def test_one_tenant_never_takes_the_last_place(desk: Desk) -> None:
    for number in range(8):
        end_a_model(desk, model=f"tone-{number}", webhook_uri=f"https://hooks.example/{number}")
    hold, taken = threading.Event(), threading.Semaphore(0)

    def post(uri: str, **_: object) -> int:
        taken.release()
        hold.wait()
        return 200 if uri else 404

    sender = courier(desk, post=post)
    sender.start()
    for _ in range(3):
        taken.acquire()
    under_way = [row for row in waiting(desk) if row.lease_until is not None]
    another = courier(desk, post=post).send_next()
    hold.set()
    sender.stop()

    assert len(under_way) == 3
    assert not another


def test_couriers_end_when_told(desk: Desk, receiver: Receiver) -> None:
    end_a_model(desk, receiver.uri)
    sender = courier(desk)
    sender.start()
    while waiting(desk):
        pass
    sender.stop()

    assert len(receiver.got) == 1


def test_the_example_of_standard_webhooks_has_its_signature() -> None:
    # Of the specification's own test vectors.
    found = headers(
        key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        message="msg_p5jXN8AQM9LWM0D4loKWxJek",
        seconds=1614265330,
        body=b'{"test": 2432232314}',
    )

    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", ["", "x", "whsec_", "whsec_AAAA", "whsec_***", SECRET[6:]])
def test_a_weak_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="openssl rand -base64 32"):
        key_of(secret)


@pytest.mark.parametrize(
    "uri",
    [
        "http://hooks.example/x",
        "https://",
        "ftp://hooks.example",
        "https://user:secret@hooks.example/",
        "https://hooks.example/#part",
        "https://hooks.example/ x",
        "https://hooks.example/\n",
        "https://[::1",
        "https://höks.example/",
        "hooks.example",
        "https://hooks.example/" + "x" * 2000,
    ],
)
def test_an_address_that_is_none_is_refused(uri: str) -> None:
    assert fault(uri) is not None


def test_callers_name_only_hosts_that_the_operator_allows() -> None:
    allowed = Addresses(hosts=known_hosts(["Hooks.example", "127.0.0.1:8080"]))

    for uri in (
        "",
        "https://hooks.example/x",
        "https://HOOKS.example:443/",
        "http://127.0.0.1:8080",
    ):
        assert allowed.check(uri, field="f") == []
    for uri in (
        "https://hooks.example:444/x",
        "https://hooks.example.evil.example/",
        "https://evil.example/hooks.example",
        "https://169.254.169.254/latest",
        "http://127.0.0.1:50052/",
    ):
        (violation,) = allowed.check(uri, field="f")
        assert "127.0.0.1:8080, hooks.example" in violation.description


def test_a_host_without_a_port_is_its_port_443_alone() -> None:
    allowed = Addresses(hosts=known_hosts(["localhost"]))

    assert allowed.check("https://localhost/x", field="f") == []
    assert allowed.check("http://localhost/x", field="f") != []


def test_webhooks_without_a_secret_are_no_setting(tmp_path: Path) -> None:
    for wrong in (
        {"webhook_urls": ["https://hooks.example/x"]},
        {"webhook_hosts": ["hooks.example"]},
        {"webhook_urls": ["http://hooks.example/x"], "webhook_secret": SECRET},
    ):
        with pytest.raises(ValidationError):
            TrainerSettings.model_validate({"data_directory": tmp_path, **wrong})
    settings = TrainerSettings.model_validate(
        {
            "data_directory": tmp_path,
            "webhook_urls": ["https://hooks.example/x"],
            "webhook_secret": SECRET,
        }
    )
    assert settings.webhook_key == KEY
