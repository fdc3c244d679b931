"""The simulator as its clients meet it: over real sockets, with websocket-client and urllib as peers."""

from __future__ import annotations

import base64
import json
import logging
import socket
import ssl
import struct
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import trustme
import websocket

from basix_cti import bert
from basix_cti.errors import EncodeError
from basix_cti.etf import Atom
from basix_cti.simulator import Simulator, Traffic

PATH = "/basix/api/ws_cti"
MARKS = count()

CHANNEL_FIELDS = [
    *("uuid", "direction", "peer_location", "calling_name", "calling_number", "called_number"),
    *("offer_timestamp", "answer_timestamp", "hangup_timestamp", "other_uuid", "user_id", "state", "group_id"),
    *("target", "origination", "end_user", "tags", "last_bridged_user_id", "last_event", "last_event_data"),
    *("other_info", "call_id", "whoscall"),
]
FIELDS = {
    "user": "id name fwd_always_status do_not_disturb_status language main_extension presence role park_group "
    "mwi_target flags followme email avatar label mwi",
    "group": "id name type language main_extension queue label flags check_login_status mwi",
    "group_member": "id group_id user_id priority login_status role",
    "terminal": "id name assoc_user_id type user_agent registered",
}
CHAN_INFO_FIELDS = [
    *CHANNEL_FIELDS[:10],
    *("user_name", "user_id", "state", "group_id", "group_name", "target", "last_event"),
]


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.micros = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.micros

    def advance(self, seconds: float) -> None:
        self.micros += round(seconds * 1_000_000)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def name_of(term: Any) -> str:
    """Element and event names come as a list of characters, an atom or a binary."""
    if isinstance(term, list):
        return bytes(term).decode()
    return term.decode() if isinstance(term, bytes) else str(term)


class Peer:
    """A client, and the picture that it makes itself of the PBX from what it is told."""

    def __init__(self, sim: Simulator, *, uri: str, authorization: str | None = None, **options: Any) -> None:
        header = {} if authorization is None else {"Authorization": authorization}
        self.sim = sim
        self.socket = websocket.create_connection(sim.url + uri, header=header, timeout=20, **options)
        self.specs: dict[str, list[str]] = {}
        self.picture: dict[str, dict[Any, Any]] = {}
        self.log: list[Any] = []

    def frame(self) -> bytes:
        """The next binary message."""
        opcode, data = self.socket.recv_data()
        assert opcode == websocket.ABNF.OPCODE_BINARY, (opcode, data)
        return bytes(data)

    def read(self) -> Any:
        """The next message; marks of :meth:`sync` are passed over, which every peer gets."""
        while True:
            term = bert.decode(self.frame())
            if term[0] != "mark":
                return term

    def closed(self) -> tuple[int, str]:
        """Reads on until the close frame; its code and reason."""
        while True:
            opcode, data = self.socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return int.from_bytes(data[:2], "big"), data[2:].decode()

    def sync(self) -> list[Any]:
        """The messages that have been queued up to now, taken into the picture."""
        mark = next(MARKS)
        self.sim.send_term((Atom("mark"), mark))
        messages: list[Any] = []
        while True:
            term = bert.decode(self.frame())
            if term == ("mark", mark):
                return messages
            if term[0] != "mark":
                messages.append(term)
                self.take(term)

    def take(self, term: Any) -> None:
        self.log.append(term)
        kind = term[0]
        if kind == "field_spec":
            self.specs[name_of(term[1])] = list(term[2])
        elif kind == "initial_info":
            element = name_of(term[1])
            self.picture[element] = {item[0]: item for item in term[2] or ()}
        elif kind == "info_event":
            element, item, event = name_of(term[1]), term[2], name_of(term[3])
            items = self.picture[element]
            assert (item[0] in items) == (event != "added"), (element, event)
            if event == "removed":
                del items[item[0]]
            else:
                items[item[0]] = item
        elif kind == "initial_chan_info":
            self.picture["chan"] = {item[0]: item for item in term[1] or ()}
        elif kind == "chan_info":
            item = term[1]
            self.picture["chan"][item[0]] = item
            if item[-1] == "CHANNEL_HANGUP":
                del self.picture["chan"][item[0]]

    def events(self, element: str = "channel") -> list[tuple[str, str, str]]:
        """What has been told of an element: uuid, event, last_event."""
        found = [term for term in self.log if term[0] == "info_event" and name_of(term[1]) == element]
        return [(term[2][0].decode(), name_of(term[3]), str(term[2][18])) for term in found]

    def channel(self, uuid: str) -> dict[str, Any]:
        return dict(zip(CHANNEL_FIELDS, self.picture["channel"][uuid.encode()], strict=True))

    def send(self, command: Any) -> None:
        self.socket.send(command if isinstance(command, str) else json.dumps(command))

    def close(self) -> None:
        if self.socket.sock is not None:
            self.socket.sock.close()


Connect = Callable[..., Peer]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes peers: of the current generation with ``**query``, of the first with ``first=True``."""
    peers = []

    def make(sim: Simulator, *, first: bool = False, options: dict[str, Any] | None = None, **query: str) -> Peer:
        if first:
            login = {"domain": sim.domain, "api_user": sim.api_user, "api_token": sim.token}
            peer = Peer(sim, uri=f"{PATH}?{urlencode(login)}", **options or {})
        else:
            query = {"app_name": "test", "full_events": "true"} | query
            authorization = basic(sim.domain, sim.token)
            peer = Peer(sim, uri=f"{PATH}?{urlencode(query)}", authorization=authorization, **options or {})
        peers.append(peer)
        return peer

    yield make
    for peer in peers:
        peer.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sim(clock: Clock) -> Iterator[Simulator]:
    with Simulator(clock=clock) as started:
        yield started


def status_of(sim: Simulator, uri: str, authorization: str | None = None) -> int:
    """The HTTP status that a handshake is answered with."""
    try:
        Peer(sim, uri=uri, authorization=authorization).close()
    except websocket.WebSocketBadStatusException as error:
        return error.status_code
    return 101


def request_line(sim: Simulator, app_name: str) -> str:
    """The beginning of a handshake."""
    login = basic(sim.domain, sim.token)
    return f"GET {PATH}?app_name={app_name} HTTP/1.1\r\nHost: x\r\nAuthorization: {login}\r\n"


def post(sim: Simulator, body: bytes, authorization: str | None = None) -> tuple[int, Any]:
    url = f"http://{sim.server}/basix/api/gen_ws_ticket"
    headers = {"Content-Type": "application/json"} | ({} if authorization is None else {"Authorization": authorization})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, body, headers), timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None


def ticket_for(sim: Simulator, uri: str) -> str:
    status, answer = post(sim, json.dumps({"uri": uri}).encode(), basic(sim.domain, sim.token))
    assert (status, answer["result_code"]) == (200, 0)
    return str(answer["ticket"])


class TestCurrentGeneration:
    def test_each_element_is_specified_before_its_present_state_comes(self, sim: Simulator, connect: Connect) -> None:
        peer = connect(sim)
        order = [(str(term[0]), name_of(term[1])) for term in peer.sync()]
        elements = ["domain", "user", "group", "group_member", "terminal", "channel", "channel_waiting"]
        assert order == [(kind, element) for kind in ("field_spec", "initial_info") for element in elements]
        assert peer.specs["channel"] == peer.specs["channel_waiting"] == CHANNEL_FIELDS
        for element, fields in FIELDS.items():
            assert peer.specs[element] == fields.split()
            for item in peer.picture[element].values():
                assert len(item) == len(fields.split())

    def test_what_is_not_there_is_bert_nil(self, sim: Simulator, connect: Connect) -> None:
        messages = connect(sim).sync()
        assert [term[2] for term in messages if name_of(term[1]) == "channel"] == [CHANNEL_FIELDS, None]

    def test_a_call_is_told_step_by_step(self, sim: Simulator, connect: Connect) -> None:
        peer = connect(sim)
        call = sim.call("0312341234", to="user1")
        caller, station = call.legs
        call.answer()
        peer.sync()
        assert peer.events() == [
            (caller, "added", "NEW_CHANNEL"),
            (caller, "updated", "STATE_CHANGE"),
            (station, "added", "CHANNEL_ORIGINATE"),
            (station, "updated", "CHANNEL_ANSWER"),
            (caller, "updated", "CHANNEL_ANSWER"),
            (caller, "updated", "CHANNEL_BRIDGE"),
            (station, "updated", "CHANNEL_BRIDGE"),
        ]
        peer.log.clear()
        call.hangup()
        peer.sync()
        assert peer.events() == [
            (station, "updated", "CHANNEL_HANGUP"),
            (station, "removed", "CHANNEL_HANGUP"),
            (caller, "updated", "CHANNEL_HANGUP"),
            (caller, "removed", "CHANNEL_HANGUP"),
        ]
        assert [term[2][19] for term in peer.log] == [b"send_bye,NORMAL_CLEARING"] * 2 + [
            b"recv_bye,NORMAL_CLEARING"
        ] * 2

    def test_states_on_the_wire(self, sim: Simulator, connect: Connect, clock: Clock) -> None:
        peer = connect(sim)
        user, ring, hunt = sim.users[0], sim.groups[0], sim.groups[2]
        now = clock()

        def state(uuid: str) -> Any:
            peer.sync()
            return peer.channel(uuid)["state"]

        call = sim.call("0312341234", to="user1")
        assert state(call.uuid) == (now, "calling", "int", "user", (user.id,))
        assert state(call.legs[1]) == (now, "ringing")
        call.transfer("group1")
        data = ("ring", ring.id, "undefined", "undefined", b"group1")
        assert state(call.uuid) == (now, "calling", "int", "group", data)
        call.transfer("group3")
        assert state(call.uuid) == (now, "calling", "int", "group", ("hunt", hunt.id, "undefined", "undefined"))
        call.transfer("0455556666")
        assert state(call.uuid) == (now, "calling", "ext", "pstn", (b"0455556666",))
        call.answer()
        assert state(call.uuid) == (now, "bridged")
        call.park(slot="A1", by="user2")
        assert state(call.uuid) == (now, "park", b"A1", "undefined", sim.users[1].id, b"user2")
        call.transfer("user1").voicemail()
        assert state(call.uuid) == (now, "voicemail", "user", user.id, b"user1")
        assert state(call.ivr(7).uuid) == (now, "ivr", 7)
        assert state(call.xml_ivr().uuid) == (now, "xml_ivr")
        assert state(call.conference(3).uuid) == (now, "conference", 3)
        assert state(sim.check_voicemail("user1").uuid) == (now, "checking_voicemail", b"user1")
        assert state(sim.media_plug("user1").uuid) == (now, "system_operation", b"media_plug")

    def test_target_other_info_and_texts(self, sim: Simulator, connect: Connect, clock: Clock) -> None:
        peer = connect(sim)
        customer = sim.customers[0]
        call = sim.call(customer.number, to="user1", calling_name="青空 太郎", tags=("vip", "monitoring_required"))
        call.answer()
        peer.sync()
        user = sim.users[0]
        caller, station = (peer.channel(leg) for leg in call.legs)
        assert caller["target"] == ("user", user.id, b"user1", user.did.encode())
        assert caller["calling_name"].decode() == "青空 太郎"
        assert caller["tags"] == b"vip;monitoring_required"
        assert caller["end_user"].startswith(customer.id.encode() + b"*")
        assert caller["last_bridged_user_id"] == user.id
        assert caller["other_info"] == (
            *("user", user.id, "outbound", "internal", b"user1", clock()),
            *("undefined", "undefined"),
        )
        assert station["other_info"] == (
            *("end_user", caller["end_user"], "inbound", "external", customer.number.encode(), clock()),
            *("undefined", "undefined"),
        )
        assert station["user_id"] == user.id
        assert station["call_id"] == station["uuid"]
        assert caller["call_id"] != caller["uuid"]
        out = sim.dial("user1", "0455556666", origination=("make_call", "user1", "a*b"))
        peer.sync()
        assert peer.channel(out.uuid)["origination"] == b"make_call*user1*a%2Ab"

    @pytest.mark.parametrize(("names", "kind"), [("string", list), ("atom", Atom), ("binary", bytes)])
    def test_names_of_elements_and_events(self, names: Any, kind: type, connect: Connect) -> None:
        with Simulator(names=names) as sim:
            peer = connect(sim)
            sim.call("0312341234", to="user1")
            sim.system_msg("logout")
            messages = peer.sync()
        event = next(term for term in messages if term[0] == "info_event")
        assert [type(term) for term in (messages[0][1], event[1], event[3], messages[-1][1])] == [kind] * 4
        assert [name_of(term) for term in (event[1], event[3], messages[-1][1])] == ["channel", "added", "logout"]

    @pytest.mark.parametrize(
        ("latin1", "start"), [(True, b"\x83h\x03d\x00\x0afield_spec"), (False, b"\x83h\x03w\x0afield_spec")]
    )
    def test_atoms_of_older_and_newer_releases(self, latin1: bool, start: bytes, connect: Connect) -> None:
        with Simulator(latin1_atoms=latin1) as sim:
            assert connect(sim).frame().startswith(start)

    def test_separate_elements_for_queued_and_parked_channels(self, connect: Connect) -> None:
        with Simulator(waiting_element=False, clock=Clock()) as sim:
            peer = connect(sim)
            call = sim.call("0312341234", to="group1")
            peer.sync()
            assert (
                peer.specs["queued_channel"]
                == peer.specs["parked_channel"]
                == ["uuid", "state", "peer_number", "end_user"]
            )
            (queued,) = peer.picture["queued_channel"].values()
            assert (queued[0].decode(), queued[1][1], queued[2]) == (call.uuid, "calling", b"0312341234")
            call.park()
            peer.sync()
            assert not peer.picture["queued_channel"]
            (parked,) = peer.picture["parked_channel"].values()
            assert (parked[0].decode(), parked[1][1]) == (call.uuid, "park")
            call.unpark(by="user1")
            peer.sync()
            assert not peer.picture["parked_channel"]
            assert "channel_waiting" not in peer.picture

    def test_fields_in_another_order_with_more_and_fewer_of_them(self, connect: Connect) -> None:
        with Simulator(fields={"channel": ("state", "uuid", "mood"), "user": ("id",)}) as sim:
            peer = connect(sim)
            peer.sync()
            assert peer.specs["channel"] == ["state", "uuid", "mood"]
            assert list(peer.picture["user"].values()) == [(user.id,) for user in sim.users]
            call = sim.call("0312341234", to="user1")
            assert peer.read()[2] == ("undefined", call.uuid.encode(), "undefined")

    def test_voicemail_shows_in_the_mailbox(self, sim: Simulator, connect: Connect) -> None:
        peer = connect(sim)
        sim.call("0312341234", to="user1").voicemail().leave_message().hangup()
        sim.call("0312341234", to="group1").voicemail().hangup()
        sim.call("0312341234", to="user2").voicemail(leave_message=False).hangup()
        peer.sync()
        mailboxes = {item[1]: item[-1] for item in (*peer.picture["user"].values(), *peer.picture["group"].values())}
        assert (mailboxes[b"user1"], mailboxes[b"group1"], mailboxes[b"user2"]) == (b"2/0", b"1/0", b"")
        sim.check_voicemail("user1")
        peer.sync()
        assert peer.picture["user"][sim.users[0].id][-1] == b"0/2"

    def test_changes_of_users_groups_members_terminals_and_the_domain(self, sim: Simulator, connect: Connect) -> None:
        peer = connect(sim)
        peer.sync()
        user = sim.add_user("yuki", extension="299", label="雪")
        sim.add_group("night", extension="399", hunt=True)
        sim.add_member("yuki", "night")
        sim.update_user("yuki", presence=2)
        sim.update_group("night", label="夜間")
        sim.update_member("yuki", "night", login_status=0)
        sim.update_terminal("yuki", registered=False)
        sim.update_domain(label="新しい名前")
        changes = peer.sync()
        assert [(name_of(term[1]), name_of(term[3])) for term in changes] == [
            ("user", "added"),
            ("terminal", "added"),
            ("group", "added"),
            ("group_member", "added"),
            ("user", "updated"),
            ("group", "updated"),
            ("group_member", "updated"),
            ("terminal", "updated"),
            ("domain", "updated"),
        ]
        assert changes[0][2][-2].decode() == "雪"
        assert peer.picture["user"][user.id][6] == 2
        sim.remove_member("yuki", "night")
        sim.add_member("yuki", "group1")
        sim.remove_user("yuki")
        sim.remove_group("night")
        peer.sync()
        fresh = connect(sim)
        fresh.sync()
        assert fresh.picture == peer.picture
        assert user.id not in peer.picture["user"]


class TestFirstGeneration:
    def test_opening(self, sim: Simulator, connect: Connect) -> None:
        call = sim.call("0312341234", to="user1")
        peer = connect(sim, first=True)
        messages = peer.sync()
        assert [str(term[0]) for term in messages] == ["field_spec"] * 4 + ["initial_chan_info"]
        assert peer.specs == {
            "chan_info": CHAN_INFO_FIELDS,
            "park_info": ["uuid", "slot", "parker_id", "parker_name"],
            "unpark_info": ["uuid", "slot", "parker_id", "parker_name"],
            "mwi_info": ["target_type", "target_id", "target_name", "new_messages", "saved_messages"],
        }
        assert [item[0].decode() for item in messages[-1][1]] == list(call.legs)

    def test_no_channels_are_bert_nil(self, sim: Simulator, connect: Connect) -> None:
        assert connect(sim, first=True).sync()[-1] == ("initial_chan_info", None)

    def test_a_call_and_its_states(self, sim: Simulator, connect: Connect, clock: Clock) -> None:
        peer = connect(sim, first=True)
        now, user = clock(), sim.users[0]

        def state(uuid: str) -> Any:
            peer.sync()
            return peer.picture["chan"][uuid.encode()][12]

        call = sim.call("0312341234", to="user1")
        assert state(call.uuid) == (now, "calling", "user", user.id, b"user1")
        assert state(call.transfer("0455556666").uuid) == (now, "calling_external", b"0455556666")
        assert state(call.xml_ivr().uuid) == (now, "plivo")
        assert state(call.transfer("group1").uuid) == (now, "calling", "group", sim.groups[0].id, b"group1")
        station = peer.picture["chan"][call.legs[1].encode()]
        assert (station[10], station[14]) == (b"user1", b"group1")
        assert state(call.answer().park(slot=4).uuid) == (now, "park", 4)
        call.unpark(by="user2").hangup()
        peer.sync()
        assert not peer.picture["chan"]
        assert [term for term in peer.log if term[0] in ("park_info", "unpark_info")] == [
            ("park_info", (call.uuid.encode(), 4, user.id, b"user1")),
            ("unpark_info", (call.uuid.encode(), 4, user.id, b"user1")),
        ]

    def test_a_message_in_a_mailbox(self, sim: Simulator, connect: Connect) -> None:
        peer = connect(sim, first=True)
        sim.call("0312341234", to="user1").voicemail().hangup()
        sim.call("0312341234", to="group1").voicemail().hangup()
        sim.check_voicemail("user1").hangup()
        messages = [term for term in peer.sync() if term[0] == "mwi_info"]
        assert messages == [
            ("mwi_info", ("user", sim.users[0].id, b"user1", 1, 0)),
            ("mwi_info", ("group", sim.groups[0].id, b"group1", 1, 0)),
        ]

    @pytest.mark.parametrize("wrapper", ["tuple", "list"])
    def test_the_container_of_before_november_2018(self, wrapper: Any, connect: Connect) -> None:
        with Simulator(wrapper=wrapper) as sim:
            peer = connect(sim, first=True)
            sim.call("0312341234", to="user1").park()
            messages = peer.sync()
        assert {type(term).__name__ for term in messages} == {wrapper}
        assert {len(term) for term in messages} == {1}
        assert {str(term[0][0]) for term in messages} == {"field_spec", "initial_chan_info", "chan_info", "park_info"}


class TestLogin:
    def test_wrong_logins_and_addresses(self, sim: Simulator) -> None:
        good = basic(sim.domain, sim.token)
        first = {"domain": sim.domain, "api_user": sim.api_user, "api_token": sim.token}
        for uri, authorization, status in [
            (f"{PATH}?app_name=a", good, 101),
            (f"{PATH}?app_name=a", None, 401),
            (f"{PATH}?app_name=a", basic(sim.domain, "wrong"), 401),
            (f"{PATH}?app_name=a", basic("wrong", sim.token), 401),
            (f"{PATH}?app_name=a", basic("ws_ticket", "wrong"), 401),
            (f"{PATH}?app_name=a", "Basic ???", 401),
            (f"{PATH}?app_name=a", "Bearer " + good.split()[1], 401),
            (PATH, good, 400),
            (f"{PATH}?app_name=", good, 400),
            ("/basix/api/other", good, 404),
            ("/", None, 404),
            (f"{PATH}?{urlencode(first)}", None, 101),
            (f"{PATH}?{urlencode(first | {'api_token': 'wrong'})}", None, 401),
            (f"{PATH}?{urlencode(first | {'domain': 'wrong'})}", None, 401),
            (f"{PATH}?{urlencode(first | {'api_user': 'wrong'})}", None, 401),
            (f"{PATH}?api_token={sim.token}", good, 401),
        ]:
            assert status_of(sim, uri, authorization) == status, (uri, status)

    def test_a_ticket_works_once(self, sim: Simulator) -> None:
        uri = f"{PATH}?app_name=a&user_name=user2"
        login = basic("ws_ticket", ticket_for(sim, uri))
        assert [status_of(sim, uri, login) for _ in range(2)] == [101, 401]

    def test_a_ticket_is_for_its_uri_only(self, sim: Simulator) -> None:
        login = basic("ws_ticket", ticket_for(sim, f"{PATH}?app_name=a&user_name=user2"))
        assert status_of(sim, f"{PATH}?user_name=user2&app_name=a", login) == 401

    def test_a_ticket_expires(self, sim: Simulator, clock: Clock) -> None:
        uri = f"{PATH}?app_name=a"
        logins = [basic("ws_ticket", ticket_for(sim, uri)) for _ in range(2)]
        clock.advance(9.9)
        assert status_of(sim, uri, logins[0]) == 101
        clock.advance(0.1)
        assert status_of(sim, uri, logins[1]) == 401

    def test_a_ticket_does_not_show_the_whole_pbx(self, sim: Simulator) -> None:
        uri = f"{PATH}?app_name=a&full_events=true"
        assert status_of(sim, uri, basic("ws_ticket", ticket_for(sim, uri))) == 403

    def test_tickets_are_refused(self, sim: Simulator) -> None:
        good = basic(sim.domain, sim.token)
        body = json.dumps({"uri": f"{PATH}?app_name=a"}).encode()
        for wrong in (None, basic(sim.domain, "wrong"), basic("ws_ticket", sim.token)):
            assert post(sim, body, wrong) == (401, None)
        for bad in (b"", b"{", b"[]", b'{"uri": 1}', b'{"uri": "/basix/api/ws_cti"}', b'{"uri": "/?app_name=a"}'):
            status, answer = post(sim, bad, good)
            assert (status, answer["result_code"] != 0, bool(answer["description"])) == (200, True, True)

    def test_no_secret_in_logs_and_reprs(self, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        with Simulator(token="most-secret") as sim:
            ticket = ticket_for(sim, f"{PATH}?app_name=a")
            status_of(sim, f"{PATH}?app_name=b", basic("ws_ticket", ticket))
            connect(sim, first=True).send({"cmd": "hangup"})
            connect(sim).send("most-secret")
            assert sim.connections == 2
            text = repr(sim) + caplog.text
            assert f"{sim.url}, 2 connections, 0 calls" in text
        assert "stopped" in repr(sim)
        for secret in ("most-secret", ticket, basic(sim.domain, "most-secret").split()[1]):
            assert secret not in text + caplog.text


class TestLimit:
    def test_the_third_is_refused(self, sim: Simulator, connect: Connect) -> None:
        peers = [connect(sim) for _ in range(2)]
        third = connect(sim)
        kind, message = third.read()
        assert (kind, name_of(message)) == ("system_msg", "connection_limit_reached")
        assert third.closed() == (1008, "connection_limit_reached")
        assert sim.connections == 2
        connect(sim, app_name="another").sync()
        connect(sim, full_events="false").sync()
        for _ in range(3):
            connect(sim, first=True).sync()
        for peer in peers:
            peer.sync()

    @pytest.mark.parametrize("spelling", ["forced", "force"])
    def test_a_forced_one_replaces_the_oldest(self, spelling: str, sim: Simulator, connect: Connect) -> None:
        oldest, newer = connect(sim), connect(sim)
        oldest.sync()
        third = connect(sim, **{spelling: "true"})
        third.sync()
        kind, message = oldest.read()
        assert (kind, name_of(message)) == ("system_msg", "connection_replaced")
        assert oldest.closed() == (1008, "connection_replaced")
        newer.sync()
        assert sim.connections == 2

    def test_a_place_becomes_free(self, sim: Simulator, connect: Connect) -> None:
        first, _ = connect(sim), connect(sim)
        sim.wait_connections(2)
        first.close()
        sim.wait_connections(1)
        connect(sim).sync()

    def test_another_limit(self, connect: Connect) -> None:
        with Simulator(connection_limit=1) as sim:
            connect(sim).sync()
            assert name_of(connect(sim).read()[1]) == "connection_limit_reached"


class TestOneUsersView:
    def test_each_way_to_name_the_user(self, sim: Simulator, connect: Connect) -> None:
        user = sim.users[4]
        for selector, value in {
            "user_id": str(user.id),
            "user_name": user.name,
            "user_label": user.label,
            "user_extension": user.main_extension,
            "user_did": user.did,
            "user_email": user.email,
        }.items():
            peer = connect(sim, app_name=selector, full_events="false", **{selector: value})
            peer.sync()
            assert list(peer.picture["user"]) == [user.id], selector
            uri = f"{PATH}?app_name=a&{selector}={quote('誰でもない')}"
            assert status_of(sim, uri, basic(sim.domain, sim.token)) == 404

    def test_the_first_user_is_the_default(self, sim: Simulator, connect: Connect) -> None:
        peer = connect(sim, full_events="false")
        peer.sync()
        assert list(peer.picture["user"]) == [sim.users[0].id]

    def test_what_belongs_to_the_user(self, sim: Simulator, connect: Connect) -> None:
        peer = connect(sim, full_events="false", user_name="user2")
        peer.sync()
        user = sim.users[1]
        groups = {member.group_id for member in sim.members if member.user_id == user.id}
        assert set(peer.picture["group"]) == groups
        assert groups
        assert {item[2] for item in peer.picture["group_member"].values()} == {user.id}
        assert {item[2] for item in peer.picture["terminal"].values()} == {user.id}
        assert "domain" not in peer.picture
        sim.call("0312341234", to="user1").answer().hangup()
        sim.update_user("user1", presence=1)
        assert peer.sync() == []
        call = sim.call("0312341234", to="user2").answer()
        station = call.legs[1]
        call.park()
        peer.sync()
        assert {uuid for uuid, _, _ in peer.events()} == {station}
        assert [(uuid, event) for uuid, event, _ in peer.events("channel_waiting")] == [(call.uuid, "added")]

    def test_queues_and_memberships_come_and_go(self, sim: Simulator, connect: Connect) -> None:
        sim.add_group("night", extension="399")
        call = sim.call("0312341234", to="night")
        peer = connect(sim, full_events="false", user_name="user2")
        peer.sync()
        assert not peer.picture["channel_waiting"]
        sim.add_member("user2", "night")
        peer.sync()
        assert [uuid.decode() for uuid in peer.picture["channel_waiting"]] == [call.uuid]
        sim.add_group("day", extension="398")
        call.transfer("day")
        peer.sync()
        assert not peer.picture["channel_waiting"]
        call.transfer("night")
        peer.sync()
        assert peer.picture["channel_waiting"]
        sim.remove_member("user2", "night")
        peer.sync()
        fresh = connect(sim, full_events="false", user_name="user2")
        fresh.sync()
        # The leg that rang at the user's station is still there, so both see it.
        assert fresh.picture == peer.picture
        assert not peer.picture["channel_waiting"]


class TestCommands:
    def test_hangup(self, sim: Simulator, connect: Connect) -> None:
        peer = connect(sim)
        call = sim.call("0312341234", to="user1").answer()
        peer.sync()
        peer.log.clear()
        peer.send({"cmd": "hangup", "uuid": call.uuid})
        assert sim.wait_command() == {"cmd": "hangup", "uuid": call.uuid}
        assert call.state == "ended"
        peer.sync()
        assert not peer.picture["channel"]
        assert {term[2][19] for term in peer.log} == {b"send_bye,NORMAL_CLEARING"}

    def test_hangup_of_one_ringing_station(self, sim: Simulator, connect: Connect) -> None:
        peer = connect(sim)
        call = sim.call("0312341234", to="group1")
        legs = call.legs
        assert len(legs) > 2
        for leg in legs[1:]:
            assert call.state == "ringing"
            peer.send({"cmd": "hangup", "uuid": leg})
            sim.wait_command()
        assert call.state == "ended"

    def test_park_rings_back_and_ends(self, sim: Simulator, connect: Connect, clock: Clock) -> None:
        peer = connect(sim)
        call = sim.call("0312341234", to="user1").answer()
        peer.send({"cmd": "park", "uuid": call.uuid, "timeout": 30})
        sim.wait_command()
        peer.sync()
        assert peer.channel(call.uuid)["state"][1:] == ("park", 1, "undefined", sim.users[0].id, b"user1")
        clock.advance(29.9)
        assert sim.run_due() == 0
        clock.advance(0.1)
        sim.run_due()
        assert call.state == "ringing"
        peer.sync()
        assert peer.channel(call.legs[1])["user_id"] == sim.users[0].id
        peer.log.clear()
        clock.advance(30)
        sim.run_due()
        assert call.state == "ended"
        peer.sync()
        assert {term[2][19] for term in peer.log} == {b"send_cancel,ALLOTTED_TIMEOUT", b"send_bye,ALLOTTED_TIMEOUT"}

    def test_a_parking_timeout_runs_by_itself(self, connect: Connect) -> None:
        with Simulator() as sim:
            peer = connect(sim)
            call = sim.call("0312341234", to="user1")
            peer.sync()
            peer.send({"cmd": "park", "uuid": call.uuid, "timeout": 0.05})
            while peer.picture["channel"]:
                peer.take(peer.read())
            assert call.state == "ended"

    def test_a_parking_timeout_is_over_when_the_call_moves_on(self, sim: Simulator, clock: Clock) -> None:
        call = sim.call("0312341234", to="user1").answer().park(timeout=30)
        call.unpark()
        clock.advance(31)
        sim.run_due()
        assert call.state == "bridged"

    @pytest.mark.parametrize("key", ["user_id", "user_name", "destination", "extension", "outside"])
    def test_transfer(self, key: str, sim: Simulator, connect: Connect) -> None:
        peer = connect(sim)
        call = sim.call("0312341234", to="user1").answer()
        user = sim.users[2]
        ways: dict[str, dict[str, Any]] = {
            "user_id": {"user_id": user.id},
            "user_name": {"user_name": "user3"},
            "destination": {"destination": "user3"},
            "extension": {"destination": user.main_extension, "user_id": None, "user_name": None},
            "outside": {"destination": "0455556666"},
        }
        peer.send({"cmd": "transfer", "uuid": call.uuid, **ways[key]})
        sim.wait_command()
        peer.sync()
        ringing = peer.channel(call.legs[1])
        if key == "outside":
            assert (ringing["peer_location"], ringing["called_number"]) == ("external", b"0455556666")
        else:
            assert ringing["user_id"] == user.id

    def test_transfer_takes_the_channel_that_is_named(self, sim: Simulator, connect: Connect) -> None:
        peer = connect(sim)
        call = sim.dial("user1", "0455556666").answer()
        station, outside = call.legs
        peer.send({"cmd": "transfer", "uuid": station, "user_name": "user2"})
        sim.wait_command()
        assert call.uuid == station
        assert outside not in call.legs

    def test_eavesdrop(self, sim: Simulator, connect: Connect, clock: Clock) -> None:
        peer = connect(sim)
        call = sim.call("0312341234", to="user1").answer()
        plug = sim.media_plug("user3")

        def order(**rest: Any) -> Any:
            peer.send({"cmd": "eavesdrop", "uuid": plug.uuid, "target_uuid": call.uuid} | rest)
            sim.wait_command()
            peer.sync()
            return peer.channel(plug.uuid)["state"][1:]

        assert order(subcommand="listen") == ("eavesdrop", call.uuid.encode(), b"listen")
        assert order(subcommand="whisper") == ("eavesdrop", call.uuid.encode(), b"whisper")
        assert order(subcommand="stop") == ("system_operation", b"media_plug")
        assert order() == ("eavesdrop", call.uuid.encode(), b"listen")
        call.hangup()
        peer.sync()
        assert peer.channel(plug.uuid)["state"][1:] == ("system_operation", b"media_plug")
        plug.hangup()
        peer.sync()
        assert not peer.picture["channel"]

    @pytest.mark.parametrize(
        "command",
        [
            "{",
            "[1]",
            '"hangup"',
            {},
            {"cmd": "dance"},
            {"cmd": ["hangup"]},
            {"cmd": "hangup"},
            {"cmd": "hangup", "uuid": 7},
            {"cmd": "hangup", "uuid": "no-such-channel"},
            {"cmd": "park", "uuid": "CALL", "timeout": "30"},
            {"cmd": "park", "uuid": "CALL", "timeout": -1},
            {"cmd": "park", "uuid": "CALL", "timeout": True},
            {"cmd": "park", "uuid": "STATION", "timeout": 30},
            {"cmd": "transfer", "uuid": "CALL"},
            {"cmd": "transfer", "uuid": "CALL", "user_id": 1},
            {"cmd": "transfer", "uuid": "CALL", "user_name": "nobody"},
            {"cmd": "eavesdrop", "uuid": "CALL", "target_uuid": "CALL", "subcommand": "listen"},
            {"cmd": "eavesdrop", "uuid": "PLUG", "target_uuid": "PLUG", "subcommand": "listen"},
            {"cmd": "eavesdrop", "uuid": "PLUG", "target_uuid": "gone"},
            {"cmd": "park", "uuid": "PLUG", "timeout": 30},
        ],
    )
    def test_what_cannot_be_done_is_ignored(
        self, command: Any, sim: Simulator, connect: Connect, caplog: pytest.LogCaptureFixture
    ) -> None:
        peer = connect(sim)
        call, plug = sim.call("0312341234", to="user1"), sim.media_plug("user2")
        peer.sync()
        names = {"CALL": call.uuid, "STATION": call.legs[1], "PLUG": plug.uuid}
        if isinstance(command, dict):
            command = {
                key: names.get(value, value) if isinstance(value, str) else value for key, value in command.items()
            }
        peer.send(command)
        peer.send({"cmd": "hangup", "uuid": plug.uuid})
        while sim.wait_command() != {"cmd": "hangup", "uuid": plug.uuid}:
            pass
        peer.log.clear()
        peer.sync()
        assert {uuid for uuid, _, _ in peer.events()} == {plug.uuid}
        (record,) = caplog.records
        assert (record.levelno, record.name) == (logging.WARNING, "basix_cti.simulator.simulator")
        assert sim.commands == ([command] if isinstance(command, dict) else []) + [{"cmd": "hangup", "uuid": plug.uuid}]

    def test_the_first_generation_has_no_commands(
        self, sim: Simulator, connect: Connect, caplog: pytest.LogCaptureFixture
    ) -> None:
        call = sim.call("0312341234", to="user1")
        peer = connect(sim, first=True)
        peer.sync()
        peer.send({"cmd": "hangup", "uuid": call.uuid})
        peer.socket.ping()
        assert peer.socket.recv_data(control_frame=True)[0] == websocket.ABNF.OPCODE_PONG
        assert (call.state, sim.commands) == ("ringing", [])
        assert [record.levelno for record in caplog.records] == [logging.WARNING]

    def test_waiting_in_vain(self, sim: Simulator) -> None:
        with pytest.raises(TimeoutError):
            sim.wait_command(timeout=0.01)
        with pytest.raises(TimeoutError):
            sim.wait_connections(1, timeout=0.01)


class TestPicture:
    """What was told, taken into the first picture, is what a new client is given as its first."""

    @pytest.mark.parametrize("waiting_element", [True, False])
    @pytest.mark.parametrize("seed", range(4))
    def test_events_lead_to_the_present_state(self, seed: int, waiting_element: bool, connect: Connect) -> None:
        with Simulator(seed=seed, waiting_element=waiting_element) as sim:
            traffic = Traffic(sim, calls_per_minute=60)
            traffic.step(60)
            queries = [{}, {"full_events": "false", "user_name": "user2"}]
            peers = [connect(sim, **query) for query in queries]
            first = connect(sim, first=True)
            for steps in (1, 40, 200):
                traffic.step(steps)
                for query, peer in zip(queries, peers, strict=True):
                    peer.sync()
                    fresh = connect(sim, **query)
                    fresh.sync()
                    assert fresh.picture == peer.picture
                    fresh.close()
                    sim.wait_connections(len(peers) + 1)
                first.sync()
                fresh = connect(sim, first=True)
                fresh.sync()
                assert fresh.picture == first.picture
                fresh.close()
                sim.wait_connections(len(peers) + 1)
            assert peers[0].picture["channel"]
            assert sim.hang_up_all() > 0
            for peer in peers:
                peer.sync()
                assert not any(items for element, items in peer.picture.items() if "channel" in element)

    def test_nothing_is_missed_or_told_twice_while_clients_come(self, connect: Connect) -> None:
        with Simulator() as sim:
            traffic = sim.play(calls_per_minute=300, speed=20)
            peers = [connect(sim, app_name="app 0")]
            for number in range(1, 5):
                seen = len(peers[0].log)
                while len(peers[0].log) < seen + 100:
                    for peer in peers:
                        peer.sync()
                peers.append(connect(sim, app_name=f"app {number}"))
            traffic.stop()
            for peer in peers:
                peer.sync()
            fresh = connect(sim)
            fresh.sync()
            assert all(peer.picture == fresh.picture for peer in peers)


class TestDeterminism:
    def story(self, connect: Connect, seed: int) -> list[bytes]:
        frames = []
        with Simulator(seed=seed, clock=Clock()) as sim:
            peer, first = connect(sim), connect(sim, first=True)
            Traffic(sim).step(150)
            sim.close()
            for one in (peer, first):
                while True:
                    opcode, data = one.socket.recv_data()
                    if opcode == websocket.ABNF.OPCODE_CLOSE:
                        break
                    frames.append(data)
        return frames

    def test_the_same_seed_tells_the_same_story(self, connect: Connect) -> None:
        story = self.story(connect, seed=7)
        assert len(story) > 300
        assert self.story(connect, seed=7) == story
        assert self.story(connect, seed=8) != story


class TestTraffic:
    def test_thousands_of_events_reach_a_client(self, connect: Connect) -> None:
        with Simulator() as sim:
            peer = connect(sim)
            traffic = sim.play(calls_per_minute=6000, speed=200)
            for _ in range(5000):
                peer.socket.recv()
            assert traffic.actions > 500
            assert sim.connections == 1


class TestLife:
    def test_stop_closes_and_a_second_start_has_the_same_port_and_calls(self, connect: Connect) -> None:
        sim = Simulator()
        assert (sim.port, sim.running, sim.connections) == (0, False, 0)
        sim.stop()
        assert sim.start() is sim
        port = sim.port
        assert (sim.server, sim.url) == (f"127.0.0.1:{port}", f"ws://127.0.0.1:{port}")
        assert sim.start().port == port
        peer = connect(sim)
        call = sim.call("0312341234", to="user1")
        sim.stop()
        sim.stop()
        assert peer.closed() == (1001, "the PBX stops")
        assert (sim.running, sim.connections, sim.port) == (False, 0, port)
        with pytest.raises(ConnectionRefusedError):
            connect(sim)
        call.answer()
        with sim:
            assert sim.port == port
            peer = connect(sim)
            peer.sync()
            assert peer.channel(call.uuid)["state"][1] == "bridged"

    def test_a_port_that_is_taken(self) -> None:
        with Simulator() as sim:
            other = Simulator(port=sim.port)
            with pytest.raises(OSError, match="in use"):
                other.start()
            assert not other.running

    def test_clients_that_do_not_answer_the_close_do_not_hold_it_up(self, connect: Connect) -> None:
        with Simulator() as sim:
            peer = connect(sim)
            sim.send_frame(bytes(8 * 1024 * 1024))
        assert not sim.running
        peer.close()

    def test_from_many_threads(self, connect: Connect) -> None:
        with Simulator() as sim:
            peer = connect(sim)
            threads = [
                threading.Thread(
                    target=lambda: [sim.call("0312341234", to="group1").answer().hangup() for _ in range(20)]
                )
                for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            peer.sync()
            assert not peer.picture["channel"]
            assert not peer.picture["channel_waiting"]
            assert sum(event == "NEW_CHANNEL" for _, _, event in peer.events()) == 80

    @pytest.mark.parametrize(
        "wrong",
        [
            {"names": "text"},
            {"wrapper": "map"},
            {"fields": {"chanel": ()}},
            {"users": -1},
            {"connection_limit": 0},
            {"max_queue": 0},
            {"ticket_seconds": 0},
            {"token": ""},
            {"domain": "a:b"},
        ],
    )
    def test_wrong_arguments(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"names|wrapper|chanel|negative|positive|empty"):
            Simulator(**wrong)

    def test_sizes_of_the_population(self) -> None:
        sim = Simulator(users=250, groups=12)
        assert len({user.main_extension for user in sim.users} | {group.main_extension for group in sim.groups}) == 262
        assert len({user.label for user in sim.users}) == 250
        with Simulator(users=0, groups=0) as empty:
            assert status_of(empty, f"{PATH}?app_name=a", basic(empty.domain, empty.token)) == 404
            assert status_of(empty, f"{PATH}?app_name=a&full_events=true", basic(empty.domain, empty.token)) == 101


class TestFaults:
    def test_drop(self, sim: Simulator, connect: Connect) -> None:
        peers = [connect(sim), connect(sim, first=True)]
        for peer in peers:
            peer.sync()
        assert sim.drop() == 2
        assert sim.connections == 0
        for peer in peers:
            with pytest.raises(websocket.WebSocketConnectionClosedException):
                peer.read()
        assert sim.drop() == 0
        connect(sim).sync()

    def test_drop_with_a_reset(self, sim: Simulator, connect: Connect) -> None:
        peer = connect(sim)
        peer.sync()
        sim.drop(reset=True)
        with pytest.raises(ConnectionResetError):
            peer.read()

    def test_close_with_code_and_reason(self, sim: Simulator, connect: Connect) -> None:
        peer = connect(sim)
        sim.call("0312341234", to="user1")
        assert sim.close(4001, "理由") == 1
        assert sim.connections == 0
        for _ in range(14 + 3):
            peer.read()
        assert peer.closed() == (4001, "理由")

    def test_any_term_frame_text_or_byte(self, sim: Simulator, connect: Connect) -> None:
        peer = connect(sim)
        connect(sim, first=True)
        peer.sync()
        assert sim.send_term((Atom("weather"), None, {b"rain": True})) == 2
        assert sim.send_frame(b"\x83no term") == 2
        assert sim.send_frame("text") == 2
        assert sim.system_msg((Atom("auto_answer"), 5)) == 1
        assert sim.msg("こんにちは") == 1
        assert sim.send_raw(b"\xc2\x00") == 2
        assert peer.read() == ("weather", None, {b"rain": True})
        assert peer.socket.recv() == b"\x83no term"
        assert peer.socket.recv() == "text"
        assert peer.read() == ("system_msg", ("auto_answer", 5))
        assert peer.read() == ("msg", "こんにちは".encode())
        with pytest.raises(websocket.WebSocketProtocolException):
            peer.read()
        with pytest.raises(EncodeError):
            sim.send_term(object())

    def test_refused_handshakes(self, sim: Simulator) -> None:
        uri, login = f"{PATH}?app_name=a", basic(sim.domain, sim.token)
        sim.refuse(503)
        assert [status_of(sim, uri, login) for _ in range(2)] == [503, 503]
        sim.refuse(None)
        assert status_of(sim, uri, login) == 101
        sim.refuse(401, times=2)
        assert [status_of(sim, uri, login) for _ in range(3)] == [401, 401, 101]
        with pytest.raises(ValueError, match="status"):
            sim.refuse(200)

    def test_a_client_that_does_not_read_is_dropped(self, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
        with Simulator(max_queue=1024 * 1024) as sim:
            lazy, eager = connect(sim, app_name="lazy"), connect(sim)
            eager.sync()
            frame = bytes(512 * 1024)
            for _ in range(200):
                sim.send_frame(frame)
                while len(eager.socket.recv()) != len(frame):
                    pass
                if sim.connections == 1:
                    break
            sim.wait_connections(1, timeout=0)
            eager.sync()
            with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionError)):
                lazy.closed()
        assert "does not read" in caplog.text

    def test_a_client_that_vanishes_is_forgotten(self, sim: Simulator, connect: Connect) -> None:
        peer = connect(sim)
        sim.wait_connections(1)
        peer.close()
        sim.wait_connections(0)

    def test_a_client_that_vanishes_during_the_handshake(
        self, sim: Simulator, connect: Connect, caplog: pytest.LogCaptureFixture
    ) -> None:
        upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        for number in range(20):
            with socket.create_connection(("127.0.0.1", sim.port), timeout=20) as raw:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raw.sendall(
                    f"{request_line(sim, str(number))}{upgrade}Sec-WebSocket-Key: {'A' * 22}==\r\n\r\n".encode()
                )
        connect(sim).sync()
        sim.wait_connections(1)
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []

    def test_a_ping_is_answered(self, sim: Simulator, connect: Connect) -> None:
        peer = connect(sim)
        peer.sync()
        peer.socket.ping("hello")
        assert peer.socket.recv_data(control_frame=True) == (websocket.ABNF.OPCODE_PONG, b"hello")

    def test_what_is_no_websocket(self, sim: Simulator) -> None:
        with socket.create_connection(("127.0.0.1", sim.port), timeout=20) as raw:
            raw.sendall(f"{request_line(sim, 'a')}Connection: close\r\n\r\n".encode())
            assert raw.makefile("rb").readline().split()[1] == b"400"


def test_tls(connect: Connect, tmp_path: Any) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trusting = {"sslopt": {"ca_certs": str(tmp_path / "ca.pem")}}
    with Simulator(ssl_context=context) as sim:
        assert sim.url.startswith("wss://127.0.0.1:")
        peer = connect(sim, options=trusting)
        call = sim.call("0312341234", to="user1")
        peer.sync()
        assert call.uuid.encode() in peer.picture["channel"]
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(sim)
        sim.drop()
        with pytest.raises((websocket.WebSocketConnectionClosedException, ssl.SSLError, ConnectionError)):
            peer.read()
        closing = connect(sim, options=trusting)
        sim.stop()
        assert closing.closed() == (1001, "the PBX stops")
