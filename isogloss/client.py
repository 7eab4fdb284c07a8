"""The clients: all services behind one object, blocking or asynchronous."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from types import TracebackType
from typing import Self, Unpack

from isogloss.api.aliases import Aliases, AsyncAliases
from isogloss.api.datasets import AsyncDatasets, Datasets
from isogloss.api.inference import AnyModel, AsyncInference
from isogloss.api.models import AsyncModels, Models
from isogloss.connection import ConnectionOptions, resolve
from isogloss.inference import Classifications, EmbeddedAndClassified, Embeddings, Tokenized
from isogloss.inference_options import (
    ClassifyOptions,
    EmbedAndClassifyOptions,
    EmbedOptions,
    InputType,
    Truncation,
)
from isogloss.servers import ServerStatus
from isogloss.transport import (
    AsyncTransport,
    BlockingTransport,
    Facade,
    Transport,
    blocking,
    blocking_stream,
)


class Services:
    """All services over one transport; `Client` and `AsyncClient` are its faces."""

    def __init__(self, transport: Transport) -> None:
        """Take what reaches the services."""
        self.datasets = AsyncDatasets(transport)
        self.models = AsyncModels(transport)
        self.aliases = AsyncAliases(transport)
        self._inference = AsyncInference(transport)
        self._transport = transport

    async def embed(
        self,
        model: AnyModel,
        texts: str | Iterable[str],
        *,
        timeout: float | None = None,
        progress: Callable[[int], None] | None = None,
        **options: Unpack[EmbedOptions],
    ) -> Embeddings:
        """Compute one embedding for each text.

        Args:
            model: `models/{model}`, `aliases/{alias}` or `baseModels/{base_model}`.
            texts: One text or any number; many are cut into several calls, in order.
            timeout: Seconds for each call. None: 120, for the first call loads the model.
            progress: Is told the number of texts that are done.
            options: See `EmbedOptions`: type and length of the vectors, truncation, precision.

        Raises:
            InvalidArgument: Texts are empty, too long or none, or the model's vectors cannot be
                what was asked for.
            FailedPrecondition: The model is not READY, or has no variant of that precision.
        """
        return await self._inference.embed(
            model, texts, timeout=timeout, progress=progress, **options
        )

    async def classify(
        self,
        model: AnyModel,
        texts: str | Iterable[str],
        *,
        timeout: float | None = None,
        progress: Callable[[int], None] | None = None,
        **options: Unpack[ClassifyOptions],
    ) -> Classifications:
        """Predict the labels of each text.

        Args:
            model: `models/{model}`, fine-tuned, or `aliases/{alias}`.
            texts: As in `embed`.
            timeout: As in `embed`.
            progress: As in `embed`.
            options: See `ClassifyOptions`: how many labels, from which confidence on, and so on.

        Raises:
            InvalidArgument: Texts are empty, too long or none, or the model has no such label.
            FailedPrecondition: The model is not READY, cannot classify, or has no variant of that
                precision.
        """
        return await self._inference.classify(
            model, texts, timeout=timeout, progress=progress, **options
        )

    async def embed_and_classify(
        self,
        model: AnyModel,
        texts: str | Iterable[str],
        *,
        timeout: float | None = None,
        progress: Callable[[int], None] | None = None,
        **options: Unpack[EmbedAndClassifyOptions],
    ) -> EmbeddedAndClassified:
        """Compute the embedding of each text and predict its labels, for the price of one of them.

        Takes and raises what `embed` and `classify` do.
        """
        return await self._inference.embed_and_classify(
            model, texts, timeout=timeout, progress=progress, **options
        )

    def embed_many(
        self,
        model: AnyModel,
        texts: Iterable[str],
        *,
        timeout: float | None = None,
        progress: Callable[[int], None] | None = None,
        **options: Unpack[EmbedOptions],
    ) -> AsyncGenerator[Embeddings]:
        """Compute embeddings of any number of texts, a few at a time, in their order.

        The texts are read as the answers are taken, in another thread, so that neither is ever held
        in memory as a whole. They give way to what others wait for. Where the connection breaks off
        or a server is replaced, what has no answer is sent again. A text that cannot be computed
        has its reason in `Embeddings.errors` and does not hold the others up.

        Args:
            model: As in `embed`.
            texts: Any number, from anywhere.
            timeout: Seconds for all of them. None: for ever.
            progress: As in `embed`.
            options: As in `embed`.

        Raises:
            IsoglossError: As in `embed`, of the model and the options.
        """
        return self._inference.embed_many(
            model, texts, timeout=timeout, progress=progress, **options
        )

    def classify_many(
        self,
        model: AnyModel,
        texts: Iterable[str],
        *,
        timeout: float | None = None,
        progress: Callable[[int], None] | None = None,
        **options: Unpack[ClassifyOptions],
    ) -> AsyncGenerator[Classifications]:
        """Predict the labels of any number of texts, as `embed_many` embeds them."""
        return self._inference.classify_many(
            model, texts, timeout=timeout, progress=progress, **options
        )

    def embed_and_classify_many(
        self,
        model: AnyModel,
        texts: Iterable[str],
        *,
        timeout: float | None = None,
        progress: Callable[[int], None] | None = None,
        **options: Unpack[EmbedAndClassifyOptions],
    ) -> AsyncGenerator[EmbeddedAndClassified]:
        """Compute embeddings and labels of any number of texts, as `embed_many` embeds them."""
        return self._inference.embed_and_classify_many(
            model, texts, timeout=timeout, progress=progress, **options
        )

    async def tokenize(
        self,
        model: AnyModel,
        texts: str | Iterable[str],
        *,
        truncation: Truncation | str = Truncation.END,
        input_type: InputType | str | None = None,
        with_spans: bool = False,
        timeout: float | None = None,
    ) -> Tokenized:
        """Show the tokens of each text as the model reads them.

        Args:
            model: As in `embed`.
            texts: As in `embed`.
            truncation: What to leave out of a text that is too long; with `none` all is shown.
            input_type: As in `embed`.
            with_spans: Tell where in the text each token stands.
            timeout: As in `embed`.

        Raises:
            InvalidArgument: Texts are empty or none.
            FailedPrecondition: The model is not READY.
        """
        return await self._inference.tokenize(
            model,
            texts,
            truncation=truncation,
            input_type=input_type,
            with_spans=with_spans,
            timeout=timeout,
        )

    async def server_status(self, *, timeout: float | None = None) -> ServerStatus:
        """Tell how the inference server is doing: of several the one that answers."""
        return await self._inference.server_status(timeout=timeout)

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()


class AsyncClient(Services):
    """Isogloss for asyncio.

    What is not given is read from the environment, then takes its default.

    Args:
        ingest: `HOST:PORT` of the dataset service. ISOGLOSS_INGEST, `localhost:50051`.
        trainer: `HOST:PORT` of the model service. ISOGLOSS_TRAINER, `localhost:50052`.
        inference: `HOST:PORT` of Embed and Classify. ISOGLOSS_INFERENCE, `localhost:50053`.
        api_key: Sent with each call, only over TLS or to this machine. ISOGLOSS_API_KEY.
        tls: Whether to speak TLS; `https://` or `http://` before an address decides for it.
            On where an authority is given.
        tls_ca: File of the certificate authority. ISOGLOSS_TLS_CA; the system's without it.
        tls_certificate: File of the client's certificate. ISOGLOSS_TLS_CERTIFICATE.
        tls_key: File of that certificate's private key. ISOGLOSS_TLS_KEY.
        timeout: Seconds that a call may take where it does not say. 30.

    Raises:
        ConfigurationError: The above does not fit together.
    """

    def __init__(self, **options: Unpack[ConnectionOptions]) -> None:
        """Check the options; connections are opened by the first calls."""
        super().__init__(AsyncTransport(resolve(options)))

    async def __aenter__(self) -> Self:
        """Enter a block that closes the client at its end."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()


class Client(Facade[Services]):
    """Isogloss, blocking. Takes the same options as `AsyncClient`."""

    def __init__(self, **options: Unpack[ConnectionOptions]) -> None:
        """Check the options; connections are opened by the first calls."""
        super().__init__(Services(BlockingTransport(resolve(options))))
        self.datasets = Datasets(self._inner.datasets)
        self.models = Models(self._inner.models)
        self.aliases = Aliases(self._inner.aliases)

    embed = blocking(Services.embed)
    classify = blocking(Services.classify)
    embed_and_classify = blocking(Services.embed_and_classify)
    embed_many = blocking_stream(Services.embed_many)
    classify_many = blocking_stream(Services.classify_many)
    embed_and_classify_many = blocking_stream(Services.embed_and_classify_many)
    tokenize = blocking(Services.tokenize)
    server_status = blocking(Services.server_status)
    close = blocking(Services.close)

    def __enter__(self) -> Self:
        """Enter a block that closes the client at its end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()
