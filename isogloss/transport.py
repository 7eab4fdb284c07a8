"""How calls reach a server: the same coroutines, over blocking stubs or over asyncio's.

What is above this module is written once, as coroutines over `Transport`. `AsyncTransport`
awaits; `BlockingTransport` blocks inside and never suspends, so that `blocking` runs such a
coroutine to its end with a single step and needs no event loop and no thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast

import grpc
from grpc import aio

from isogloss.connection import CHANNEL_OPTIONS, Connection, Service
from isogloss.status import error_from_rpc

P = ParamSpec("P")
Q = TypeVar("Q")
R = TypeVar("R")
T = TypeVar("T")


class Transport(Protocol):
    """What the methods of a client need of the world. `call`s are methods of generated stubs."""

    @property
    def timeout(self) -> float:
        """The connection's default for one call, in seconds."""

    def channel(self, service: Service) -> grpc.Channel:
        """Give the channel to a service, opened on first use. Stubs take either kind."""

    async def unary(
        self, call: grpc.UnaryUnaryMultiCallable[Q, R], request: Q, timeout: float | None
    ) -> R:
        """Call; `timeout` in seconds, None for the connection's default."""

    async def upload(
        self,
        call: grpc.StreamUnaryMultiCallable[Q, R],
        requests: Iterator[Q],
        timeout: float | None = None,
    ) -> R:
        """Send all requests and return the answer; without a timeout it may take for ever.

        `requests` may block; it runs in a thread.
        """

    def stream(
        self, call: grpc.UnaryStreamMultiCallable[Q, R], request: Q, timeout: float | None
    ) -> AsyncIterator[R]:
        """Call and give what comes; without a timeout it may take for ever."""

    def duplex(
        self,
        call: grpc.StreamStreamMultiCallable[Q, R],
        requests: Iterator[Q],
        timeout: float | None = None,
    ) -> AsyncGenerator[R]:
        """Send all requests and give what comes meanwhile; without a timeout for ever.

        `requests` may block; it runs in a thread.
        """

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def work(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something that blocks, such as reading a file."""

    async def close(self) -> None:
        """Close all channels."""


class BlockingTransport:
    """Runs everything in the calling thread."""

    def __init__(self, connection: Connection) -> None:
        """Keep where to connect; nothing is opened yet."""
        self._connection = connection
        self._channels: dict[Service, grpc.Channel] = {}

    @property
    def timeout(self) -> float:
        """See `Transport`."""
        return self._connection.timeout

    def channel(self, service: Service) -> grpc.Channel:
        """See `Transport`."""
        if service not in self._channels:
            endpoint = self._connection.endpoints[service]
            self._channels[service] = (
                grpc.secure_channel(
                    endpoint.target, self._connection.credentials(), CHANNEL_OPTIONS
                )
                if endpoint.tls
                else grpc.insecure_channel(endpoint.target, CHANNEL_OPTIONS)
            )
        return self._channels[service]

    async def unary(
        self, call: grpc.UnaryUnaryMultiCallable[Q, R], request: Q, timeout: float | None
    ) -> R:
        """See `Transport`."""
        try:
            return call(
                request,
                timeout=self._connection.timeout if timeout is None else timeout,
                metadata=self._connection.metadata,
            )
        except grpc.RpcError as error:
            raise error_from_rpc(error) from error

    async def upload(
        self,
        call: grpc.StreamUnaryMultiCallable[Q, R],
        requests: Iterator[Q],
        timeout: float | None = None,
    ) -> R:
        """See `Transport`."""
        try:
            return call(requests, timeout=timeout, metadata=self._connection.metadata)
        except grpc.RpcError as error:
            raise error_from_rpc(error) from error

    async def stream(
        self, call: grpc.UnaryStreamMultiCallable[Q, R], request: Q, timeout: float | None
    ) -> AsyncIterator[R]:
        """See `Transport`."""
        replies = call(request, timeout=timeout, metadata=self._connection.metadata)
        try:
            for reply in replies:
                yield reply
        except grpc.RpcError as error:
            raise error_from_rpc(error) from error
        finally:
            replies.cancel()

    async def duplex(
        self,
        call: grpc.StreamStreamMultiCallable[Q, R],
        requests: Iterator[Q],
        timeout: float | None = None,
    ) -> AsyncGenerator[R]:
        """See `Transport`."""
        replies = call(requests, timeout=timeout, metadata=self._connection.metadata)
        try:
            for reply in replies:
                yield reply
        except grpc.RpcError as error:
            raise error_from_rpc(error) from error
        finally:
            replies.cancel()

    async def sleep(self, seconds: float) -> None:
        """See `Transport`."""
        time.sleep(seconds)  # noqa: ASYNC251 (never runs on an event loop)

    async def work(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Transport`."""
        return function(*args, **kwargs)

    async def close(self) -> None:
        """See `Transport`."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()


class AsyncTransport:
    """Runs on the event loop of the caller."""

    def __init__(self, connection: Connection) -> None:
        """Keep where to connect; nothing is opened before the loop runs."""
        self._connection = connection
        self._channels: dict[Service, aio.Channel] = {}

    @property
    def timeout(self) -> float:
        """See `Transport`."""
        return self._connection.timeout

    def channel(self, service: Service) -> grpc.Channel:
        """See `Transport`."""
        if service not in self._channels:
            endpoint = self._connection.endpoints[service]
            self._channels[service] = (
                aio.secure_channel(endpoint.target, self._connection.credentials(), CHANNEL_OPTIONS)
                if endpoint.tls
                else aio.insecure_channel(endpoint.target, CHANNEL_OPTIONS)
            )
        # A generated stub is one class for both kinds of channel.
        return cast("grpc.Channel", self._channels[service])

    async def unary(
        self, call: grpc.UnaryUnaryMultiCallable[Q, R], request: Q, timeout: float | None
    ) -> R:
        """See `Transport`."""
        try:
            return await cast("aio.UnaryUnaryMultiCallable[Q, R]", call)(
                request,
                timeout=self._connection.timeout if timeout is None else timeout,
                metadata=self._connection.metadata,
            )
        except grpc.RpcError as error:
            raise error_from_rpc(error) from error

    async def upload(
        self,
        call: grpc.StreamUnaryMultiCallable[Q, R],
        requests: Iterator[Q],
        timeout: float | None = None,
    ) -> R:
        """See `Transport`."""
        try:
            return await cast("aio.StreamUnaryMultiCallable[Q, R]", call)(
                _in_threads(requests), timeout=timeout, metadata=self._connection.metadata
            )
        except grpc.RpcError as error:
            raise error_from_rpc(error) from error

    async def stream(
        self, call: grpc.UnaryStreamMultiCallable[Q, R], request: Q, timeout: float | None
    ) -> AsyncIterator[R]:
        """See `Transport`."""
        replies = cast("aio.UnaryStreamMultiCallable[Q, R]", call)(
            request, timeout=timeout, metadata=self._connection.metadata
        )
        try:
            async for reply in replies:
                yield reply
        except grpc.RpcError as error:
            raise error_from_rpc(error) from error
        finally:
            replies.cancel()

    async def duplex(
        self,
        call: grpc.StreamStreamMultiCallable[Q, R],
        requests: Iterator[Q],
        timeout: float | None = None,
    ) -> AsyncGenerator[R]:
        """See `Transport`."""
        replies = cast("aio.StreamStreamMultiCallable[Q, R]", call)(
            _in_threads(requests), timeout=timeout, metadata=self._connection.metadata
        )
        try:
            async for reply in replies:
                yield reply
        except grpc.RpcError as error:
            raise error_from_rpc(error) from error
        finally:
            replies.cancel()

    async def sleep(self, seconds: float) -> None:
        """See `Transport`."""
        await asyncio.sleep(seconds)

    async def work(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Transport`."""
        return await asyncio.to_thread(function, *args, **kwargs)

    async def close(self) -> None:
        """See `Transport`."""
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()


async def _in_threads(items: Iterator[T]) -> AsyncIterator[T]:
    """Take items without holding up the loop."""
    end = object()
    while (item := await asyncio.to_thread(next, items, end)) is not end:
        yield cast("T", item)


class Facade(Generic[T]):
    """The blocking face of an object whose coroutines run over a `BlockingTransport`."""

    def __init__(self, inner: T) -> None:
        """Keep what does the work."""
        self._inner = inner


def blocking(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Any, P], R]:
    """Make a `Facade`'s method from a coroutine method of what it stands for."""

    @wraps(method)
    def call(facade: Facade[Any], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return finish(method(facade._inner, *args, **kwargs))  # noqa: SLF001 (its own face)

    return call


def blocking_stream(
    method: Callable[Concatenate[Any, P], AsyncIterator[R]],
) -> Callable[Concatenate[Any, P], Iterator[R]]:
    """Make a `Facade`'s iterator from an asynchronous iterator of what it stands for."""

    @wraps(method)
    def call(facade: Facade[Any], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        items = method(facade._inner, *args, **kwargs)  # noqa: SLF001 (its own face)
        try:
            while True:
                try:
                    yield finish(cast("Coroutine[Any, Any, R]", anext(items)))
                except StopAsyncIteration:
                    return
        finally:
            finish(cast("AsyncGenerator[R]", items).aclose())

    return call


def finish(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine that never suspends.

    Raises:
        RuntimeError: It did suspend, which is a bug of this package.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return cast("R", stop.value)
    coroutine.close()
    raise RuntimeError("A blocking call was suspended. This is a bug of isogloss.")
