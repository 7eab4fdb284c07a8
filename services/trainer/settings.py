"""Settings of the trainer. Knows nothing of what they steer."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from services.common.settings import DatabaseSettings


class TrainerSettings(DatabaseSettings):
    """Settings of the trainer service."""

    model_config = SettingsConfigDict(env_prefix="ISOGLOSS_TRAINER_")
    service: ClassVar[str] = "trainer"

    address: str = "127.0.0.1:50052"
    """Host and port to listen on; port 0 takes any free one."""

    concurrent_runs: int = Field(default=1, ge=0, le=64)
    """Models that this process trains at the same time, each in a process of its own.

    0 makes a replica that only answers calls and leaves the training to other trainers on
    the same database and object store.
    """

    run_threads: int = Field(default=0, ge=0, le=1024)
    """CPU threads of one run. 0: the CPUs of this container, divided by `concurrent_runs`."""

    run_niceness: int = Field(default=5, ge=0, le=19)
    """How far a run steps back behind other processes of this machine (POSIX niceness), so
    that calls are still answered while it trains."""

    scratch_directory: Path | None = None
    """Where runs keep the files they work on, removed when they end. Unset: `scratch` in
    `data_directory`. One run takes about eight times the size of its base model and twice
    that of its dataset."""

    lease_seconds: float = Field(default=60.0, ge=0.5, le=3600)
    """How long a trainer owns a run after its last sign of life. A run whose trainer died is
    taken over by another one after this time."""

    heartbeat_seconds: float = Field(default=10.0, gt=0)
    """How often a trainer renews the lease of a run; at most a third of `lease_seconds`."""

    max_attempts: int = Field(default=3, ge=1, le=10)
    """How often a run is begun before it counts as failed. Only what may go better the next
    time (a killed process, a store that does not answer) is tried again."""

    queue_poll_seconds: float = Field(default=1.0, gt=0, le=60)
    """How often an idle trainer looks for runs that other processes queued or lost."""

    watch_poll_seconds: float = Field(default=0.25, gt=0, le=10)
    """How often a watched model is read again; what happens in this process is sent at
    once."""

    bases: dict[str, str] = Field(default_factory=dict)
    """Base models beside the built-in `small`, as JSON: id to source. A source is a local
    directory in the layout of sentence-transformers, or `hub:ORG/NAME@REVISION`, which is
    downloaded once where the network allows. An entry `small` replaces the built-in one; an
    empty source switches it off."""

    publish_bases: bool = True
    """Publish base models that the object store lacks when the service starts, in the
    background. Otherwise that happens when a model first needs one."""

    @model_validator(mode="after")
    def _heartbeat_fits_the_lease(self) -> TrainerSettings:
        # Two heartbeats may be lost (a busy database, a long pause) before the lease is.
        if self.heartbeat_seconds * 3 > self.lease_seconds:
            msg = "heartbeat_seconds must be at most a third of lease_seconds"
            raise ValueError(msg)
        return self

    @property
    def scratch(self) -> Path:
        """Where runs keep the files they work on."""
        return self.scratch_directory or self.data_directory / "scratch"
