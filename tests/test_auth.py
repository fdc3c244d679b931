"""The three logins, and the ticket service on a real HTTP server."""

from __future__ import annotations

import pickle
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme
from peer import TIMEOUT, Peer

from basix_cti import ApiToken, ApiUser, Ticket, TicketService
from basix_cti.errors import AuthError, TicketError
from basix_cti.simulator import Simulator

SECRET = "hunter2"
URI = "/basix/api/ws_cti?app_name=screen"


@pytest.mark.parametrize(
    "make",
    [
        lambda: ApiToken("test1.com", SECRET),
        lambda: ApiUser("test1.com", "me", SECRET),
        lambda: Ticket(lambda uri: SECRET),
        lambda: Ticket(TicketService("rig", ApiToken("test1.com", SECRET))),
        lambda: TicketService("rig", ApiToken("test1.com", SECRET)),
    ],
    ids=["ApiToken", "ApiUser", "Ticket", "Ticket of a service", "TicketService"],
)
def test_repr_has_no_secret(make: Callable[[], object]) -> None:
    login = make()
    assert SECRET not in repr(login) + str(login)


@pytest.mark.parametrize(
    "make",
    [
        lambda value: ApiToken("test1.com", value),
        lambda value: ApiToken(value, "x"),
        lambda value: ApiUser(value, "me", "x"),
        lambda value: ApiUser("test1.com", value, "x"),
        lambda value: ApiUser("test1.com", "me", value),
    ],
)
@pytest.mark.parametrize("value", ["", f"{SECRET}\r\nX: y", None])
def test_bad_values(make: Callable[[Any], object], value: Any) -> None:
    with pytest.raises(ValueError, match="must") as caught:
        make(value)
    assert SECRET not in str(caught.value)


def test_a_domain_with_a_colon_would_cut_the_token() -> None:
    with pytest.raises(ValueError, match="colon"):
        ApiToken("test1.com:x", SECRET)


def test_authorization_is_utf8() -> None:
    assert ApiToken("日本", "鍵").authorization(URI) == "Basic 5pel5pysOumNtQ=="


def test_logins_can_be_pickled() -> None:
    login = pickle.loads(pickle.dumps(ApiToken("test1.com", SECRET)))
    assert login.authorization(URI) == ApiToken("test1.com", SECRET).authorization(URI)


def test_ticket_takes_a_callable() -> None:
    not_callable: Any = "a-ticket"
    with pytest.raises(TypeError, match="not a ticket"):
        Ticket(not_callable)


@pytest.mark.pbx(token=SECRET)
def test_service_gets_a_ticket_each_time(pbx: Simulator) -> None:
    service = TicketService(pbx.url, ApiToken(pbx.domain, SECRET))
    tickets = {service(URI), service(URI)}
    assert len(tickets) == 2
    assert all(tickets)


@pytest.mark.pbx(token=SECRET)
def test_service_is_refused(pbx: Simulator) -> None:
    with pytest.raises(AuthError, match=r"refused the API token \(HTTP 401\)") as caught:
        TicketService(pbx.url, ApiToken(pbx.domain, "wrong"))(URI)
    assert caught.value.status == 401


@pytest.mark.pbx(token=SECRET)
def test_service_tells_the_error_of_the_pbx(pbx: Simulator) -> None:
    with pytest.raises(TicketError, match=r"result_code -?\d+ \(.+\)"):
        TicketService(pbx.url, ApiToken(pbx.domain, SECRET))("/somewhere/else")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nnot json", "something else than a JSON object"),
        (b"HTTP/1.1 200 OK\r\n\r\n[]", "something else than a JSON object"),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", "result_code None"),
        (b'HTTP/1.1 200 OK\r\n\r\n{"result_code": 0, "ticket": 7}', "result_code 0"),
        (b'HTTP/1.1 200 OK\r\n\r\n{"result_code": 5, "description": "no\\nrights"}', r"result_code 5 \(no rights\)"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2/\r\n\r\n", "HTTP 302"),
        (b"", "no answer"),
        (b"nonsense\r\n\r\n", "no answer"),
    ],
)
def test_odd_answers(answer: bytes, told: str) -> None:
    def serve() -> None:
        link = peer.accept()
        link.read_request()
        link.send(answer)
        link.finish()

    with Peer() as peer, ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve)
        with pytest.raises(TicketError, match=told) as caught:
            TicketService(peer.url, ApiToken("test1.com", SECRET))(URI)
        served.result(TIMEOUT)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_service_over_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    ca_file = str(tmp_path / "ca.pem")
    authority.cert_pem.write_to_path(ca_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Simulator(token=SECRET, ssl_context=context) as simulator:
        login = ApiToken(simulator.domain, SECRET)
        assert TicketService(simulator.url, login, ca_file=ca_file)(URI)
        assert TicketService(simulator.url, login, verify=False)(URI)
        with pytest.raises(TicketError, match="certificate verify failed"):
            TicketService(simulator.url, login)(URI)
