"""The compose file against the images, the settings and the documents."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from services.common.identity import read_keys
from services.common.settings import ServiceSettings, load
from tests.deploy.images import (
    COMPOSE,
    DEPLOY,
    IMAGES,
    README,
    ROOT,
    SETTINGS,
    mount,
    mounted_secrets,
)

SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
_GRACE_DEFAULT = ServiceSettings.model_fields["shutdown_grace"].default


@pytest.mark.parametrize("name", SERVICES)
def test_hardened(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}


@pytest.mark.parametrize("name", SERVICES)
def test_image(name: str) -> None:
    service = SERVICES[name]
    if "build" not in service:
        assert re.fullmatch(r"[a-z]+:\d[\w.-]+", service["image"])
        assert "healthcheck" in service  # our own images bring theirs
        return
    assert (DEPLOY / service["build"]["context"]).resolve() == ROOT
    assert service["build"]["dockerfile"] == f"deploy/{name}.Dockerfile"
    assert service["user"] == IMAGES[name].last("USER")
    assert IMAGES[name].all("HEALTHCHECK")


@pytest.mark.parametrize("name", SERVICES)
def test_data_outlives_the_container(name: str) -> None:
    places = dict(mount.split(":")[:2][::-1] for mount in SERVICES[name]["volumes"])
    expected = "/data" if name in IMAGES else "/var/lib/postgresql/data"
    assert places[expected] == name
    assert name in COMPOSE["volumes"]
    if name in IMAGES:
        assert IMAGES[name].last("VOLUME") == '["/data"]'


@pytest.mark.parametrize("name", SERVICES)
def test_files_of_this_folder_that_are_mounted_exist(name: str) -> None:
    for volume in SERVICES[name]["volumes"]:
        source = volume.split(":")[0]
        if source.startswith("."):
            assert volume.endswith(":ro")
            assert (DEPLOY / source).is_file()
            assert os.access(DEPLOY / source, os.X_OK)
            assert f"`{Path(source).name}`" in README


@pytest.mark.parametrize("name", SETTINGS)
def test_published_on_loopback_only(name: str) -> None:
    port = IMAGES[name].last("EXPOSE")
    assert SERVICES[name]["ports"] == [f"127.0.0.1:{port}:{port}"]


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - SETTINGS.keys()))
def test_engines_are_out_of_reach(name: str) -> None:
    assert "ports" not in SERVICES[name]
    assert SERVICES[name]["networks"] == ["engines"]
    assert COMPOSE["networks"]["engines"]["internal"] is True


def test_secrets_are_made_and_documented_and_used(made_secrets: Path) -> None:
    declared = COMPOSE["secrets"]
    used = {source for name in SERVICES for source in mounted_secrets(name).values()}
    assert set(declared) == used
    written = {path.name for path in made_secrets.iterdir()}
    assert written - used == {"api_key", "ca_key.pem"}  # the caller's, and nobody's
    for name, secret in declared.items():
        assert secret == {"file": f"secrets/{name}"}
        assert name in written
    for name in written:
        assert f"`{name}`" in README
    assert "secrets/" in (DEPLOY / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_in_clear(name: str) -> None:
    for variable, value in SERVICES[name]["environment"].items():
        if re.search(r"PASSWORD|SECRET|KEY|TOKEN|DATABASE", variable):
            assert value.startswith("/run/secrets"), variable
        assert "@" not in value  # no user:password@host
        if value.startswith("/run/secrets/"):
            assert value.removeprefix("/run/secrets/") in mounted_secrets(name)
    if name in SETTINGS:
        kinds = SETTINGS[name].model_fields.items()
        secret = {
            f"ISOGLOSS_{name}_{field}".upper() for field, f in kinds if f.annotation is SecretStr
        }
        assert secret <= mounted_secrets(name).keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_service_accepts_its_settings(
    name: str, made_secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _load(name, made_secrets, tmp_path, monkeypatch)
    assert settings.insecure is False
    assert settings.trust_mesh is False
    assert settings.tls_certificate is not None
    assert settings.api_keys_file is not None
    assert read_keys(settings.api_keys_file)
    secret_key = (made_secrets / "store_secret_key").read_text().strip()
    assert settings.store_secret_key.get_secret_value() == secret_key
    # What compose allows for the stop is more than what the service takes.
    grace = float(SERVICES[name]["stop_grace_period"].removesuffix("s"))
    assert grace > settings.shutdown_drain + settings.shutdown_grace


def test_default_grace_is_the_one_that_compose_speaks_of() -> None:
    assert f"{_GRACE_DEFAULT:.0f} s that running calls" in (DEPLOY / "compose.yaml").read_text()


@pytest.mark.parametrize("name", SETTINGS)
def test_services_reach_their_engines(
    name: str, made_secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _load(name, made_secrets, tmp_path, monkeypatch)
    store = urlsplit(parse_qs(urlsplit(settings.store_url).query)["endpoint"][0])
    assert store.port == int(IMAGES["minio"].last("EXPOSE"))
    engines = {store.hostname}
    if hasattr(settings, "database_url"):
        database = urlsplit(settings.database_url)
        assert (database.username, database.path) == (name, f"/{name}")
        engines.add(database.hostname)
    assert engines == SERVICES[name]["depends_on"].keys()
    for engine in engines:
        assert engine in SERVICES
        assert SERVICES[name]["depends_on"][engine] == {"condition": "service_healthy"}
        assert set(SERVICES[engine]["networks"]) & set(SERVICES[name]["networks"])


def test_services_agree_on_the_store() -> None:
    stores = {SERVICES[name]["environment"][f"ISOGLOSS_{name.upper()}_STORE"] for name in SETTINGS}
    assert len(stores) == 1


def test_databases_are_the_ones_that_are_made() -> None:
    script = (DEPLOY / "postgres-init.sh").read_text()
    made = re.search(r"^for service in (.*); do$", script, re.MULTILINE)
    assert made is not None
    assert set(made[1].split()) == {
        name for name in SETTINGS if f"ISOGLOSS_{name.upper()}_DATABASE" in mounted_secrets(name)
    }


def _load(
    name: str, made_secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ServiceSettings:
    """Read the settings as the container does; only /run/secrets lies elsewhere."""
    folder = mount(name, made_secrets, tmp_path / "run-secrets")
    for variable, value in {**IMAGES[name].environment, **SERVICES[name]["environment"]}.items():
        if variable.startswith("ISOGLOSS_"):
            monkeypatch.setenv(variable, value.replace("/run/secrets", str(folder)))
    return load(SETTINGS[name], [])
