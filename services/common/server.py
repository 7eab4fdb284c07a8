"""The life of a server process: assemble, listen, serve, drain, stop. Knows no service."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
import structlog
from google.protobuf import descriptor_pool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client.registry import Collector

from services.common.errors import IsoglossError
from services.common.identity import Anyone, Authenticator, KeyFile, Mesh, Role
from services.common.interceptor import CallInterceptor, CallObserver
from services.common.logs import configure_logging
from services.common.observing import Observation, observed
from services.common.settings import ServiceSettings, split_address
from services.common.starter import when_stdin_ends
from services.common.storage import UnsuitableStore
from services.common.tls import server_credentials

_log = structlog.get_logger()

PUBLIC = frozenset(
    {
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/List",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    }
)
"""Methods without identity: probes have no keys, and the contracts are no secret."""

_THREADS = 32
"""Threads for blocking calls: they wait for the store and the database, so more than processors."""

MIN_PING_MILLISECONDS = 20_000
"""Clients may ping this often; ours do so every 60 s. A client that pings more is cut off."""

_READINESS_SECONDS = 0.25
"""How late a probe hears of a change, at most; asking is a look at memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One gRPC service of a server."""

    name: str
    """Full name, such as `isogloss.v1.DatasetService`."""

    servicer: Any
    """The object with its methods, all asynchronous."""

    add: Callable[[Any, grpc.aio.Server], None]
    """The generated `add_...Servicer_to_server`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """What a server serves, and what runs beside it."""

    settings: ServiceSettings
    services: Sequence[Service]
    roles: Mapping[str, Role]
    """The least role of every method, by full name: `/isogloss.v1.DatasetService/GetDataset`."""

    background: Sequence[Callable[[], Awaitable[None]]] = ()
    """Run beside the server and are cancelled after the last call. One that raises stops the
    server with that error; one that returns is done."""

    close: Sequence[Callable[[], None]] = ()
    """Called in order, each in a thread, after everything else."""

    observers: Sequence[CallObserver] = ()
    """Told of every call that ends."""

    collectors: Sequence[Collector] = ()
    """What it adds to the metrics."""

    ready: Callable[[], bool] = lambda: True
    """Whether calls can be answered now; asked again and again on the event loop, and told to
    whoever asks for the health of the server. Calls are taken either way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server that takes calls."""

    address: str
    """Host as it was set, and the port that is bound."""

    port: int
    health: health.aio.HealthServicer
    """For a service that is not ready yet, or no longer."""

    background: asyncio.Task[None] = field(repr=False)
    """Ends only when a background task fails."""


class RolesIncomplete(Exception):
    """A service has methods that the table of roles does not name, or the other way round."""


@asynccontextmanager
async def running_server(application: Application) -> AsyncIterator[RunningServer]:
    """Serve while the block runs; then drain, stop and close.

    Raises:
        RolesIncomplete: Where the table and the contracts differ.
        ValueError: Where a key or certificate file is broken.
        OSError: Where an address cannot be listened on.
    """
    check_roles(application)
    async with (
        observed(application.settings, application.collectors) as observation,
        _serving(application, observation) as running,
    ):
        yield running


@asynccontextmanager
async def _serving(
    application: Application, observation: Observation
) -> AsyncIterator[RunningServer]:
    settings = application.settings
    interceptor = CallInterceptor(
        authenticator=_authenticator(settings),
        roles=application.roles,
        public=PUBLIC,
        observers=[*application.observers, *observation.observers],
        tracing=observation.tracing,
    )
    server = grpc.aio.server(
        interceptors=[interceptor],
        options=[
            ("grpc.max_receive_message_length", settings.max_message_bytes),
            ("grpc.max_send_message_length", settings.max_message_bytes),
            # Two servers on one port would share its calls by chance.
            ("grpc.so_reuseport", 0),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", MIN_PING_MILLISECONDS),
            # Else a ping that crosses the end of the last call counts as one too many.
            ("grpc.keepalive_permit_without_calls", 1),
        ],
    )
    probes = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(probes, server)
    for service in application.services:
        service.add(service.servicer, server)
    ready = application.ready()
    await _tell(probes, application, ready=ready)
    if settings.reflection:
        names = [service.name for service in application.services]
        reflection.enable_server_reflection(
            [*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server
        )
    port = _listen(server, settings)
    await server.start()
    host = settings.address.rpartition(":")[0]
    follow: Callable[[], Awaitable[None]] = partial(
        _follow_readiness, probes, application, told=ready
    )
    background = asyncio.create_task(_run_background([*application.background, follow]))
    _log.info(
        "listening",
        address=f"{host}:{port}",
        tls=settings.tls_certificate is not None,
        keys=settings.api_keys_file is not None,
    )
    try:
        yield RunningServer(
            address=f"{host}:{port}", port=port, health=probes, background=background
        )
    finally:
        await probes.enter_graceful_shutdown()
        await asyncio.sleep(settings.shutdown_drain)
        interceptor.end_watches()
        await server.stop(settings.shutdown_grace)
        background.cancel()
        # What it failed with is the caller's to raise, from the task.
        await asyncio.wait({background})
        for close in application.close:
            await asyncio.to_thread(close)
        _log.info("stopped")


def run(build: Callable[[], Application], settings: ServiceSettings) -> None:
    """Serve until SIGTERM, SIGINT or an end of standard input that counts; a service's `main`.

    Args:
        build: Assembles the service; may block and use the event loop that runs.
        settings: The service's.

    Raises:
        SystemExit: With status 1 and a plain message where it cannot start.
    """
    configure_logging(
        level=settings.log_level, format=settings.log_format, service=settings.service
    )
    _log.debug("settings", settings=settings.model_dump(mode="json"))
    try:
        asyncio.run(_serve(build))
    except (IsoglossError, UnsuitableStore, ValueError, OSError) as error:
        _log.debug("cannot_start", exc_info=True)
        sys.stderr.write(f"The {settings.service} service cannot start: {error}\n")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        # While it was still starting, or again while it was stopping: no more patience.
        raise SystemExit(130) from None


async def _serve(build: Callable[[], Application]) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="blocking"))
    application = build()
    stop = asyncio.Event()
    if application.settings.stop_with_stdin:
        when_stdin_ends(partial(_stop_from_thread, loop, stop))
    async with running_server(application) as running:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({stopping, running.background}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        # A second signal is a person who does not want to wait.
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        _log.info("stopping", signal=stop.is_set())
    if not running.background.cancelled():
        await running.background


def _stop_from_thread(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    # The loop is closed where the process was about to end anyway.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(stop.set)


async def _follow_readiness(
    probes: health.aio.HealthServicer, application: Application, *, told: bool
) -> None:
    """Tell every change of `ready`, until cancelled."""
    while True:
        await asyncio.sleep(_READINESS_SECONDS)
        ready = application.ready()
        if ready != told:
            told = ready
            _log.log(logging.INFO if ready else logging.WARNING, "readiness", ready=ready)
            await _tell(probes, application, ready=ready)


async def _tell(
    probes: health.aio.HealthServicer, application: Application, *, ready: bool
) -> None:
    status = health_pb2.HealthCheckResponse
    for name in ("", *(service.name for service in application.services)):
        await probes.set(name, status.SERVING if ready else status.NOT_SERVING)


async def _run_background(tasks: Sequence[Callable[[], Awaitable[None]]]) -> None:
    async with asyncio.TaskGroup() as group:
        for task in tasks:
            group.create_task(_awaited(task))
        await asyncio.Event().wait()


async def _awaited(task: Callable[[], Awaitable[None]]) -> None:
    await task()


def check_roles(application: Application) -> None:
    """See that the table names every method of every service, and nothing else.

    Raises:
        RolesIncomplete: With the differences.
    """
    pool = descriptor_pool.Default()
    methods = {
        f"/{service.name}/{method.name}"
        for service in application.services
        for method in pool.FindServiceByName(service.name).methods
    }
    differences = methods ^ set(application.roles)
    if differences:
        raise RolesIncomplete(
            f"methods that only the contracts or only the roles name: {sorted(differences)}"
        )


def _authenticator(settings: ServiceSettings) -> Authenticator:
    if settings.trust_mesh:
        return Mesh()
    return Anyone() if settings.api_keys_file is None else KeyFile(settings.api_keys_file)


def _listen(server: grpc.aio.Server, settings: ServiceSettings) -> int:
    host, port = split_address(settings.address)
    try:
        if settings.tls_certificate is None or settings.tls_key is None:
            return server.add_insecure_port(settings.address)
        credentials = server_credentials(
            certificate=settings.tls_certificate,
            key=settings.tls_key,
            client_ca=settings.tls_client_ca,
        )
        return server.add_secure_port(settings.address, credentials)
    except RuntimeError as error:
        raise OSError(
            f"{host} port {port} cannot be listened on: is another process there? See with "
            f"`ss -ltnp 'sport = :{port}'`, or set another address."
        ) from error
