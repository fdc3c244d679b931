"""What is said to a proxy, without a network; with one it is tested in test_faults.py."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from basix_cti.endpoint import Endpoint
from basix_cti.errors import ConnectError
from basix_cti.proxy import Proxy


def converse(url: str, server: str, answer: bytes) -> tuple[bytes, bytes]:
    """What is said to a proxy that answers with these bytes, and what of them is left."""
    dialogue = Proxy(url).tunnel(Endpoint.parse(server))
    said = b""
    with contextlib.suppress(StopIteration):
        step = next(dialogue)
        while True:
            if isinstance(step, bytes):
                said += step
                step = dialogue.send(b"")
            else:
                assert len(answer) >= step, "it waits for more"
                part, answer = answer[:step], answer[step:]
                step = dialogue.send(part)
    return said, answer


@pytest.mark.parametrize(
    ("url", "address", "shown"),
    [
        ("http://proxy:3128", "proxy:3128", "http://proxy:3128"),
        ("http://proxy/", "proxy:8080", "http://proxy:8080"),
        ("socks5://me:hunter2@[::1]", "[::1]:1080", "socks5://***@[::1]:1080"),
    ],
)
def test_urls(url: str, address: str, shown: str) -> None:
    proxy = Proxy(url)
    assert proxy.address == address
    assert repr(proxy) == f"Proxy({shown})"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "proxy:3128",
        "https://proxy",
        "socks4://proxy",
        "http://",
        "http://:3128",
        "http://hunter2:x",
        "http://proxy:0",
        "http://proxy:99999",
        "http://proxy/path",
        "http://proxy?hunter2",
        "http://proxy#hunter2",
        "http://pro xy",
        "http://[::1",
        "socks5://me@proxy",
        "socks5://" + "hunter2" * 40 + ":x@proxy",
        None,
        7,
    ],
)
def test_other_urls(url: Any) -> None:
    with pytest.raises(ValueError, match=r"proxy must|login in proxy") as refusal:
        Proxy(url)
    assert "hunter2" not in str(refusal.value)


def test_http() -> None:
    said, left = converse("http://me:hunter%202@proxy", "wss://pbx.example", b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nnext")
    assert said == (
        b"CONNECT pbx.example:443 HTTP/1.1\r\nHost: pbx.example:443\r\n"
        b"Proxy-Authorization: Basic bWU6aHVudGVyIDI=\r\n\r\n"
    )
    assert left == b"next"
    assert b"Proxy-Authorization" not in converse("http://proxy", "rig", b"HTTP/1.1 200\r\n\r\n")[0]


@pytest.mark.parametrize(
    ("server", "address", "bound"),
    [
        ("ws://pbx.example", b"\x03\x0bpbx.example\x00\x50", b"\x01\x7f\x00\x00\x01"),
        ("ws://127.0.0.1:8080", b"\x01\x7f\x00\x00\x01\x1f\x90", b"\x03\x04here"),
        ("ws://[::1]", b"\x04" + bytes(15) + b"\x01\x00\x50", b"\x04" + bytes(16)),
    ],
    ids=["name", "IPv4", "IPv6"],
)
def test_socks(server: str, address: bytes, bound: bytes) -> None:
    answer = b"\x05\x00\x00" + bound + b"\x12\x34"
    assert converse("socks5://proxy", server, b"\x05\x00" + answer + b"next") == (
        b"\x05\x01\x00\x05\x01\x00" + address,
        b"next",
    )
    assert converse("socks5://me:hunter2@proxy", server, b"\x05\x02\x01\x00" + answer + b"next") == (
        b"\x05\x01\x02\x01\x02me\x07hunter2\x05\x01\x00" + address,
        b"next",
    )


@pytest.mark.parametrize(
    ("scheme", "answer", "told"),
    [
        ("http", b"HTTP/1.1 403 No\r\n\r\n", r"did not connect to rig:443 \(HTTP 403\)"),
        ("http", b"HTTP/1.1 101 Odd\r\n\r\n", "HTTP 101"),
        ("http", b"SSH-2.0-x\r\n\r\n", "did not answer as an HTTP proxy does"),
        ("http", b"x" * 20_000, "exceeds 16384 bytes"),
        ("socks5", b"HT", "did not answer as a SOCKS 5 proxy does"),
        ("socks5", b"\x05\xff", "refused the way to log in"),
        ("socks5", b"\x05\x00", "refused the way to log in"),
        ("socks5", b"\x05\x02\x01\x01", "refused the login"),
        ("socks5", b"\x05\x02\x01\x00\x05\x05\x00\x01", r"did not connect to rig:443 \(connection refused\)"),
        ("socks5", b"\x05\x02\x01\x00\x05\x63\x00\x01", r"\(code 99\)"),
    ],
)
def test_refusals(scheme: str, answer: bytes, told: str) -> None:
    with pytest.raises(ConnectError, match=told) as refusal:
        converse(f"{scheme}://me:hunter2@proxy", "rig", answer)
    assert "hunter2" not in str(refusal.value)


def test_a_name_too_long_for_socks() -> None:
    with pytest.raises(ConnectError, match="too long"):
        converse("socks5://proxy", "ws://" + ".".join(["x" * 60] * 5), b"\x05\x00")
