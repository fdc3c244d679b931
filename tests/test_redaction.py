"""Recordings without the people in them: nothing of them is left, all else is as it was."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote_plus

import pytest
from clients import client_of
from hypothesis import given, settings
from hypothesis import strategies as st
from recorder import TIMEOUT, Recorder
from test_etf import VALUES, terms

from basix_cti import ApiToken, ApiUser, bert, etf
from basix_cti.errors import DecodeError, RecordingError
from basix_cti.etf import Atom, Term
from basix_cti.recording import (
    BEGIN,
    CONNECTED,
    DISCONNECTED,
    DROPPED,
    RECEIVED,
    SENT,
    Record,
    Recording,
    RecordingTap,
    RecordingWriter,
    redact,
    replay,
)
from basix_cti.recording.redaction import Redactor
from basix_cti.simulator import Simulator
from basix_cti.term_text import json_value

FEW = settings(max_examples=40)
KEY = b"the same for every test"
UUID = "c6a54831-74b8-4735-a964-b871e7d610c0"
FIELDS = ["uuid", "calling_name", "calling_number", "state", "last_event", "offer_timestamp", "end_user", "whoscall"]
SPEC = (Atom("field_spec"), Atom("channel"), [Atom(name) for name in FIELDS])


def message(*values: object, spec: list[str] | None = None) -> Any:
    """A channel's tuple, redacted; its values in the order of FIELDS."""
    redactor = Redactor(KEY)
    fields = FIELDS if spec is None else spec
    redactor.frame(etf.encode((Atom("field_spec"), Atom("channel"), [Atom(name) for name in fields])))
    frame = etf.encode((Atom("info_event"), Atom("channel"), tuple(values), Atom("added")))
    return etf.decode(redactor.frame(frame))[2]


def one(field: str, value: object) -> Any:
    return message(value, spec=[field])[0]


def texts(term: Term) -> str:
    """All that can be read in a term, as one text, percent-encoding undone."""
    shown = json.dumps(json_value(term), ensure_ascii=False)
    return shown + unquote_plus(shown, errors="replace")


def read_all(path: Path) -> str:
    found = []
    for record in Recording(path):
        try:
            found.append(texts(etf.decode(record.data)) if record.kind == RECEIVED else record.data.decode())
        except DecodeError:
            found.append(record.data.decode("latin-1"))
    return "\n".join(found)


@pytest.mark.parametrize("generation", [1, 2])
def test_nobody_is_left_and_the_calls_are_the_same(generation: int, tmp_path: Path) -> None:
    before, after, seen = Recorder(), Recorder(), Recorder()
    with Simulator(domain="test1.com", users=6, groups=2) as pbx:
        auth = ApiToken(pbx.domain, pbx.token) if generation == 2 else ApiUser(pbx.domain, pbx.api_user, pbx.token)
        with RecordingTap(tmp_path / "r") as tap, client_of(pbx, seen, auth, tap=tap) as client:
            client.wait_ready(TIMEOUT)
            customers = pbx.customers[:3]
            for customer in customers:
                call = pbx.call(customer.number, to="user1").answer()
                call.park(901)
                if generation == 2:
                    client.transfer(UUID, destination=customer.number)
                call.hangup()
            pbx.bad_frame()
            seen.wait_for("on_error")
        people = [text for user in pbx.users for text in (user.label, user.email, user.main_extension, user.name)]
        people += [text for customer in customers for text in (customer.number, customer.name, customer.organization)]
        people += [customer.prefecture for customer in customers]
    report = redact(tmp_path / "r", tmp_path / "t", key=KEY)
    original, redacted = read_all(tmp_path / "r"), read_all(tmp_path / "t")
    people = [text for text in people if len(text) > 4 and text in original]
    assert len(people) >= (4 if generation == 1 else 15)
    assert [text for text in people if text in redacted] == []
    assert "127.0.0.1" in original
    assert "127.0.0.1" not in redacted
    assert report.messages == sum(record.kind in (RECEIVED, SENT) for record in Recording(tmp_path / "r"))
    assert report.trouble is None
    replay(tmp_path / "r", before)
    replay(tmp_path / "t", after)
    assert [type(event) for event in after.events] == [type(event) for event in before.events]
    assert [name for name, _ in after.calls] == [name for name, _ in before.calls]
    assert [event.received_at for event in after.events] == [event.received_at for event in before.events]
    assert [old for old, new in zip(extensions(before), extensions(after), strict=True) if old == new] == []
    changed: dict[str, str] = {}
    for old, new in zip(before.of("on_chan_info"), after.of("on_chan_info"), strict=True):
        kept = ("uuid", "direction", "offer_timestamp", "hangup_timestamp", "last_event", "user_id", "group_id")
        assert [getattr(old, name) for name in kept] == [getattr(new, name) for name in kept]
        assert (old.state and old.state.name) == (new.state and new.state.name)
        assert (old.hangup_cause, old.is_hung_up) == (new.hangup_cause, new.is_hung_up)
        for name in ("calling_number", "called_number", "calling_name"):
            was, became = getattr(old, name), getattr(new, name)
            if was:
                assert len(was) == len(became)
                assert changed.setdefault(was, became) == became  # the same stays the same
    assert len(changed) >= 3
    assert len(set(changed.values())) == len(changed)  # and what differs still differs


def extensions(recorder: Recorder) -> list[str]:
    """The users' extensions; in the first generation none are told."""
    told = recorder.of("on_initial_info")
    return [item.main_extension for element, items in told if element == "user" for item in items]


class TestTexts:
    def test_form_and_length_are_kept(self) -> None:
        redactor = Redactor(KEY)
        wide = "(\uff34\uff25\uff2c) \uff10\uff13"
        for text in ("0312341234", "+81-3-1234-5678", "山田 太郎", "Müller, José", wide, "\U00020bb7ab", "007"):
            new = redactor.text(text)
            assert new != text
            assert len(new) == len(text)
            assert len(new.encode()) == len(text.encode())
            assert re.sub(r"\w", "x", new) == re.sub(r"\w", "x", text)
            assert new == redactor.text(text)
        assert redactor.text("+81-3-1234-5678")[:1] == "+"
        assert redactor.text("0312341234")[0] == "0" != redactor.text("0312341234")[1]

    def test_a_number_is_the_same_wherever_it_stands(self) -> None:
        redactor = Redactor(KEY)
        new = redactor.text("0312341234")
        assert redactor.text("sip:0312341234@203.0.113.5").startswith(f"sip:{new}@")
        assert redactor.text("Taro 0312341234").endswith(new)
        assert redactor.text(quote("電話*0312341234")).endswith(new)
        assert json.loads(redactor.text('{"name":"0312341234"}')) == {"name": new}

    @given(st.text(max_size=40))
    def test_any_text(self, text: str) -> None:
        redactor = Redactor(KEY)
        assert redactor.text(text) == redactor.text(text)

    @given(st.sets(st.from_regex(r"0[0-9]{8,10}", fullmatch=True), min_size=2, max_size=30))
    def test_what_differs_still_differs(self, numbers: set[str]) -> None:
        redactor = Redactor(KEY)
        assert len({redactor.text(number) for number in numbers}) == len(numbers)

    def test_the_key_decides(self) -> None:
        number = "0312341234"
        assert Redactor(KEY).text(number) == Redactor(KEY).text(number)
        assert len({Redactor(key).text(number) for key in (KEY, b"other", None, None)}) == 4

    def test_percent_encoded_customers(self) -> None:
        customer = "*".join(quote_plus(part) for part in ("12", "山田 太郎", "A & B", "a.png", "東京都"))
        new = Redactor(KEY).text(f"_MANY_:2|{customer}|{customer}")
        head, first, second = new.split("|")
        assert (head, first) == ("_MANY_:2", second)
        assert [len(part) for part in first.split("*")] == [len(part) for part in customer.split("*")]
        assert Redactor(KEY).text("****") == "****"

    def test_uuids(self) -> None:
        assert Redactor(KEY).text(f"call {UUID}").endswith(UUID)
        new = Redactor(KEY, uuids=True).text(UUID)
        assert new != UUID
        assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", new)


class TestValues:
    def test_what_is_kept(self) -> None:
        state = (1_700_000_000_000_000, Atom("calling"), Atom("int"), Atom("user"), (7, Atom("undefined")))
        values = (UUID, b"anonymous", Atom("undefined"), state, b"CHANNEL_PARK", 1_700_000_000_000_000, b"***")
        assert message(*values) == tuple(
            value.encode() if isinstance(value, str) and not isinstance(value, Atom) else value for value in values
        )
        assert one("last_event_data", b"send_bye,USER_BUSY") == b"send_bye,USER_BUSY"
        assert one("mwi", b"2/5") == b"2/5"
        assert one("language", b"ja") == b"ja"
        assert one("user_id", 1234) == 1234
        assert one("user_id", b"1234") == b"1234"
        assert one("registered", True) is True

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("calling_name", b"park"),
            ("last_event_data", b"playback,/home/taro/0312341234.wav"),
            ("user_id", b"0312341234"),
            ("mwi", b"0312341234"),
            ("language", b"taro"),
            ("followme", 2011),
            ("presence", b"at home, call 0312341234"),
            ("unheard_of", b"taro"),
            ("unheard_of", 312341234),
            ("unheard_of", (b"taro", [Atom("taro")], {b"taro": 2.5})),
            ("state", (1, Atom("calling"), Atom("ext"), Atom("pstn"), (b"0312341234",))),
            ("state", (1, Atom("calling_external"), b"0312341234")),
            ("state", (1, Atom("park"), 901, b"x", 7, b"taro")),
            ("state", b"taro"),
            ("target", (Atom("user"), 7, b"taro", b"0312341234")),
            ("other_info", (Atom("end_user"), b"1*taro***", Atom("inbound"), Atom("external"), b"031", 1, 7, b"{}")),
            ("whoscall", quote('{"name": "taro", "0312341234": ["taro", 312341234, null, true]}').encode()),
            ("calling_name", [0x592A, 0x90CE]),
            ("calling_name", list("太郎".encode())),
            ("calling_name", b"\xff\xfetaro"),
            ("call_id", b"taro@203.0.113.77"),
        ],
    )
    def test_what_is_replaced(self, field: str, value: object) -> None:
        new = one(field, value)
        assert type(new) is type(value)
        shown = texts(new)
        for text in ("taro", "0312341234", "312341234", "2011", "203.0.113.77", "太郎", "2.5"):
            assert text not in shown
        assert ("park" in shown) is (field == "state" and "901" in shown)

    def test_names_may_come_as_anything(self) -> None:
        for name in (Atom("channel"), b"channel", list(b"channel")):
            redactor = Redactor(KEY)
            spec = (Atom("field_spec"), name, [b"calling_name", Atom("offer_timestamp")])
            assert etf.decode(redactor.frame(etf.encode(spec))) == spec
            kept = etf.decode(redactor.frame(etf.encode((Atom("info_event"), name, (b"taro", 17), name))))
            assert kept[2][1] == 17
            assert kept[2][0] != b"taro"
            assert kept[1] == kept[3] == name

    def test_first_generation_and_its_wrapper(self) -> None:
        redactor = Redactor(KEY)
        redactor.frame(bert.encode(((Atom("field_spec"), Atom("chan_info"), [Atom("calling_number")]),)))
        for wrapped in ([(Atom("chan_info"), (b"0312341234",))], ((Atom("initial_chan_info"), [(b"0312341234",)]),)):
            new = etf.decode(redactor.frame(etf.encode(wrapped)))
            assert type(new) is type(wrapped)
            assert redactor.text("0312341234") in texts(new)
        empty = (Atom("initial_chan_info"), (Atom("bert"), Atom("nil")))
        assert etf.decode(redactor.frame(etf.encode(empty))) == empty
        assert redactor.masked == {}

    def test_messages_for_people(self) -> None:
        redactor = Redactor(KEY)
        for kind in ("msg", "system_msg", "news"):
            new = etf.decode(redactor.frame(etf.encode((Atom(kind), b"Taro called from 0312341234"))))
            assert new[0] == kind
            assert "Taro" not in texts(new)
            assert "0312341234" not in texts(new)
        limit = (Atom("system_msg"), Atom("connection_limit_reached"))
        assert etf.decode(redactor.frame(etf.encode(limit))) == limit
        assert redactor.masked == {"a message 'news'": 1}

    def test_the_encoding_is_kept(self) -> None:
        redactor = Redactor(KEY)
        old = etf.encode((Atom("msg"), b"x" * 500), latin1_atoms=True)
        assert redactor.frame(old)[:5] == old[:5]
        packed = etf.encode((Atom("msg"), b"x" * 500), compressed=True)
        assert redactor.frame(packed)[:2] == b"\x83P"

    def test_what_cannot_be_read_becomes_as_many_zero_bytes(self) -> None:
        redactor = Redactor(KEY)
        assert redactor.frame(b"taro 0312341234") == bytes(15)
        assert redactor.masked == {"a message that is no term": 1}

    @FEW
    @given(st.one_of(terms(), st.sampled_from([value for _, value in VALUES.values()])))
    def test_any_term(self, term: Term) -> None:
        redactor = Redactor(KEY)
        for frame in (etf.encode(term), etf.encode((Atom("info_event"), Atom("channel"), term, Atom("added")))):
            new = redactor.frame(frame)
            if new != bytes(len(frame)):
                etf.decode(new)

    @FEW
    @given(st.lists(st.tuples(st.sampled_from(FIELDS), terms()), max_size=6))
    def test_any_channel(self, values: list[tuple[str, Term]]) -> None:
        message(*[value for _, value in values], spec=[name for name, _ in values])


class TestCommands:
    def command(self, data: bytes) -> Any:
        return json.loads(Redactor(KEY).command(data))

    def test_a_command(self) -> None:
        told = {"cmd": "transfer", "uuid": UUID, "user_id": 7, "user_name": "taro", "destination": "0312341234"}
        new = self.command(json.dumps(told).encode())
        assert (new["cmd"], new["uuid"], new["user_id"]) == ("transfer", UUID, 7)
        assert list(new) == list(told)
        assert new["user_name"] != "taro"
        assert new["destination"] == Redactor(KEY).text("0312341234")
        assert self.command(b'{"cmd": "park", "timeout": 30}') == {"cmd": "park", "timeout": 30}

    def test_a_secret_in_one(self) -> None:
        assert self.command(b'{"api_token": "hunter2", "x": {"Password": ["hunter2"]}}')["api_token"] == "***"
        assert "hunter2" not in str(self.command(b'{"api_token": "hunter2", "x": {"Password": ["hunter2"]}}'))

    @pytest.mark.parametrize("data", [b"taro", b"[1]", b"\xff", b"[" * 100_000, b'{"a": NaN, "b": 1e999, "c": -5}'])
    def test_what_is_none(self, data: bytes) -> None:
        assert "taro" not in str(self.command(data))


def test_other_records(tmp_path: Path) -> None:
    redactor = Redactor(KEY)
    session = {"number": 3, "url": "wss://pbx.example.com/basix/api/ws_cti", "peer": "pbx.example.com:443", "tls": "x"}
    new = redactor.record(Record.telling(1.0, CONNECTED, session)).info
    assert new["number"] == 3
    assert re.fullmatch(r"wss://[a-z]{3}\.[a-z]{7}\.[a-z]{3}/basix/api/ws_cti", new["url"])
    assert "example" not in str(new)
    lost = {"kind": "ConnectionClosed", "message": "taro", "code": 4001, "reason": "taro"}
    new = redactor.record(Record.telling(1.0, DISCONNECTED, lost)).info
    assert (new["kind"], new["code"]) == ("ConnectionClosed", 4001)
    assert "taro" not in str(new)
    assert redactor.record(Record.telling(1.0, DROPPED, {"count": 3, "x": "taro"})).info == {"count": 3}
    assert redactor.record(Record.telling(1.0, BEGIN, {"program": "taro"})).info == {"redacted": True}
    for kind in (BEGIN, CONNECTED, DISCONNECTED, DROPPED):
        assert b"taro" not in redactor.record(Record(1.0, kind, b"taro")).data


class TestFile:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        writer = RecordingWriter(tmp_path / "r", 1_700_000_000.0)
        frame = bert.encode((Atom("msg"), b"Taro"))
        writer.write([Record(1_700_000_001.0, RECEIVED, frame)] * 5000 + [Record(1_700_000_002.0, SENT, b"{}")])
        writer.close()
        return tmp_path / "r"

    @pytest.mark.parametrize("compress", [False, True])
    def test_it_is_a_recording_again(self, compress: bool, path: Path, tmp_path: Path) -> None:
        places = []
        report = redact(path, tmp_path / "t", compress=compress, progress=lambda source: places.append(source.position))
        told = list(Recording(tmp_path / "t"))
        assert told[0].info["redacted"] is True
        assert [(record.at, record.kind) for record in told] == [(record.at, record.kind) for record in Recording(path)]
        assert (report.messages, report.replaced) == (5001, 1)
        assert len(places) == 5002
        assert (os.path.getsize(tmp_path / "t") < os.path.getsize(path) / 5) is compress

    def test_twice(self, path: Path, tmp_path: Path) -> None:
        redact(path, tmp_path / "t")
        redact(tmp_path / "t", tmp_path / "u")
        assert next(iter(Recording(tmp_path / "u"))).info["redacted"] is True
        assert len(list(Recording(tmp_path / "u"))) == 5002

    def test_nothing_is_written_over(self, path: Path) -> None:
        before = path.read_bytes()
        with pytest.raises(RecordingError, match="is there already"):
            redact(path, path)
        assert path.read_bytes() == before

    def test_half_a_redaction_is_not_left_behind(self, path: Path, tmp_path: Path) -> None:
        places = []

        class Enough(Exception):
            pass

        def stop(source: Recording) -> None:
            places.append(source.position)
            if len(places) > 4000:
                raise Enough

        with pytest.raises(Enough):
            redact(path, tmp_path / "t", progress=stop)
        assert not (tmp_path / "t").exists()

    def test_a_torn_end_is_told(self, path: Path, tmp_path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-3])
        report = redact(path, tmp_path / "t")
        assert "is cut off or damaged" in str(report.trouble)
        assert len(list(Recording(tmp_path / "t"))) == 5001

    def test_a_foreign_file(self, tmp_path: Path) -> None:
        (tmp_path / "r").write_text("hello")
        with pytest.raises(RecordingError, match="is no recording"):
            redact(tmp_path / "r", tmp_path / "t")
        assert not (tmp_path / "t").exists()
