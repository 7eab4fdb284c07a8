from __future__ import annotations

from pathlib import Path

import grpc
import pytest
import trustme

import isogloss
from isogloss import AsyncClient, Client, errors
from tests.integration.client.answers import bad_request, refusal, retry_after
from tests.integration.client.scripted import MODEL, Scripted, Suite
from tests.integration.client.scripted_datasets import DATASET

DOWN = refusal(grpc.StatusCode.UNAVAILABLE, "down", reason="DEPENDENCY_UNAVAILABLE")


def test_a_call_that_is_safe_to_repeat_is_repeated_with_the_same_id(
    client: Client, script: Scripted
) -> None:
    script.refusals["CreateModel"] = [DOWN, DOWN]

    client.models.create("tone", dataset=DATASET)

    requests = script.asked("CreateModel")
    assert len(requests) == 3
    assert len({request.request_id for request in requests}) == 1


def test_repeating_ends_after_four_times(client: Client, script: Scripted) -> None:
    script.refusals["Embed"] = [DOWN] * 9

    with pytest.raises(errors.Unavailable) as caught:
        client.embed(MODEL, "text")

    assert caught.value.reason == "DEPENDENCY_UNAVAILABLE"
    assert len(script.asked("Embed")) == 4


@pytest.mark.parametrize("kind", ["dataset", "model"])
def test_a_deletion_is_not_repeated(client: Client, script: Scripted, kind: str) -> None:
    script.refusals["DeleteDataset"] = script.refusals["DeleteModel"] = [DOWN]

    with pytest.raises(errors.Unavailable):
        (client.datasets if kind == "dataset" else client.models).delete(MODEL)

    assert script.deleted == []


@pytest.mark.parametrize("code", list(errors.BY_CODE))
async def test_every_code_is_its_own_exception_on_both_faces(
    client: Client, async_client: AsyncClient, script: Scripted, code: grpc.StatusCode
) -> None:
    status = refusal(
        code,
        "What to do.",
        bad_request(("a", "first"), ("b", "second")),
        retry_after(3),
        reason="SOME_REASON",
        metadata={"key": "value"},
    )
    # More than the four that a call may take: UNAVAILABLE is repeated.
    script.refusals["GetModel"] = [status] * 8

    with pytest.raises(errors.IsoglossError) as blocking:
        client.models.get(MODEL)
    with pytest.raises(errors.IsoglossError) as asynchronous:
        await async_client.models.get(MODEL)

    for caught in (blocking.value, asynchronous.value):
        assert type(caught) is errors.BY_CODE[code]
        assert (caught.code, caught.reason, caught.message) == (code, "SOME_REASON", "What to do.")
        assert caught.metadata == {"key": "value"}
        assert [v.field for v in caught.violations] == ["a", "b"]
        assert caught.retry_after == 3.0


def test_an_unknown_code_is_a_server_error(client: Client, script: Scripted) -> None:
    script.refusals["GetModel"] = [refusal(grpc.StatusCode.INTERNAL, "A fault.")]

    with pytest.raises(errors.ServerError, match="A fault"):
        client.models.get(MODEL)


def test_a_deadline_is_the_callers(client: Client, script: Scripted) -> None:
    script.hold.clear()

    with pytest.raises(errors.DeadlineExceeded):
        client.models.get(MODEL, timeout=0.2)


def test_nobody_at_the_address_is_unavailable() -> None:
    with Client(trainer="localhost:1") as client, pytest.raises(errors.Unavailable) as caught:
        client.models.get(MODEL, timeout=5)

    assert caught.value.reason == ""


def test_a_server_without_tls_is_named_as_such(suite: Suite) -> None:
    with (
        Client(trainer=f"https://{suite.address}") as client,
        pytest.raises(errors.Unavailable, match="does not speak TLS"),
    ):
        client.models.get(MODEL)


def test_the_key_is_sent_on_loopback(suite: Suite, script: Scripted) -> None:
    with Client(trainer=suite.address, api_key="secret") as client:
        client.models.get(MODEL)

    assert script.metadata[0]["authorization"] == "Bearer secret"


def test_without_a_key_none_is_sent(client: Client, script: Scripted) -> None:
    client.models.get(MODEL)

    assert "authorization" not in script.metadata[0]


@pytest.mark.parametrize("kind", ["server", "mutual"])
async def test_tls_with_a_private_authority(tmp_path: Path, kind: str) -> None:
    mutual = kind == "mutual"
    ca, authority = trustme.CA(), tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(authority))
    served = ca.issue_cert("localhost")
    own = ca.issue_cert("client@example.com")
    certificate, key = tmp_path / "own.pem", tmp_path / "own.key"
    own.cert_chain_pems[0].write_to_path(str(certificate))
    own.private_key_pem.write_to_path(str(key))
    pair = (served.private_key_pem.bytes(), served.cert_chain_pems[0].bytes())
    suite = Suite(
        Scripted(),
        grpc.ssl_server_credentials(
            [pair],
            root_certificates=ca.cert_pem.bytes() if mutual else None,
            require_client_auth=mutual,
        ),
    )
    options = isogloss.ConnectionOptions(
        trainer=f"https://{suite.address}", tls_ca=authority, api_key="secret"
    )
    if mutual:
        options |= {"tls_certificate": certificate, "tls_key": key}
    try:
        with Client(**options) as client:
            assert client.models.get(MODEL).name == MODEL
        async with AsyncClient(**options) as async_client:
            assert (await async_client.models.get(MODEL)).name == MODEL
        with (
            Client(trainer=f"https://{suite.address}") as stranger,
            pytest.raises(errors.Unavailable, match=r"No secure connection to .*issuer"),
        ):
            stranger.models.get(MODEL)
        assert {m["authorization"] for m in suite.script.metadata} == {"Bearer secret"}
    finally:
        suite.stop()
