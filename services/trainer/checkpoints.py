"""Checkpoints of a run in the object store: whole or invisible, verified, bounded in number.

Knows nothing of what is in one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from isogloss.storage.v1.checkpoint_manifest_pb2 import CheckpointFile, CheckpointManifest
from services.common import layout, manifests
from services.common.errors import DataLoss, NotFound, Unavailable
from services.common.storage import ObjectStore
from services.trainer.messages import Logged, Tell

KEPT = 2
"""Newest checkpoints of a run that are kept: should one be damaged, there is the one before."""

_MANIFEST = "manifest.json"
_FILES = "files/"
# Below the checkpoint's prefix; a directory of their own keeps files from being taken for it.


class Checkpoints(Protocol):
    """Where a training leaves what it would need to go on, and finds it again.

    A training that is asked to stop leaves one before it does.
    """

    def latest(self, directory: Path) -> Path | None:
        """Bring the newest whole checkpoint into `directory`.

        Args:
            directory: Made where it is missing; what is in it is not looked at.

        Returns:
            The directory that holds its files, or None where there is none.
        """
        ...

    def save(self, directory: Path, *, step: int) -> None:
        """Keep all files of `directory`; whatever happens meanwhile, all of them or none.

        Args:
            directory: Files, and directories of files. It may be changed again afterwards.
            step: Steps of the training that were done.
        """
        ...


class StoredCheckpoints:
    """The checkpoints of one model in the object store, as one attempt sees it.

    Args:
        store: Where they are.
        tenant: Whose model.
        model: Bare id.
        token: The attempt's: two attempts never write under the same keys.
        tell: Takes what the run's log should say.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        tenant: str,
        model: str,
        token: int,
        tell: Tell,
    ) -> None:
        """Keep the parts."""
        self._store = store
        self._model = model
        self._token = token
        self._tell = tell
        self._prefix = layout.checkpoints_prefix(tenant, model)

    def latest(self, directory: Path) -> Path | None:
        """Bring the newest whole checkpoint into `directory`; a damaged one is passed over.

        Raises:
            Unavailable: Where the store does not answer.
        """
        for prefix in reversed(self._whole()):
            place = directory / prefix.removeprefix(self._prefix).rstrip("/")
            try:
                step = self._fetch(prefix, place)
            except (DataLoss, NotFound) as error:
                self._say("warning", f"A checkpoint is passed over: {error.message}")
            else:
                self._say("info", f"Found the checkpoint of step {step} to go on from.")
                return place
        return None

    def save(self, directory: Path, *, step: int) -> None:
        """Upload all files of `directory`, then the manifest, then remove what is too old.

        A store that does not answer is told and no reason to stop: the run still has the
        checkpoint before.
        """
        try:
            self._save(directory, step)
        except Unavailable as error:
            self._say("warning", f"The checkpoint of step {step} is not stored: {error.message}")

    def _save(self, directory: Path, step: int) -> None:
        prefix = layout.checkpoint_prefix(self._prefix, step, self._token)
        manifest_key = f"{prefix}{_MANIFEST}"
        if self._store.stat(manifest_key) is not None:
            # The same attempt at the same step: the same state, whatever its bytes.
            return
        paths = sorted(path for path in directory.rglob("*") if path.is_file())
        files = [
            CheckpointFile(
                path=name, file=manifests.upload(self._store, f"{prefix}{_FILES}{name}", path)
            )
            for name, path in ((path.relative_to(directory).as_posix(), path) for path in paths)
        ]
        now = Timestamp()
        now.GetCurrentTime()
        manifest = CheckpointManifest(
            format_version=manifests.FORMAT_VERSION,
            model=f"models/{self._model}",
            step=step,
            token=self._token,
            files=files,
            create_time=now,
        )
        manifests.create_manifest(self._store, manifest_key, manifest)
        self._prune()

    def _whole(self) -> list[str]:
        """Return the prefixes of the checkpoints that have a manifest, oldest first."""
        keys = (item.key.removeprefix(self._prefix) for item in self._store.list(self._prefix))
        parts = (key.partition("/") for key in keys)
        return [f"{self._prefix}{name}/" for name, _, rest in parts if rest == _MANIFEST]

    def _prune(self) -> None:
        """Remove all that is older than the newest checkpoints, whoever left it."""
        whole = self._whole()
        if not whole:
            # The model was deleted, or given to another attempt that has ended it, meanwhile.
            return
        oldest = whole[-KEPT:][0]
        for item in list(self._store.list(self._prefix)):
            if item.key < oldest:
                self._store.delete(item.key)

    def _fetch(self, prefix: str, place: Path) -> int:
        """Bring one checkpoint to this machine and return its step."""
        manifest = manifests.read_manifest(self._store, f"{prefix}{_MANIFEST}", CheckpointManifest)
        for item in manifest.files:
            path = (place / item.path).resolve()
            if not path.is_relative_to(place.resolve()):
                raise DataLoss(f"{prefix} names a file outside its directory: {item.path!r}.")
            manifests.fetch(self._store, item.file, path)
        return manifest.step

    def _say(self, level: str, message: str) -> None:
        self._tell(Logged(level=level, message=message))


def discard(store: ObjectStore, tenant: str, model: str) -> None:
    """Remove all checkpoints of a model."""
    for item in list(store.list(layout.checkpoints_prefix(tenant, model))):
        store.delete(item.key)
