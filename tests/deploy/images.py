"""Reads what lies in deploy/: Dockerfiles as instructions, the compose file as data."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from services.common.settings import ServiceSettings
from services.inference.settings import InferenceSettings
from services.ingest.settings import IngestSettings
from services.trainer.settings import TrainerSettings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
README = (DEPLOY / "README.md").read_text()
SETTINGS: dict[str, type[ServiceSettings]] = {
    "ingest": IngestSettings,
    "trainer": TrainerSettings,
    "inference": InferenceSettings,
}
OTHER_VARIABLES = {"ISOGLOSS_TLS_CA", "ISOGLOSS_SECRETS_DIRECTORY"}
"""Of the health check, which is a client, and of how settings are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One Dockerfile."""

    name: str
    instructions: tuple[tuple[str, str], ...]
    """Words in capitals and the rest of their lines, comments and line breaks removed."""

    def all(self, word: str) -> list[str]:
        return [rest for found, rest in self.instructions if found == word]

    def last(self, word: str) -> str:
        return self.all(word)[-1]

    @property
    def environment(self) -> dict[str, str]:
        """Of the last stage."""
        return dict(pair.split("=", 1) for pair in self.last("ENV").split())

    @property
    def copied(self) -> list[tuple[str, str]]:
        """Sources in the build context, and where they go in the last stage."""
        final = self.instructions[self._last_stage() :]
        pairs = [rest.split() for word, rest in final if word == "COPY" and "--from" not in rest]
        return [(source, target) for *sources, target in pairs for source in sources]

    @property
    def context(self) -> list[str]:
        """All sources in the build context, of any stage."""
        copies = [rest.split() for rest in self.all("COPY") if "--from" not in rest]
        return [source for *sources, _ in copies for source in sources]

    @property
    def commands(self) -> list[list[str]]:
        """What the container runs: its entry point, and its health check."""
        check = self.last("HEALTHCHECK").split("CMD", 1)[1]
        return [json.loads(self.last("ENTRYPOINT")), json.loads(check)]

    @property
    def install(self) -> str:
        """The shell command that installs the packages."""
        command = next(rest for rest in self.all("RUN") if "uv pip install" in rest)
        return re.sub(r"--mount=\S+", "", command)

    def lay_out(self, target: Path) -> Path:
        """Copy into `target` what the image holds of the repository; return it."""
        for source, name in self.copied:
            copy = target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / source, copy, ignore=ignored)
            else:
                shutil.copyfile(ROOT / source, copy)
        return target

    def _last_stage(self) -> int:
        return max(i for i, (word, _) in enumerate(self.instructions) if word == "FROM")


def read_image(name: str) -> Image:
    lines = (DEPLOY / f"{name}.Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    whole = text.replace("\\\n", " ").splitlines()
    split = (line.split(maxsplit=1) for line in whole if line.strip())
    return Image(name=name, instructions=tuple((word, rest) for word, rest in split))


IMAGES = {name: read_image(name) for name in (*SETTINGS, "minio")}
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def mounted_secrets(service: str) -> dict[str, str]:
    """Return the files in /run/secrets of a container, and which secret each is."""
    found = {}
    for secret in COMPOSE["services"][service].get("secrets", []):
        if isinstance(secret, str):
            found[secret] = secret
        else:
            found[secret["target"]] = secret["source"]
    return found


def mount(service: str, secrets: Path, target: Path) -> Path:
    """Lay the secrets of a container out in `target` as compose mounts them; return it."""
    target.mkdir()
    for name, source in mounted_secrets(service).items():
        shutil.copyfile(secrets / source, target / name)
    return target


def variables() -> list[tuple[str, str]]:
    """Return service and variable of everything that is set for our own services."""
    return [
        (service, name)
        for service in SETTINGS
        for name in sorted(
            {
                *IMAGES[service].environment,
                *COMPOSE["services"][service]["environment"],
                *mounted_secrets(service),
            }
        )
        if name.startswith("ISOGLOSS_")
    ]
