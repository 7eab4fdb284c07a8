"""A real server of the real contracts: what every service gets from common."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from google.protobuf import descriptor_pool
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from isogloss.connection import CHANNEL_OPTIONS
from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.dataset_pb2 import Dataset
from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceStub
from services.common import errors
from services.common.errors import FieldViolation
from services.common.identity import Role
from services.common.logs import configure_logging
from services.common.server import MIN_PING_MILLISECONDS, RolesIncomplete, running_server
from services.common.status import CODES
from tests.integration.common.sample_service import (
    NAME,
    ROLES,
    Sample,
    SampleServicer,
    SampleSettings,
    application,
    running_sample,
)

FAMILY = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, errors.IsoglossError)
]
CODE = grpc.StatusCode


def key_file(folder: Path, **keys: tuple[str, str]) -> Path:
    """Write a file of keys: key=(tenant, role)."""
    entries = [
        f'[[keys]]\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\n'
        f'tenant = "{tenant}"\nrole = "{role}"\nname = "{key}"\n'
        for key, (tenant, role) in keys.items()
    ]
    path = folder / "keys.toml"
    path.write_text("\n".join(entries))
    return path


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


def trailers(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    return dict(error.trailing_metadata())


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    return status_pb2.Status.FromString(trailers(error)["grpc-status-details-bin"])


def info_of(error: grpc.aio.AioRpcError) -> details.ErrorInfo:
    info = details.ErrorInfo()
    assert status_of(error).details[0].Unpack(info)
    return info


@pytest.fixture
async def sample() -> AsyncIterator[Sample]:
    async with running_sample() as sample:
        yield sample


async def test_all_kinds_of_calls(sample: Sample) -> None:
    created = await sample.stub.CreateDataset(
        messages.CreateDatasetRequest(dataset=Dataset(display_name="a"))
    )
    requests = [messages.WriteDatasetRequest(data=b"12"), messages.WriteDatasetRequest(data=b"3")]
    written = await sample.stub.WriteDataset(iter(requests))
    watch = sample.stub.WatchDataset(messages.WatchDatasetRequest())
    async for _ in watch:
        break
    watch.cancel()

    assert created.name == "datasets/a"
    assert written.committed_size == 3
    assert (await sample.stub.GetDataset(messages.GetDatasetRequest(name="datasets/a"))).name


@pytest.mark.parametrize("kind", FAMILY)
async def test_every_error_reaches_the_client_with_its_details(
    sample: Sample, kind: type[errors.IsoglossError]
) -> None:
    def fail() -> None:
        if kind is errors.InvalidArgument:
            raise errors.InvalidArgument(FieldViolation(field="a", description="b"))
        if kind is errors.NotFound:
            raise errors.NotFound("datasets/a")
        raise kind("Ä message.", metadata={"key": "value"})

    sample.servicer.fail = fail

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await sample.stub.GetDataset(messages.GetDatasetRequest())

    assert caught.value.code() is CODES[kind]
    assert info_of(caught.value).reason == kind.default_reason
    assert status_of(caught.value).message == caught.value.details()
    await until(lambda: sample.observer.codes("GetDataset") == [CODES[kind]])


async def test_violations_of_any_size_reach_the_client(sample: Sample) -> None:
    violations = [FieldViolation(field="日" * 99, description="本" * 999) for _ in range(500)]

    def fail() -> None:
        raise errors.InvalidArgument(violations)

    sample.servicer.fail = fail

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await sample.stub.GetDataset(messages.GetDatasetRequest())

    assert caught.value.code() is CODE.INVALID_ARGUMENT
    assert status_of(caught.value).message == caught.value.details()


async def test_bug_is_internal_and_shows_nothing(
    sample: Sample, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise KeyError("a secret of the server")

    sample.servicer.fail = fail

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await sample.stub.GetDataset(
            messages.GetDatasetRequest(), metadata=(("x-request-id", "find-me"),)
        )

    assert caught.value.code() is CODE.INTERNAL
    assert "secret" not in str(status_of(caught.value))
    assert "find-me" in str(caught.value.details())
    assert info_of(caught.value).metadata["request_id"] == "find-me"
    logged = capsys.readouterr().out
    assert "a secret of the server" in logged
    assert "find-me" in logged


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("CreateDataset", "unary_unary"),
        ("WatchDataset", "unary_stream"),
        ("WriteDataset", "stream_unary"),
    ],
)
async def test_bytes_that_are_no_message_are_refused_in_words(
    sample: Sample, method: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sending, answering = kind.split("_")
    garbage = b"\x0a\x7f"
    async with grpc.aio.insecure_channel(sample.server.address) as channel:
        call = getattr(channel, kind)(f"/{NAME}/{method}")(
            garbage if sending == "unary" else iter([garbage])
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await (call if answering == "unary" else call.read())

    assert caught.value.code() is CODE.INVALID_ARGUMENT
    assert "its 2 bytes cannot be read" in str(caught.value.details())
    assert info_of(caught.value).reason == "INVALID_FIELD"
    assert "code=INVALID_ARGUMENT" in capsys.readouterr().out


async def test_error_in_the_middle_of_a_stream(sample: Sample) -> None:
    def fail() -> None:
        raise errors.NotFound("datasets/a")

    sample.servicer.fail = fail
    watch = sample.stub.WatchDataset(messages.WatchDatasetRequest())
    received = []

    with pytest.raises(grpc.aio.AioRpcError) as caught:  # noqa: PT012 - the stream's own loop
        async for response in watch:
            received.append(response)  # noqa: PERF401 - what came before the error counts

    assert len(received) == 1
    assert caught.value.code() is CODE.NOT_FOUND
    assert sample.servicer.cleaned == ["watch"]


async def test_abort_by_a_handler_passes(sample: Sample) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="by itself") as caught:
        await sample.stub.ListFindings(messages.ListFindingsRequest())

    assert caught.value.code() is CODE.RESOURCE_EXHAUSTED
    await until(lambda: sample.observer.codes("ListFindings") == [CODE.RESOURCE_EXHAUSTED])


async def test_request_id_comes_back(sample: Sample) -> None:
    for sent, expected in (("mine-1", "mine-1"), ("x" * 129, None)):
        call = sample.stub.ListDatasets(
            messages.ListDatasetsRequest(), metadata=(("x-request-id", sent),)
        )
        await call
        found = dict(await call.trailing_metadata())["x-request-id"]
        assert found == expected or (expected is None and len(found) == 32)


def test_clients_ping_no_more_often_than_servers_allow() -> None:
    options = dict(CHANNEL_OPTIONS)

    # Twice as often would leave nothing for clocks and networks that are late once.
    assert int(options["grpc.keepalive_time_ms"]) >= 2 * MIN_PING_MILLISECONDS


async def test_deadline_is_known_inside(sample: Sample) -> None:
    await sample.stub.ListDatasets(messages.ListDatasetsRequest(), timeout=30)
    assert sample.servicer.left is not None
    assert 20 < sample.servicer.left < 31  # gRPC rounds what it sends up

    await sample.stub.ListDatasets(messages.ListDatasetsRequest())
    assert sample.servicer.left is None


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is watched knows of no event
            await asyncio.sleep(0.01)


async def test_call_whose_deadline_passes_is_ended(sample: Sample) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await sample.stub.FinalizeDataset(messages.FinalizeDatasetRequest(), timeout=0.2)

    assert caught.value.code() is CODE.DEADLINE_EXCEEDED
    await until(lambda: sample.observer.codes("FinalizeDataset"))
    assert sample.servicer.cleaned == ["finalize"]


@pytest.mark.parametrize("method", ["FinalizeDataset", "WatchDataset"])
async def test_cancelled_call_is_ended(sample: Sample, method: str) -> None:
    request = getattr(messages, f"{method}Request")()
    call = getattr(sample.stub, method)(request)
    if method == "WatchDataset":
        await call.read()
    await sample.servicer.entered.wait()

    call.cancel()

    await until(lambda: sample.observer.codes(method) == [CODE.CANCELLED])
    assert len(sample.servicer.cleaned) == 1


async def unary(channel: Any, method: str, content: bytes) -> None:  # noqa: ANN401 - as below
    await channel.unary_unary(f"/{NAME}/{method}")(content)


async def test_unknown_method_is_unimplemented(sample: Sample) -> None:
    async with grpc.aio.insecure_channel(sample.server.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unary(channel, "Nothing", b"")

    assert caught.value.code() is CODE.UNIMPLEMENTED


def all_methods() -> list[str]:
    service = descriptor_pool.Default().FindServiceByName(NAME)
    return [method.name for method in service.methods]


async def call(
    channel: Any,  # noqa: ANN401 - bytes in, bytes out
    method: str,
    metadata: tuple[tuple[str, str], ...],
) -> grpc.StatusCode:
    """Call any method with an empty request; streams are ended after their first message."""
    found = descriptor_pool.Default().FindServiceByName(NAME).methods_by_name[method]
    path = f"/{NAME}/{method}"
    try:
        if found.server_streaming:
            stream = channel.unary_stream(path)(b"", metadata=metadata)
            await stream.read()
            stream.cancel()
        elif found.client_streaming:
            await channel.stream_unary(path)(iter([b""]), metadata=metadata)
        else:
            await channel.unary_unary(path)(b"", metadata=metadata, timeout=0.3)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return CODE.OK


DENIED = {CODE.PERMISSION_DENIED, CODE.UNAUTHENTICATED}


async def test_every_method_asks_every_role(tmp_path: Path) -> None:
    """The table is what is enforced: over every rpc, every role, no key and a wrong key."""
    keys = key_file(tmp_path, r=("acme", "read"), w=("acme", "write"), a=("acme", "admin"))
    async with (
        running_sample(api_keys_file=keys) as sample,
        grpc.aio.insecure_channel(sample.server.address) as channel,
    ):
        for method in all_methods():
            needed = ROLES[f"/{NAME}/{method}"]
            assert await call(channel, method, ()) is CODE.UNAUTHENTICATED
            assert await call(channel, method, bearer("wrong")) is CODE.UNAUTHENTICATED
            for key, role in (("r", Role.READ), ("w", Role.WRITE), ("a", Role.ADMIN)):
                code = await call(channel, method, bearer(key))
                if role < needed:
                    assert code is CODE.PERMISSION_DENIED, (method, role)
                else:
                    assert code not in DENIED, (method, role)


async def test_refused_caller_never_reaches_the_servicer(tmp_path: Path) -> None:
    keys = key_file(tmp_path, r=("acme", "read"))
    async with running_sample(api_keys_file=keys) as sample:
        request = messages.CreateDatasetRequest(dataset=Dataset(display_name="a"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await sample.stub.CreateDataset(request, metadata=bearer("r"))
        with pytest.raises(grpc.aio.AioRpcError):
            await sample.stub.CreateDataset(request)

        assert caught.value.code() is CODE.PERMISSION_DENIED
        assert "needs the role write" in str(caught.value.details())
        assert sample.servicer.datasets == {}


async def test_two_tenants_do_not_see_each_other(tmp_path: Path) -> None:
    keys = key_file(tmp_path, one=("one", "write"), two=("two", "write"))
    async with running_sample(api_keys_file=keys) as sample:
        request = messages.CreateDatasetRequest(dataset=Dataset(display_name="a"))
        await sample.stub.CreateDataset(request, metadata=bearer("one"))
        wanted = messages.GetDatasetRequest(name="datasets/a")

        assert (await sample.stub.GetDataset(wanted, metadata=bearer("one"))).name == "datasets/a"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await sample.stub.GetDataset(wanted, metadata=bearer("two"))
        listed = await sample.stub.ListDatasets(
            messages.ListDatasetsRequest(), metadata=bearer("two")
        )

    assert caught.value.code() is CODE.NOT_FOUND
    assert list(listed.datasets) == []


def mirror_of(channel: Any) -> Any:  # noqa: ANN401 - the stubs know the blocking channel only
    return reflection_pb2_grpc.ServerReflectionStub(channel)


async def test_health_says_whether_calls_can_be_answered() -> None:
    able = False
    settings = SampleSettings(address="127.0.0.1:0")
    app = replace(application(settings, SampleServicer()), ready=lambda: able)
    async with (
        asyncio.timeout(30),
        running_server(app) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        health: Any = health_pb2_grpc.HealthStub(channel)
        watches = [health.Watch(health_pb2.HealthCheckRequest(service=name)) for name in ("", NAME)]
        for able in (False, True, False):
            expected = "SERVING" if able else "NOT_SERVING"
            for watch in watches:
                status = (await watch.read()).status
                assert health_pb2.HealthCheckResponse.ServingStatus.Name(status) == expected
        for watch in watches:
            watch.cancel()


async def test_health_and_reflection_need_no_key(tmp_path: Path) -> None:
    keys = key_file(tmp_path, k=("acme", "admin"))
    async with (
        running_sample(api_keys_file=keys) as sample,
        grpc.aio.insecure_channel(sample.server.address) as channel,
    ):
        health: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", NAME):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        watch = health.Watch(health_pb2.HealthCheckRequest(service=NAME))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        await sample.server.health.set(NAME, health_pb2.HealthCheckResponse.NOT_SERVING)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        mirror = mirror_of(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        async for response in mirror.ServerReflectionInfo(iter([request])):
            names = {service.name for service in response.list_services_response.service}
            assert NAME in names


async def test_reflection_can_be_off() -> None:
    async with (
        running_sample(reflection=False) as sample,
        grpc.aio.insecure_channel(sample.server.address) as channel,
    ):
        mirror = mirror_of(channel)
        stream = mirror.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest()]))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()

    assert caught.value.code() is CODE.UNIMPLEMENTED


async def test_mesh_decides_who_calls() -> None:
    async with running_sample(trust_mesh=True) as sample:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await sample.stub.ListDatasets(messages.ListDatasetsRequest())
        assert caught.value.code() is CODE.UNAUTHENTICATED
        metadata = (("x-isogloss-tenant", "acme"), ("x-isogloss-role", "write"))
        await sample.stub.CreateDataset(
            messages.CreateDatasetRequest(dataset=Dataset(display_name="a")), metadata=metadata
        )

        assert sample.servicer.datasets == {"acme": ["a"]}


async def test_identity_from_metadata_counts_for_nothing_without_a_mesh() -> None:
    async with running_sample() as sample:
        await sample.stub.CreateDataset(
            messages.CreateDatasetRequest(dataset=Dataset(display_name="a")),
            metadata=(("x-isogloss-tenant", "acme"), ("x-isogloss-role", "read")),
        )

        assert sample.servicer.datasets == {"default": ["a"]}


@pytest.mark.parametrize("change", ["missing", "unknown"])
async def test_server_without_a_role_for_each_method_does_not_start(change: str) -> None:
    roles = dict(ROLES)
    if change == "missing":
        del roles[f"/{NAME}/GetDataset"]
    else:
        roles[f"/{NAME}/Nothing"] = Role.READ

    with pytest.raises(RolesIncomplete, match=r"GetDataset|Nothing"):
        async with running_server(application(SampleSettings(), SampleServicer(), roles=roles)):
            pass


async def test_message_over_the_limit_is_refused(sample: Sample) -> None:
    limit = SampleSettings().max_message_bytes
    async with grpc.aio.insecure_channel(
        sample.server.address, options=[("grpc.max_send_message_length", -1)]
    ) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unary(channel, "GetDataset", bytes(limit + 1))

    assert caught.value.code() is CODE.RESOURCE_EXHAUSTED


async def test_port_that_is_taken_is_named(sample: Sample) -> None:
    settings = SampleSettings(address=sample.server.address)

    with pytest.raises(OSError, match=f"port {sample.server.port} cannot be listened on"):
        async with running_server(application(settings, SampleServicer())):
            pass


async def test_watches_end_at_the_stop_and_other_calls_finish() -> None:
    """Neither the stream nor the health watch, endless both, hold the stop up."""
    settings = SampleSettings(shutdown_grace=60)
    servicer = SampleServicer()
    proceed = asyncio.Event()

    async def slow(_request: object, _context: object) -> messages.PreviewDatasetResponse:
        servicer.entered.set()
        await proceed.wait()
        return messages.PreviewDatasetResponse()

    servicer.PreviewDataset = slow  # type: ignore[assignment,method-assign]  # this one is slow
    async with asyncio.timeout(30):
        stack = running_server(application(settings, servicer))
        server = await stack.__aenter__()
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = DatasetServiceStub(channel)
            health: Any = health_pb2_grpc.HealthStub(channel)
            watch = stub.WatchDataset(messages.WatchDatasetRequest())
            await watch.read()
            probe = health.Watch(health_pb2.HealthCheckRequest(service=""))
            await probe.read()
            # The stream set it as well; what is waited for is the call that the stop must spare.
            servicer.entered.clear()
            preview = asyncio.ensure_future(stub.PreviewDataset(messages.PreviewDatasetRequest()))
            await servicer.entered.wait()

            stopping = asyncio.create_task(stack.__aexit__(None, None, None))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await watch.read()
            proceed.set()
            await preview
            await stopping

    assert caught.value.code() is CODE.UNAVAILABLE
    assert "call again" in str(caught.value.details())


async def test_background_runs_beside_and_close_comes_last() -> None:
    events: list[str] = []

    async def beside() -> None:
        events.append("began")
        try:
            await asyncio.Event().wait()
        finally:
            events.append("cancelled")

    app = application(
        SampleSettings(),
        SampleServicer(),
        background=(beside,),
        close=(lambda: events.append("closed 1"), lambda: events.append("closed 2")),
    )
    async with running_server(app) as server:
        await until(lambda: events == ["began"])
        assert not server.background.done()

    assert events == ["began", "cancelled", "closed 1", "closed 2"]


async def test_background_that_fails_is_told() -> None:
    async def failing() -> None:
        raise RuntimeError("lost the database")

    app = application(SampleSettings(), SampleServicer(), background=(failing,))
    async with running_server(app) as server:
        await asyncio.wait({server.background}, timeout=20)

        with pytest.raises(ExceptionGroup) as caught:
            server.background.result()
    assert caught.group_contains(RuntimeError, match="lost the database")


@pytest.fixture
def logging_restored() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.mark.usefixtures("logging_restored")
async def test_access_log(sample: Sample, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="info", format="json", service="sample")
    await sample.stub.ListDatasets(
        messages.ListDatasetsRequest(), metadata=(("x-request-id", "r1"),)
    )
    await until(lambda: sample.observer.ended)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (line,) = [line for line in lines if line["event"] == "call"]
    assert line["method"] == f"/{NAME}/ListDatasets"
    assert (line["code"], line["tenant"], line["caller"]) == ("OK", "default", "anyone")
    assert (line["request_id"], line["service"], line["level"]) == ("r1", "sample", "info")
    assert line["seconds"] >= 0
