"""Writes how the server is doing."""

from __future__ import annotations

from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from isogloss.v1 import server_status_pb2 as pb
from services.inference.convert.enums import PRECISIONS_OUT
from services.inference.limits import MAX_TEXT_BYTES
from services.inference.model_stats import ResidentModel
from services.inference.overview import Limits, Overview
from services.inference.scheduling.priority import Priority
from services.inference.scheduling.stats import Waiting


def server_status(overview: Overview) -> pb.ServerStatus:
    """Return the answer of `GetServerStatus`."""
    facts, models, scheduler = overview.facts, overview.models, overview.scheduler
    outage = models.outage_seconds
    return pb.ServerStatus(
        version=facts.version,
        start_time=_timestamp(facts.start_time),
        device=facts.device,
        engine_count=facts.layout.engines,
        worker_count=facts.layout.workers,
        busy_worker_count=scheduler.running,
        threads_per_run=facts.layout.threads,
        limits=_limits(facts.limits, model_memory=models.max_size),
        models=[_resident(resident, overview) for resident in overview.visible],
        model_count=len(models.residents),
        model_bytes=models.size,
        loading_count=models.loading,
        interactive=_backlog(scheduler.waiting.get(Priority.INTERACTIVE)),
        bulk=_backlog(scheduler.waiting.get(Priority.BULK)),
        store_reachable=outage is None,
        store_outage=None if outage is None else _duration(outage),
    )


def _limits(limits: Limits, *, model_memory: int) -> pb.ServerLimits:
    return pb.ServerLimits(
        max_texts=limits.max_texts,
        max_text_bytes=MAX_TEXT_BYTES,
        max_message_bytes=limits.max_message_bytes,
        queue_tokens=limits.queue_tokens,
        queue_bytes=limits.queue_bytes,
        model_memory_bytes=model_memory,
    )


def _resident(resident: ResidentModel, overview: Overview) -> pb.ResidentModel:
    return pb.ResidentModel(
        model=str(resident.key.name),
        precision=PRECISIONS_OUT[resident.key.precision],
        digest=resident.digest,
        size_bytes=resident.size,
        load_time=_timestamp(overview.before(resident.resident_seconds)),
        last_use_time=_timestamp(overview.before(resident.idle_seconds)),
        call_count=resident.calls,
        preloaded=resident.pinned,
    )


def _backlog(waiting: Waiting | None) -> pb.Backlog:
    if waiting is None:
        return pb.Backlog()
    return pb.Backlog(
        text_count=waiting.texts, token_count=waiting.tokens, work=_duration(waiting.seconds)
    )


def _timestamp(when: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(when)
    return stamp


def _duration(seconds: float) -> Duration:
    length = Duration()
    length.FromTimedelta(timedelta(seconds=seconds))
    return length
