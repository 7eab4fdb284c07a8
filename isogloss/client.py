"""The clients: all services behind one object, blocking or asynchronous."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self, Unpack

from isogloss.aliases import Alias
from isogloss.api.aliases import Aliases, AsyncAliases
from isogloss.api.datasets import AsyncDatasets, Datasets
from isogloss.api.inference import AsyncInference
from isogloss.api.models import AsyncModels, Models
from isogloss.connection import ConnectionOptions, resolve
from isogloss.inference import Classifications, Embeddings, Truncation
from isogloss.models import BaseModel, Model, Precision
from isogloss.transport import AsyncTransport, BlockingTransport, Facade, Transport, blocking


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
        model: str | Model | BaseModel | Alias,
        texts: str | Iterable[str],
        *,
        truncation: Truncation | str = Truncation.END,
        precision: Precision | str = Precision.EXACT,
        timeout: float | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Embeddings:
        """Compute one embedding for each text.

        Args:
            model: `models/{model}`, `aliases/{alias}` or `baseModels/{base_model}`.
            texts: One text or any number; many are cut into several calls, in order.
            truncation: What to leave out of a text that is too long: its `end`, its `start`,
                or `none`, which refuses it.
            precision: `EXACT`, or `QUANTIZED`: faster, at a loss that `Model.variants` tells.
            timeout: Seconds for each call. None: 120, for the first call loads the model.
            progress: Is told the number of texts that are done.

        Raises:
            InvalidArgument: Texts are empty, too long or none.
            FailedPrecondition: The model is not READY, or has no variant of that precision.
        """
        return await self._inference.embed(
            model,
            texts,
            truncation=truncation,
            precision=precision,
            timeout=timeout,
            progress=progress,
        )

    async def classify(
        self,
        model: str | Model | Alias,
        texts: str | Iterable[str],
        *,
        top_k: int = 0,
        truncation: Truncation | str = Truncation.END,
        precision: Precision | str = Precision.EXACT,
        timeout: float | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Classifications:
        """Predict the labels of each text.

        Args:
            model: `models/{model}`, fine-tuned, or `aliases/{alias}`.
            texts: One text or any number; many are cut into several calls, in order.
            top_k: How many labels to tell for each text. 0: all of them.
            truncation: As in `embed`.
            precision: As in `embed`.
            timeout: As in `embed`.
            progress: As in `embed`.

        Raises:
            InvalidArgument: Texts are empty, too long or none.
            FailedPrecondition: The model is not READY, cannot classify, or has no variant of that
                precision.
        """
        return await self._inference.classify(
            model,
            texts,
            top_k=top_k,
            truncation=truncation,
            precision=precision,
            timeout=timeout,
            progress=progress,
        )

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
