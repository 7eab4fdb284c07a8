"""Settings of the inference process."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.common.memory import machine_memory, memory_limit
from services.common.settings import ServiceSettings
from services.inference.devices import DeviceWish
from services.inference.engines.layout import LayoutWish
from services.inference.limits import MAX_TEXTS


class InferenceSettings(ServiceSettings):
    """Settings of the inference service."""

    model_config = SettingsConfigDict(env_prefix="ISOGLOSS_INFERENCE_")

    service: ClassVar[str] = "inference"

    address: str = "127.0.0.1:50053"
    """Host and port to listen on; port 0 takes any free one."""

    device: DeviceWish = DeviceWish.AUTO
    """Where models are computed: `cpu`, `cuda`, or `auto` for CUDA where it works. With `cuda`
    the process refuses to start where CUDA does not work; `auto` logs what it took."""

    engines: int | None = Field(default=None, ge=0, le=256)
    """Processes that compute. 0: none, models run in this one. With one or more, each holds all
    models; where one is killed or runs out of memory, only what it was computing fails, and it is
    started again. Unset: as `python -m services.inference.calibrate` found on this node, else 0 up
    to 4 cores and one for every 4 above. With CUDA 0."""

    threads_per_run: int = Field(default=0, ge=0)
    """Threads that compute one batch of texts together. One thread for each of as many batches
    as there are cores serves most texts; more threads answer a lone text sooner, which pays
    for large models on machines with many cores. 0: as calibrated on this node, else 1."""

    workers: int = Field(default=0, ge=0)
    """Batches of texts that are computed at the same time, by all engines together. 0: as
    calibrated on this node, else as many as the cores that this process may use (affinity and
    cgroup quota) divided by `threads_per_run`."""

    max_texts: int = Field(default=MAX_TEXTS, ge=1, le=MAX_TEXTS)
    """Texts that one call may send."""

    queue_tokens: int = Field(default=524_288, ge=1)
    """Tokens of all texts that may wait in this process, estimated from their characters until
    they are read. A call that would bring more is refused with RESOURCE_EXHAUSTED and told when
    to come back; callers who have little waiting are refused last. An idle process takes any
    call."""

    queue_bytes: int = Field(default=128 * 1024**2, ge=1)
    """Memory of the texts that may wait to be read; as above."""

    batch_seconds: float = Field(default=0.04, gt=0, le=10)
    """How long a batch of several texts should last at most, as predicted: what a text that
    somebody waits for may find before it where bulk keeps all workers busy. Longer batches
    compute a little more each second; with models whose runs cost much by themselves, a batch
    may last eight times that."""

    bulk_share: float = Field(default=0.2, ge=0, lt=1)
    """Part of the time that texts with priority BULK are sure of while INTERACTIVE ones wait."""

    model_memory_bytes: int = Field(default=0, ge=0)
    """Memory for models, as measured when they are loaded, in all engines together; those used
    longest ago are dropped. While a model is opened it takes twice its size. 0: half of what the
    cgroup allows, or a quarter of the machine's memory where it sets no limit."""

    alias_poll_seconds: float = Field(default=1.0, gt=0, le=60)
    """How often the store is asked which aliases changed: how late a switch is noticed. It takes
    one small request, and a few more for each tenant where something changed; calls take none."""

    cache_directory: Path | None = None
    """Where downloaded model files are kept, and what the store said last, for the time when it
    does not answer. Processes may share it. Unset: `cache/models` in the data directory."""

    cache_bytes: int = Field(default=10 * 1024**3, ge=1)
    """Size of all model files in that directory, those on their way included; files used longest
    ago are removed."""

    @property
    def layout_wish(self) -> LayoutWish:
        """What is set of how the node's processors are dealt out."""
        return LayoutWish(engines=self.engines, workers=self.workers, threads=self.threads_per_run)

    @property
    def resolved_model_memory_bytes(self) -> int:
        """`model_memory_bytes`, with 0 resolved."""
        limit = memory_limit()
        available = machine_memory() // 4 if limit is None else limit // 2
        return self.model_memory_bytes or available

    @property
    def resolved_cache_directory(self) -> Path:
        """`cache_directory`, with the default resolved."""
        return self.cache_directory or self.data_directory.absolute() / "cache" / "models"
