from __future__ import annotations

from pathlib import Path

import pytest

from isogloss.connection import Endpoint, parse_address, resolve
from isogloss.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "tls", "expected"),
    [
        ("localhost:50051", False, ("localhost:50051", False, True)),
        ("127.0.0.9:1", True, ("127.0.0.9:1", True, True)),
        ("[::1]:50051", False, ("[::1]:50051", False, True)),
        ("[2001:db8::1]:50051", False, ("[2001:db8::1]:50051", False, False)),
        ("https://models.example.com:443", False, ("models.example.com:443", True, False)),
        ("https://models.example.com:443/", False, ("models.example.com:443", True, False)),
        ("http://localhost:50051", True, ("localhost:50051", False, True)),
        ("dns:///localhost:1", False, ("dns:///localhost:1", False, True)),
        ("dns:///example.com:1", True, ("dns:///example.com:1", True, False)),
        ("unix:/run/isogloss", False, ("unix:/run/isogloss", False, True)),
        ("localhost.example.com:1", False, ("localhost.example.com:1", False, False)),
    ],
)
def test_addresses(text: str, *, tls: bool, expected: tuple[str, bool, bool]) -> None:
    endpoint = parse_address(text, tls=tls)

    assert (endpoint.target, endpoint.tls, endpoint.loopback) == expected


@pytest.mark.parametrize("text", ["localhost", "https://example.com", "http://a:1/path", ""])
def test_an_address_without_a_port_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        parse_address(text, tls=False)


def test_the_environment_fills_in_what_is_not_given() -> None:
    environ = {
        "ISOGLOSS_INGEST": "https://one.example.com:1",
        "ISOGLOSS_TRAINER": "https://two.example.com:2",
        "ISOGLOSS_API_KEY": "secret",
    }

    connection = resolve({"trainer": "localhost:9"}, environ)

    assert connection.endpoints == {
        "ingest": Endpoint(target="one.example.com:1", tls=True),
        "trainer": Endpoint(target="localhost:9", tls=False),
        "inference": Endpoint(target="localhost:50053", tls=False),
    }
    assert connection.metadata == (("authorization", "Bearer secret"),)
    assert "secret" not in repr(connection)


@pytest.mark.parametrize("address", ["10.0.0.1:50051", "http://ingest.example.com:1", "ingest:1"])
def test_a_key_never_leaves_the_machine_unencrypted(address: str) -> None:
    with pytest.raises(ConfigurationError, match="unencrypted") as caught:
        resolve({"ingest": address, "api_key": "secret"}, {})

    assert "secret" not in caught.value.message
    assert resolve({"ingest": address}, {}).metadata == ()


def test_an_authority_turns_tls_on(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(b"authority")

    connection = resolve({}, {"ISOGLOSS_TLS_CA": str(ca)})

    assert all(endpoint.tls for endpoint in connection.endpoints.values())
    assert connection.ca == b"authority"


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        resolve({"tls_ca": tmp_path / "absent.pem"}, {})
    with pytest.raises(ConfigurationError, match="both files"):
        resolve({"tls_key": tmp_path / "key.pem"}, {})
