"""What users write for a server, and what must not get into a URL or a header."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from basix_cti.endpoint import Endpoint, checked, tls_context


@pytest.mark.parametrize(
    ("server", "url", "host_header"),
    [
        ("bcs.brastel.com", "wss://bcs.brastel.com:443/basix/api/ws_cti", "bcs.brastel.com"),
        ("bcs.brastel.com:8443", "wss://bcs.brastel.com:8443/basix/api/ws_cti", "bcs.brastel.com:8443"),
        ("ws://rig", "ws://rig:80/basix/api/ws_cti", "rig"),
        ("ws://rig:443/", "ws://rig:443/basix/api/ws_cti", "rig:443"),
        ("wss://rig/other/ws_cti", "wss://rig:443/other/ws_cti", "rig"),
        ("WSS://Rig", "wss://rig:443/basix/api/ws_cti", "rig"),
        ("[::1]:8080", "wss://[::1]:8080/basix/api/ws_cti", "[::1]:8080"),
        ("ws://[::1]", "ws://[::1]:80/basix/api/ws_cti", "[::1]"),
        ("bücher.example", "wss://xn--bcher-kva.example:443/basix/api/ws_cti", "xn--bcher-kva.example"),
        ("127.0.0.1:65535", "wss://127.0.0.1:65535/basix/api/ws_cti", "127.0.0.1:65535"),
    ],
)
def test_server(server: str, url: str, host_header: str) -> None:
    endpoint = Endpoint.parse(server)
    assert endpoint.url == url
    assert endpoint.host_header == host_header


@pytest.mark.parametrize(
    ("server", "told"),
    [
        ("", "not empty"),
        ("https://bcs.brastel.com", "starts with https://"),
        ("ws://user:hunter2@rig", "credentials"),
        ("ws://hunter2@rig", "credentials"),
        ("ws://rig/?token=hunter2", "query"),
        ("ws://rig/#hunter2", "fragment"),
        ("rig:port", "not a valid host"),
        ("rig:70000", "not a valid host"),
        ("rig:0", "not a valid host"),
        ("ws://", "not a valid host"),
        ("::1", "not a valid host"),
        ("a b", "space"),
        ("a..b", "not a valid host"),
        ("rig\r\nX: y", "control characters"),
        ("rig\x00", "control characters"),
    ],
)
def test_no_server(server: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        Endpoint.parse(server)
    assert "hunter2" not in str(caught.value)


def test_uri_keeps_the_order_and_quotes() -> None:
    endpoint = Endpoint.parse("rig")
    assert endpoint.uri([]) == "/basix/api/ws_cti"
    assert endpoint.uri([("b", "1 &="), ("a", "日本")]) == "/basix/api/ws_cti?b=1%20%26%3D&a=%E6%97%A5%E6%9C%AC"


def test_ticket_endpoint_is_beside() -> None:
    assert Endpoint.parse("rig").ticket_endpoint() == ("https", "/basix/api/gen_ws_ticket")
    assert Endpoint.parse("ws://rig/x/ws_cti").ticket_endpoint() == ("http", "/x/gen_ws_ticket")


@pytest.mark.parametrize("value", ["", "a\nb", "a\x7f", "a\x85", "\ud800", None, 7, b"x"])
def test_checked_names_the_parameter_and_not_the_value(value: object) -> None:
    with pytest.raises(ValueError, match=r"^token must") as caught:
        checked("token", value)
    assert "a\n" not in str(caught.value)


def test_checked_takes_any_other_text() -> None:
    assert checked("label", "営業 部") == "営業 部"


def test_tls_verifies_by_default() -> None:
    context = tls_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_tls_for_test_rigs() -> None:
    context = tls_context(verify=False)
    assert context.verify_mode is ssl.CERT_NONE
    assert not context.check_hostname


def test_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    context = tls_context(ca_file=str(file))
    assert len(context.get_ca_certs()) == 1, "the system's authorities are not trusted beside it"
    with pytest.raises(ValueError, match="ca_file has no effect"):
        tls_context(verify=False, ca_file=str(file))
    with pytest.raises(OSError, match="No such file"):
        tls_context(ca_file=str(tmp_path / "missing.pem"))
