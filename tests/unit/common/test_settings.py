from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict

from services.common.configuration import main as write_configuration
from services.common.configuration import page
from services.common.settings import DatabaseSettings, ServiceSettings, load, split_address


class Kind(StrEnum):
    FAST = "fast"
    SLOW = "slow"


class SampleSettings(DatabaseSettings):
    """Settings of a service for these tests."""

    model_config = SettingsConfigDict(env_prefix="ISOGLOSS_SAMPLE_")

    service: ClassVar[str] = "sample"

    address: str = "127.0.0.1:50099"

    batch: int = 8
    """How many at once."""

    kind: Kind = Kind.FAST
    """Which."""

    sizes: dict[str, int] = Field(default_factory=lambda: {"small": 1})
    """Some sizes."""

    limit: int | Literal["none"] = 5
    """How many, or none."""


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "some.pem"
    path.write_text("pem")
    return path


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.9.9.9:0", "localhost:65535", "[::1]:80"])
def test_loopback_needs_nothing(address: str) -> None:
    assert SampleSettings(address=address).address == address


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "host.example:1"])
def test_anything_else_needs_tls_and_keys(address: str, pem: Path) -> None:
    with pytest.raises(ValidationError, match=r"set tls_certificate and api_keys_file, or .*insec"):
        SampleSettings(address=address)
    with pytest.raises(ValidationError, match="set api_keys_file, or"):
        SampleSettings(address=address, tls_certificate=pem, tls_key=pem)
    with pytest.raises(ValidationError, match="set tls_certificate, or"):
        SampleSettings(address=address, api_keys_file=pem)

    SampleSettings(address=address, insecure=True)
    SampleSettings(address=address, tls_certificate=pem, tls_key=pem, api_keys_file=pem)


@pytest.mark.parametrize("address", ["", "127.0.0.1", ":1", "a:b", "a:-1", "a:65536", "::1:80"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValidationError, match=r"is no host:port"):
        SampleSettings(address=address)


def test_address_is_split() -> None:
    assert split_address("[::1]:80") == ("::1", 80)
    assert split_address("localhost:0") == ("localhost", 0)


def test_tls_files_belong_together(pem: Path) -> None:
    with pytest.raises(ValidationError, match="set both or neither"):
        SampleSettings(tls_certificate=pem)
    with pytest.raises(ValidationError, match="tls_client_ca needs"):
        SampleSettings(tls_client_ca=pem)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="api_keys_file"):
        SampleSettings(api_keys_file=tmp_path / "absent.toml")


def test_metrics_leave_loopback_with_tls_only(pem: Path) -> None:
    with pytest.raises(ValidationError, match=r"metrics_address .* set tls_certificate"):
        SampleSettings(metrics_address="0.0.0.0:9464")
    with pytest.raises(ValidationError, match=r"is no host:port"):
        SampleSettings(metrics_address="9464")

    SampleSettings(metrics_address="127.0.0.1:9464")
    SampleSettings(metrics_address="0.0.0.0:9464", tls_certificate=pem, tls_key=pem)
    SampleSettings(metrics_address="0.0.0.0:9464", insecure=True)


def test_spans_go_to_an_address_of_the_web() -> None:
    with pytest.raises(ValidationError, match=r"expected http://host:port"):
        SampleSettings(trace_endpoint="127.0.0.1:4317")

    SampleSettings(trace_endpoint="http://127.0.0.1:4317")


def test_mesh_is_trusted_on_loopback_only(pem: Path) -> None:
    with pytest.raises(ValidationError, match="trust_mesh"):
        SampleSettings(trust_mesh=True, address="0.0.0.0:1", insecure=True)
    with pytest.raises(ValidationError, match="trust_mesh"):
        SampleSettings(trust_mesh=True, api_keys_file=pem)

    SampleSettings(trust_mesh=True)


def test_defaults_lie_in_the_data_directory(tmp_path: Path) -> None:
    settings = SampleSettings(data_directory=tmp_path)

    assert settings.store_url == f"{tmp_path}/store"
    assert settings.database_url == f"sqlite:///{tmp_path}/sample.sqlite"
    assert SampleSettings(database=SecretStr("postgresql://h/d")).database_url == "postgresql://h/d"


def test_only_known_databases() -> None:
    with pytest.raises(ValidationError, match="postgresql"):
        SampleSettings(database=SecretStr("mysql://u:secret@h/d"))


def test_settings_are_frozen_and_secrets_stay_hidden() -> None:
    settings = SampleSettings(store_secret_key=SecretStr("hush"))

    with pytest.raises(ValidationError, match="frozen"):
        settings.batch = 9
    assert "hush" not in repr(settings)
    assert "hush" not in repr(settings.store_options)
    assert settings.store_options.secret_key == "hush"  # noqa: S105 - no secret


def test_flag_wins_over_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOGLOSS_SAMPLE_BATCH", "3")
    monkeypatch.setenv("ISOGLOSS_SAMPLE_LOG_LEVEL", "debug")

    settings = load(SampleSettings, ["--batch", "5", "--insecure"])

    assert (settings.batch, settings.log_level, settings.insecure) == (5, "debug", True)


def test_every_problem_is_told_at_once_and_no_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ISOGLOSS_SAMPLE_BATCH", "a-secret-by-mistake")
    monkeypatch.setenv("ISOGLOSS_SAMPLE_BACTH", "3")

    with pytest.raises(SystemExit) as caught:
        load(SampleSettings, ["--log-format", "xml"])

    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert "ISOGLOSS_SAMPLE_BACTH: there is no such setting" in told
    assert "ISOGLOSS_SAMPLE_BATCH (--batch): " in told
    assert "--log-format" in told
    assert "a-secret-by-mistake" not in told
    assert "Traceback" not in told


def test_unsafe_address_ends_in_a_plain_message(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load(SampleSettings, ["--address", "0.0.0.0:1"])

    told = capsys.readouterr().err
    assert told.startswith("The sample service cannot start:\n  address 0.0.0.0:1 can be reached")


def test_every_setting_is_documented() -> None:
    for name, field in ServiceSettings.model_fields.items():
        assert field.description, name


def test_configuration_page() -> None:
    text = page([SampleSettings])

    assert "## sample" in text
    own = text.partition("## sample")[2]
    assert "### `ISOGLOSS_SAMPLE_BATCH`\n\n`--batch` · whole number · default `8`\n\nHow" in own
    assert "`--kind` · one of `fast`, `slow` · default `fast`\n\nWhich." in own
    assert '`--sizes` · JSON object · default `{"small":1}`' in own
    assert "`--limit` · whole number or `none` · default `5`" in own
    assert "default `127.0.0.1:50099`\n\nHost and port to listen on" in own
    shared = text.partition("## sample")[0]
    assert "### `ISOGLOSS_SERVICE_DATABASE`\n\n`--database` · secret · unset by default" in shared
    assert "ISOGLOSS_SERVICE_ADDRESS" not in shared
    assert "whole number, at least 4194304, at most 268435456" in shared


def test_configuration_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(tmp_path / "c.md"), "services.common.settings:DatabaseSettings"]

    assert write_configuration(["--check", *arguments]) == 1
    assert "out of date" in capsys.readouterr().err
    assert write_configuration(arguments) == 0
    assert write_configuration(["--check", *arguments]) == 0
