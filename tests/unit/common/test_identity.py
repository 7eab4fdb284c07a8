from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from services.common.errors import PermissionDenied, Reason, Unauthenticated
from services.common.identity import (
    Anyone,
    KeyFile,
    Mesh,
    Principal,
    Role,
    authorize,
    current_principal,
    read_keys,
)


def entry(key: str, *, tenant: str = "acme", role: str = "write", name: str = "ci") -> str:
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f'[[keys]]\nsha256 = "{digest}"\ntenant = "{tenant}"\nrole = "{role}"\nname = "{name}"\n'


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys.toml"
    path.write_text(entry("k1") + entry("k2", tenant="other", role="read", name="dashboard"))
    return path


def test_key_names_its_principal(path: Path) -> None:
    keys = KeyFile(path)

    assert keys.authenticate(bearer("k1")) == Principal(tenant="acme", role=Role.WRITE, name="ci")
    assert keys.authenticate({"authorization": "bearer   k2 "}).tenant == "other"


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({}, Reason.CREDENTIALS_MISSING),
        ({"authorization": ""}, Reason.CREDENTIALS_MISSING),
        (bearer("k3"), Reason.CREDENTIALS_INVALID),
        (bearer(""), Reason.CREDENTIALS_INVALID),
        ({"authorization": "Basic k1"}, Reason.CREDENTIALS_INVALID),
        ({"authorization": "k1"}, Reason.CREDENTIALS_INVALID),
        (bearer(hashlib.sha256(b"k1").hexdigest()), Reason.CREDENTIALS_INVALID),
        ({"x-isogloss-tenant": "acme", "x-isogloss-role": "admin"}, Reason.CREDENTIALS_MISSING),
    ],
)
def test_anything_else_is_refused(path: Path, metadata: dict[str, str], reason: Reason) -> None:
    with pytest.raises(Unauthenticated) as caught:
        KeyFile(path).authenticate(metadata)

    assert caught.value.reason is reason
    assert "k3" not in str(caught.value)


def test_file_is_read_again_when_it_changes(path: Path) -> None:
    keys = KeyFile(path)
    replacement = path.with_name("new.toml")
    replacement.write_text(entry("k9"))
    replacement.replace(path)

    assert keys.authenticate(bearer("k9")).tenant == "acme"
    with pytest.raises(Unauthenticated):
        keys.authenticate(bearer("k1"))


@pytest.mark.parametrize("content", ["broken [", "", None])
def test_broken_change_keeps_no_more_than_it_says(path: Path, content: str | None) -> None:
    """A broken or missing file keeps the keys; an empty one is meant."""
    keys = KeyFile(path)
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
        os.utime(path, ns=(1, 1))

    if content == "":
        with pytest.raises(Unauthenticated):
            keys.authenticate(bearer("k1"))
    else:
        assert keys.authenticate(bearer("k1")).tenant == "acme"


@pytest.mark.parametrize(
    "tenant", ["", "_shared", "a/b", "..", "A", "a b", "-a", "a-", "a" * 64, "ä", "a\\n"]
)
def test_tenant_that_is_no_safe_key_segment_is_refused(path: Path, tenant: str) -> None:
    path.write_text(entry("k", tenant=tenant))

    with pytest.raises(ValueError, match=r"keys\[0\]: tenant"):
        read_keys(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (entry("k", role="root"), "none of read, write, admin"),
        (entry("k") + entry("k"), "twice"),
        ("x = 1\n" + entry("k"), "nothing else"),
        ("keys = 1", "nothing else"),
        ("keys = [1]", r"keys\[0\]: expected the fields"),
        (entry("k") + "extra = 1\n", "expected the fields name, role, sha256, tenant"),
        (entry("k").replace('name = "ci"', "name = 1"), "every field is text"),
        (entry("k").replace('sha256 = "', 'sha256 = "z'), "64 hexadecimal digits"),
        ("[[", "keys.toml"),
    ],
)
def test_broken_file_is_explained(path: Path, content: str, problem: str) -> None:
    path.write_text(content)

    with pytest.raises(ValueError, match=problem):
        KeyFile(path)


def test_without_keys_everybody_is_admin_of_default() -> None:
    assert Anyone().authenticate({}) == Principal(tenant="default", role=Role.ADMIN, name="anyone")


def test_mesh_says_who_calls() -> None:
    metadata = {"x-isogloss-tenant": "acme", "x-isogloss-role": "read", "x-isogloss-name": "web"}

    assert Mesh().authenticate(metadata) == Principal(tenant="acme", role=Role.READ, name="web")
    for broken in ({}, {**metadata, "x-isogloss-tenant": "_shared"}, {"x-isogloss-tenant": "a"}):
        with pytest.raises(Unauthenticated, match="sidecar"):
            Mesh().authenticate(broken)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("needed", Role)
def test_role_reaches_what_needs_no_more(role: Role, needed: Role) -> None:
    principal = Principal(tenant="t", role=role, name="n")

    if role >= needed:
        authorize(principal, "/s/m", {"/s/m": needed})
    else:
        with pytest.raises(PermissionDenied, match=f"needs the role {needed.name.lower()}"):
            authorize(principal, "/s/m", {"/s/m": needed})


def test_method_that_nobody_named_is_open_to_nobody() -> None:
    with pytest.raises(PermissionDenied, match="nobody"):
        authorize(Principal(tenant="t", role=Role.ADMIN, name="n"), "/s/m", {"/s/other": Role.READ})


def test_outside_of_a_call_there_is_no_principal() -> None:
    with pytest.raises(LookupError):
        current_principal()
