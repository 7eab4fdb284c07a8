"""What happens around every call: identity, deadline, errors, access log, metrics.

One interceptor for all four kinds of methods. Raising in `intercept_service` itself would answer
UNKNOWN and show the exception, so whatever may fail happens inside the wrapped handler.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import math
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Protocol, cast

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc.aio import AbortError, ServerInterceptor, ServicerContext
from opentelemetry.trace import Span

from services.common.errors import FieldViolation, InvalidArgument, IsoglossError, Unavailable
from services.common.identity import Authenticator, Role, authorize, bind_principal
from services.common.status import code_of, message_of, to_status
from services.common.tracing import Tracing, finish

_log = structlog.get_logger()

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
"""What a caller may send as `x-request-id` to find its call in the log."""

Context = ServicerContext[Any, Any]


class CallObserver(Protocol):
    """Takes note of calls, for metrics."""

    def observe(self, *, method: str, code: grpc.StatusCode, seconds: float) -> None:
        """Note one call that ended.

        Args:
            method: Full name, `/package.Service/Method`; only methods that exist.
            code: How it ended.
            seconds: From its arrival to its end.
        """
        ...


_deadline: contextvars.ContextVar[float | None] = contextvars.ContextVar(
    "isogloss_deadline", default=None
)


def remaining_seconds() -> float | None:
    """Return what is left of the caller's time, at least 0; None where it set no deadline."""
    deadline = _deadline.get()
    return None if deadline is None else max(0.0, deadline - time.monotonic())


class CallInterceptor(ServerInterceptor):
    """Wraps every handler of one server.

    Args:
        authenticator: Says who calls.
        roles: The least role of each method.
        public: Methods that need no identity.
        observers: Told of every call that ends.
        tracing: Makes a span of every call that is not public; None: nobody does.
    """

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        roles: Mapping[str, Role],
        public: frozenset[str] = frozenset(),
        observers: Sequence[CallObserver] = (),
        tracing: Tracing | None = None,
    ) -> None:
        """Keep the parts."""
        self._tracing = tracing
        self._authenticator = authenticator
        self._roles = roles
        self._public = public
        self._observers = observers
        self._watches: set[asyncio.Task[Any]] = set()
        self._handing: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    def end_watches(self) -> None:
        """End the streams that would not end by themselves, now and from now on.

        These are the methods named `Watch...` and `Process`; their callers are told to call again,
        which another server, or this one once it is back, answers from where they were.
        """
        self._stopping = True
        # One that hands a message to gRPC would be cancelled there, and its caller told nothing:
        # it ends by itself once the message is on its way.
        for task in self._watches - self._handing:
            task.cancel()

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap each method's handler once; an unknown method stays gRPC's to refuse."""
        method = str(handler_call_details.method)
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            wrapped = self._wrapped[method] = self._wrap(method, handler)
        return wrapped

    def _wrap(self, method: str, handler: Any) -> grpc.RpcMethodHandler[Any, Any]:  # noqa: ANN401 - a named tuple, which the stubs hide
        sending = "stream" if handler.request_streaming else "unary"
        kind = f"{sending}_{'stream' if handler.response_streaming else 'unary'}"
        inner, read = getattr(handler, kind), _reader(handler)
        if inspect.isasyncgenfunction(inner):

            async def generate(request: Any, context: Context) -> AsyncIterator[Any]:  # noqa: ANN401 - any message
                async with (
                    self._call(method, context),
                    aclosing(inner(read(request), context)) as items,
                ):
                    async for item in items:
                        with self._handing_over(method):
                            yield item

            wrapped: Any = generate
        else:

            async def respond(request: Any, context: Context) -> Any:  # noqa: ANN401 - any message
                async with self._call(method, context):
                    return await inner(read(request), context)

            wrapped = respond
        bare = {kind: wrapped, "request_deserializer": None}
        return handler._replace(**bare)  # type: ignore[no-any-return]  # a named tuple

    @asynccontextmanager
    async def _call(self, method: str, context: Context) -> AsyncIterator[None]:
        """Do what is to be done before and after one call."""
        began = time.monotonic()
        metadata = _texts(context)
        request_id = metadata.get("x-request-id", "")
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = secrets.token_hex(16)
        structlog.contextvars.bind_contextvars(method=method, request_id=request_id)
        context.set_trailing_metadata((("x-request-id", request_id),))
        span = self._span(method, metadata)
        left = cast("float | None", context.time_remaining())  # the stubs forget None
        deadline = math.inf if left is None else began + left
        _deadline.set(None if left is None else deadline)
        code = grpc.StatusCode.OK
        try:
            with self._watched(method):
                self._identify(method, metadata)
                yield
        except AbortError:
            code = context.code()
            raise
        except asyncio.CancelledError:
            if not self._ended_by_stop(method):
                code = _given_up(deadline)
                raise
            code = grpc.StatusCode.UNAVAILABLE
            stopping = Unavailable("The server is stopping: call again.", retry_after=1.0)
            await _abort(context, stopping, request_id)
        except GeneratorExit:
            # gRPC lets go of a stream whose caller went away while it took a message; the loop
            # closes it later, in a context of its own.
            code = _given_up(deadline)
            raise
        except IsoglossError as error:
            code = code_of(error)
            if code in _OUR_FAULT:
                _log.error("call_failed", exc_info=True)
            await _abort(context, error, request_id)
        except Exception:  # noqa: BLE001 - the one place where a bug becomes INTERNAL
            code = grpc.StatusCode.INTERNAL
            _log.exception("call_failed")
            await _abort(context, _internal(request_id), request_id)
        finally:
            self._end(method, code, time.monotonic() - began)
            if span is not None:
                finish(span, code)

    def _span(self, method: str, metadata: Mapping[str, str]) -> Span | None:
        if self._tracing is None or method in self._public:
            return None
        return self._tracing.begin(method, metadata)

    def _end(self, method: str, code: grpc.StatusCode, seconds: float) -> None:
        log = _log.debug if method in self._public else _log.info
        log("call", code=code.name, seconds=round(seconds, 6))
        for observer in self._observers:
            observer.observe(method=method, code=code, seconds=seconds)

    def _identify(self, method: str, metadata: Mapping[str, str]) -> None:
        if method in self._public:
            return
        principal = self._authenticator.authenticate(metadata)
        structlog.contextvars.bind_contextvars(tenant=principal.tenant, caller=principal.name)
        authorize(principal, method, self._roles)
        bind_principal(principal)

    @contextmanager
    def _watched(self, method: str) -> Iterator[None]:
        """Keep the task of an endless stream while it runs."""
        task = asyncio.current_task()
        if task is None or not _is_watch(method):
            yield
            return
        if self._stopping:
            raise Unavailable("The server is stopping: call again.", retry_after=1.0)
        self._watches.add(task)
        try:
            yield
        finally:
            self._watches.discard(task)

    @contextmanager
    def _handing_over(self, method: str) -> Iterator[None]:
        """Note that a stream waits for gRPC to take a message, and end it then where it should."""
        task = asyncio.current_task()
        if task is None or not _is_watch(method):
            yield
            return
        self._handing.add(task)
        try:
            yield
        finally:
            self._handing.discard(task)
        if self._stopping:
            raise asyncio.CancelledError

    def _ended_by_stop(self, method: str) -> bool:
        """Tell a stream that `end_watches` cancelled from one that its caller did."""
        task = asyncio.current_task()
        if not self._stopping or not _is_watch(method) or task is None:
            return False
        task.uncancel()
        return True


_OUR_FAULT = frozenset(
    {grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.UNAVAILABLE}
)
"""What an operator must see the cause of."""


def _given_up(deadline: float) -> grpc.StatusCode:
    """Return how a call ended whose caller no longer waits."""
    over = time.monotonic() >= deadline
    return grpc.StatusCode.DEADLINE_EXCEEDED if over else grpc.StatusCode.CANCELLED


def _reader(handler: grpc.RpcMethodHandler[Any, Any]) -> Callable[[Any], Any]:
    """Return what makes messages of the bytes that a handler is called with.

    Left to gRPC, bytes that are no message would be answered with UNKNOWN and the text of an
    exception, seen by no log, and those of callers whom nobody knows would be read as well.
    """
    parse = handler.request_deserializer

    def message(content: bytes) -> Any:  # noqa: ANN401 - any message
        try:
            return parse(content) if parse else content
        except DecodeError as error:
            raise InvalidArgument(
                FieldViolation(
                    field="request",
                    description=(
                        f"its {len(content)} bytes cannot be read: {error}. Encode it by the "
                        "contracts in protos/, with texts in UTF-8."
                    ),
                )
            ) from error

    return partial(_Messages, message) if handler.request_streaming else message


class _Messages:
    """The messages of a stream of bytes."""

    def __init__(self, message: Callable[[bytes], Any], contents: AsyncIterator[bytes]) -> None:
        self._message = message
        self._contents = contents

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401 - any message
        return self._message(await anext(self._contents))


def _is_watch(method: str) -> bool:
    return method.rpartition("/")[2].startswith(("Watch", "Process"))


def _texts(context: Context) -> dict[str, str]:
    """Return the call's metadata without binary values; of several values the last."""
    pairs = context.invocation_metadata() or ()
    return {key: value for key, value in pairs if isinstance(value, str)}


def _internal(request_id: str) -> IsoglossError:
    return IsoglossError(
        f"The server failed at this. Its log has the details under the request id {request_id}.",
        metadata={"request_id": request_id},
    )


async def _abort(context: Context, error: IsoglossError, request_id: str) -> None:
    trailers: list[tuple[str, str | bytes]] = [
        ("grpc-status-details-bin", to_status(error).SerializeToString()),
        ("x-request-id", request_id),
    ]
    if error.retry_after is not None:
        # What gRPC's own retries go by; RetryInfo is for programs.
        trailers.append(("grpc-retry-pushback-ms", str(math.ceil(error.retry_after * 1e3))))
    await context.abort(code_of(error), message_of(error), trailing_metadata=tuple(trailers))
