"""The inference process: `python -m services.inference`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial

import structlog
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # ships no types

from isogloss.v1.inference_service_pb2_grpc import add_InferenceServiceServicer_to_server
from services.common.identity import Role
from services.common.server import Application, Service, run
from services.common.settings import load
from services.common.storage import open_store
from services.common.version import server_version
from services.inference.answering import Answerer
from services.inference.awaiting import Answers
from services.inference.calibrate.record import Node, layout_found
from services.inference.devices import Device, choose_device
from services.inference.dispatcher import AnyCall, Dispatcher
from services.inference.engines.layout import Layout, choose_layout, open_engines
from services.inference.library import Bounds, open_library
from services.inference.metrics import ModelMetrics, Phases, QueueMetrics
from services.inference.overview import Limits, Observer, ServerFacts
from services.inference.resolving import Resolver
from services.inference.scheduling.admission import QueueLimits
from services.inference.scheduling.scheduler import Scheduler
from services.inference.servicer import InferenceServicer
from services.inference.settings import InferenceSettings

_log = structlog.get_logger()

_SERVICE = "isogloss.v1.InferenceService"

ROLES = {
    f"/{_SERVICE}/Embed": Role.READ,
    f"/{_SERVICE}/Classify": Role.READ,
    f"/{_SERVICE}/EmbedAndClassify": Role.READ,
    f"/{_SERVICE}/Process": Role.READ,
    f"/{_SERVICE}/Tokenize": Role.READ,
    f"/{_SERVICE}/GetServerStatus": Role.READ,
}


def build(settings: InferenceSettings) -> Application:
    """Assemble the service; what no alias preloads is loaded when it is asked for."""
    device = choose_device(settings.device)
    node = Node.here()
    found = layout_found(settings.data_directory, node)
    layout = choose_layout(settings.layout_wish, cpus=node.cpus, device=device, calibrated=found)
    _log.info("layout", device=device, as_calibrated=layout == found, **asdict(layout))
    engines = open_engines(layout, device, settings.data_directory.absolute() / "engines")
    library = open_library(
        partial(open_store, settings.store_url, settings.store_options),
        engines,
        settings.resolved_cache_directory,
        Bounds(disk=settings.cache_bytes, memory=settings.resolved_model_memory_bytes),
        poll_seconds=settings.alias_poll_seconds,
        # Threads and processes that engines start while a model is opened would inherit it.
        step_back=layout.engines == 0 and layout.threads == 1,
    )
    scheduler: Scheduler[AnyCall] = Scheduler(
        workers=layout.workers,
        limits=QueueLimits(tokens=settings.queue_tokens, bytes=settings.queue_bytes),
        batch_seconds=settings.batch_seconds,
        bulk_share=settings.bulk_share,
    )
    answers = Answers()
    dispatcher = Dispatcher(scheduler, workers=layout.workers, answered=answers.wake)
    resolver = Resolver(library.models, library.aliases)
    phases = Phases()
    answerer = Answerer(
        resolver, dispatcher, answers, max_texts=settings.max_texts, note=phases.note
    )
    observer = Observer(
        _facts(settings, device, layout), models=library.models.stats, scheduler=dispatcher.stats
    )
    return Application(
        settings=settings,
        services=[
            Service(
                name=_SERVICE,
                servicer=InferenceServicer(answerer, observer),
                add=add_InferenceServiceServicer_to_server,
            )
        ],
        roles=ROLES,
        background=[library.aliases.serve],
        collectors=[
            phases.histogram,
            QueueMetrics(dispatcher.stats),
            ModelMetrics(library.models.stats),
        ],
        close=[dispatcher.close, library.close, engines.close],
        ready=lambda: dispatcher.alive and engines.alive and library.aliases.ready,
    )


def _facts(settings: InferenceSettings, device: Device, layout: Layout) -> ServerFacts:
    return ServerFacts(
        version=server_version(),
        start_time=datetime.now(UTC),
        device=device,
        layout=layout,
        limits=Limits(
            max_texts=settings.max_texts,
            max_message_bytes=settings.max_message_bytes,
            queue_tokens=settings.queue_tokens,
            queue_bytes=settings.queue_bytes,
        ),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = load(InferenceSettings, sys.argv[1:] if argv is None else argv)
    # A worker compares texts with rows by itself: left alone, numpy takes as many threads as the
    # host has processors, whatever the cgroup says.
    threadpool_limits(1, user_api="blas")
    run(lambda: build(settings), settings)


if __name__ == "__main__":
    main()
