"""The rpcs of InferenceService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING

from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1.inference_service_pb2_grpc import InferenceServiceServicer
from isogloss.v1.server_status_pb2 import ServerStatus
from services.common.identity import current_principal
from services.inference.answering import ALONE, Answerer
from services.inference.convert.status import server_status
from services.inference.overview import Observer
from services.inference.processing import Processor

if TYPE_CHECKING:
    from grpc.aio import ServicerContext


class InferenceServicer(InferenceServiceServicer):
    """Answers on the event loop; everything that takes time is elsewhere."""

    def __init__(self, answerer: Answerer, observer: Observer) -> None:
        """Hand requests to `answerer`, and let `observer` look at the server."""
        self._answerer = answerer
        self._observer = observer
        self._processor = Processor(answerer)

    async def Embed(  # noqa: N802 (the rpc's name)
        self,
        request: pb.EmbedRequest,
        context: ServicerContext[pb.EmbedRequest, pb.EmbedResponse],  # noqa: ARG002
    ) -> pb.EmbedResponse:
        """See the contract."""
        return await self._answerer.embed(request, ALONE)

    async def Classify(  # noqa: N802 (the rpc's name)
        self,
        request: pb.ClassifyRequest,
        context: ServicerContext[pb.ClassifyRequest, pb.ClassifyResponse],  # noqa: ARG002
    ) -> pb.ClassifyResponse:
        """See the contract."""
        return await self._answerer.classify(request, ALONE)

    async def EmbedAndClassify(  # noqa: N802 (the rpc's name)
        self,
        request: pb.EmbedAndClassifyRequest,
        context: ServicerContext[pb.EmbedAndClassifyRequest, pb.EmbedAndClassifyResponse],  # noqa: ARG002
    ) -> pb.EmbedAndClassifyResponse:
        """See the contract."""
        return await self._answerer.embed_and_classify(request, ALONE)

    async def Process(  # noqa: N802 (the rpc's name)
        self,
        request_iterator: AsyncIterator[pb.ProcessRequest],
        context: ServicerContext[pb.ProcessRequest, pb.ProcessResponse],  # noqa: ARG002
    ) -> AsyncIterator[pb.ProcessResponse]:
        """See the contract."""
        async with aclosing(self._processor.answers(aiter(request_iterator))) as answers:
            async for answer in answers:
                yield answer

    async def Tokenize(  # noqa: N802 (the rpc's name)
        self,
        request: pb.TokenizeRequest,
        context: ServicerContext[pb.TokenizeRequest, pb.TokenizeResponse],  # noqa: ARG002
    ) -> pb.TokenizeResponse:
        """See the contract."""
        return await self._answerer.tokenize(request)

    async def GetServerStatus(  # noqa: N802 (the rpc's name)
        self,
        request: pb.GetServerStatusRequest,  # noqa: ARG002
        context: ServicerContext[pb.GetServerStatusRequest, ServerStatus],  # noqa: ARG002
    ) -> ServerStatus:
        """See the contract."""
        return server_status(self._observer.look(current_principal()))
