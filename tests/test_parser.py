"""``MessageParser``: whole sessions of both generations told to one handler, and frames of every kind of nonsense."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wire_samples import (
    BERT_NIL,
    FIELDS,
    NAMES,
    UNDEFINED,
    WRAPPERS,
    Line,
    Name,
    Recorder,
    chan_info,
    current_session,
    field_spec,
    first_session,
    info_event,
    initial_chan_info,
    initial_info,
    row,
)

from basix_cti import Channel, Limits, MessageParser, MessageWaiting, ParkInfo
from basix_cti.errors import ConnectionClosed, ConnectionLost, DecodeError
from basix_cti.etf import Atom, BitString, ImproperList, Pid, Term, encode
from basix_cti.events import CallEvent, Connected, Disconnected, Event, Failed, InfoEvent, InitialInfo, Session

AT = 1_775_001_600.5
SPECIFIC = ("on_initial_chan_info", "on_chan_info", "on_mwi_info", "on_park_info", "on_unpark_info")


def play(messages: list[Term], wrapper: str = "bare") -> list[tuple[Any, ...]]:
    """All calls of hooks that a session leads to."""
    line = Line(wrapper=wrapper)
    calls: list[tuple[Any, ...]] = []
    for message in messages:
        line.send(message)
        calls += line.told.calls
    return calls


def gist(call: tuple[Any, ...]) -> tuple[Any, ...]:
    """What both generations tell alike of a call of a hook."""
    name, item = call[0], call[1]
    if name == "on_initial_chan_info":
        return name, [channel.uuid for channel in item]
    if isinstance(item, Channel):
        return name, item.uuid, item.calling_name, item.state and item.state.name, item.last_event, item.target
    assert isinstance(item, ParkInfo | MessageWaiting)
    return name, item.to_dict()


class TestSessions:
    def test_one_handler_hears_the_same_from_both_generations(self) -> None:
        first = [gist(call) for call in play(first_session()) if call[0] in SPECIFIC]
        current = [gist(call) for call in play(current_session()) if call[0] in SPECIFIC]
        assert first == current
        assert [name for name, *_ in first] == [
            "on_initial_chan_info",
            "on_chan_info",
            "on_chan_info",
            "on_chan_info",
            "on_park_info",
            "on_unpark_info",
            "on_chan_info",
            "on_mwi_info",
            "on_chan_info",
        ]
        assert first[4][1] == {"uuid": "c1", "slot": "901", "parker_id": 1, "parker_name": "suzuki"}
        assert first[-2][1] == {
            "target_type": "user",
            "target_id": 1,
            "target_name": "suzuki",
            "new_messages": 1,
            "saved_messages": 0,
            "text": "1/0",
        }

    @pytest.mark.parametrize("wrapper", WRAPPERS)
    def test_the_wrapper_of_the_first_generation_makes_no_difference(self, wrapper: str) -> None:
        assert play(first_session(), wrapper) == play(first_session())

    @pytest.mark.parametrize("wrapper", WRAPPERS)
    @pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
    def test_how_names_are_written_makes_no_difference(self, wrapper: str, name: Name) -> None:
        assert play(current_session(name), wrapper) == play(current_session())

    @pytest.mark.parametrize("session", [first_session, current_session])
    def test_each_message_but_a_spec_makes_one_event(self, session: Callable[[], list[Term]]) -> None:
        line = Line()
        for message in session():
            events = line.send(message)
            assert len(events) == (message[0] != "field_spec")
            assert events == line.told.events
            assert all(event.received_at == AT and not event.synthetic for event in events)
            generic = [call for call in line.told.names() if call in ("on_info_event", "on_initial_info")]
            assert len(generic) == (message[0] not in ("field_spec", "system_msg", "msg"))

    @pytest.mark.parametrize("session", [first_session, current_session])
    def test_the_picture_afterwards(self, session: Callable[[], list[Term]]) -> None:
        line = Line()
        line.send(*session())
        assert list(line.state.channels) == ["c0"]
        assert line.state.has_ended("c1")
        assert line.state.parked == {}
        assert line.state.users[1].mwi == "1/0"

    @pytest.mark.parametrize("session", [first_session, current_session])
    def test_the_whole_session_again_after_a_gap(self, session: Callable[[], list[Term]]) -> None:
        """The PBX forgot; what is told again is no news where it is as before."""
        line = Line()
        line.send(*session())
        line.reconnect(*session()[:4])
        again = line.reconnect(*session())
        ends = [
            event.item.key
            for event in again
            if isinstance(event, InfoEvent) and isinstance(event.item, Channel) and event.news and event.item.is_hung_up
        ]
        assert ends == (["c1"] if session is current_session else [])
        assert list(line.state.channels) == ["c0"]

    def test_japanese_arrives_whole(self) -> None:
        line = Line()
        events = line.send(*current_session())
        told = json.dumps([event.to_dict() for event in events], ensure_ascii=False)
        for text in ("山田太郎", "鈴木 一郎", "サポート", "会議は15時からです", "山田 太郎", "東京", "折+#"):
            assert text in told

    def test_the_current_generation_tells_who_is_there(self) -> None:
        line = Line()
        line.send(*current_session())
        assert line.state.elements()[:5] == ["domain", "user", "group", "group_member", "terminal"]
        assert line.state.domain is not None
        assert line.state.domain.to_dict() == {"id": 1, "name": "example"}
        assert line.state.users[1].to_dict()["followme"] == ["09011112222"]
        assert list(line.state.group_members) == [(1, 21)]
        assert line.state.terminals[31].registered is True
        end_user = line.state.channels["c0"].end_user
        assert end_user is not None
        assert (end_user.count, [customer.name for customer in end_user.items]) == (2, ["A", "B"])


class TestFrames:
    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_any_kind_of_bytes_is_taken(self, kind: Callable[[bytes], bytes]) -> None:
        told = Recorder()
        parser = MessageParser(told)
        parser.handle_message(kind(encode((Atom("msg"), b"x"))))
        assert told.of("on_msg") == ["x"]

    @pytest.mark.parametrize("frame", ["text", 5, None, [1]], ids=repr)
    def test_what_is_no_bytes_is_a_mistake_of_the_caller(self, frame: Any) -> None:
        told = Recorder()
        with pytest.raises(TypeError, match="bytes"):
            MessageParser(told).handle_message(frame)
        assert told.calls == []

    def test_a_buffer_may_be_used_again(self) -> None:
        told = Recorder()
        parser = MessageParser(told)
        buffer = bytearray(encode((Atom("msg"), b"once")))
        parser.handle_message(buffer)
        buffer[:] = bytes(len(buffer))
        assert told.of("on_msg") == ["once"]

    @pytest.mark.parametrize("frame", [b"", b"\x83", b"\x83h\x03", b"hello", b"\x83P\x00\x00\x00\x05x"], ids=repr)
    def test_a_bad_frame_goes_to_on_error_once_and_the_next_is_read(self, frame: bytes) -> None:
        line = Line()
        line.send(field_spec("user", ["id"]), initial_info("user", (1,)))
        line.told.forget()
        (event,) = line.parser.handle_message(frame, AT)
        assert isinstance(event, Failed)
        assert isinstance(event.error, DecodeError)
        assert event.error.__traceback__ is None, "it would hold what was decoded"
        assert event.error.__context__ is None
        assert (event.received_at, event.synthetic) == (AT, False)
        assert line.told.calls == [("on_error", event.error)]
        line.send(info_event("user", "updated", (1,)))
        assert line.told.names() == ["on_info_event"]

    def test_limits_hold(self) -> None:
        line = Line(limits=Limits(max_frame=20))
        (event,) = line.send((Atom("msg"), b"x" * 30))
        assert isinstance(event, Failed)

    def test_when_a_frame_arrived(self) -> None:
        parser = MessageParser(Recorder())
        frame = encode((Atom("msg"), b"x"))
        before = time.time()
        (event,) = parser.handle_message(frame)
        assert before <= event.received_at <= time.time()
        assert parser.handle_message(frame, 0.0)[0].received_at == 0.0

    def test_a_spec_tells_nothing(self) -> None:
        assert Line().send(field_spec("user")) == []


class TestConnection:
    def test_connections_are_counted(self) -> None:
        told = Recorder()
        parser = MessageParser(told)
        before = time.time()
        for number in (1, 2):
            told.forget()
            parser.connection_made()
            (session,) = told.of("on_connect")
            assert (session.number, session.url, session.peer, session.tls) == (number, None, None, None)
            assert before <= session.connected_at <= time.time()
            (event,) = told.events
            assert isinstance(event, Connected)
            assert event.received_at == session.connected_at

    def test_a_session_may_be_given(self) -> None:
        told = Recorder()
        parser = MessageParser(told)
        session = Session(7, "wss://pbx.example")
        parser.connection_made(session)
        assert told.of("on_connect")[0] is session

    def test_a_connection_that_is_lost(self) -> None:
        told = Recorder()
        parser = MessageParser(told)
        parser.connection_lost()
        reason = ConnectionClosed("bye", 1001, "bye")
        parser.connection_lost(reason)
        plain, given_reason = told.of("on_disconnect")
        assert type(plain) is ConnectionLost
        assert str(plain) == plain.reason == "the connection has ended"
        assert given_reason is reason
        assert [type(event) for event in told.events] == [Disconnected, Disconnected]

    def test_the_picture_is_always_the_same_object(self) -> None:
        line = Line()
        picture = line.state
        line.send(*current_session())
        line.reconnect(*first_session())
        assert line.state is picture

    def test_specs_of_an_earlier_connection_are_forgotten(self) -> None:
        line = Line()
        line.send(field_spec("user", ["id"]))
        line.reconnect(info_event("user", "added", (1,)))
        assert line.generic() == [("user", None, "added")]

    def test_it_works_without_connection_made(self) -> None:
        told = Recorder()
        parser = MessageParser(told)
        for message in current_session():
            parser.handle_message(encode(message))
        assert list(parser.state.channels) == ["c0"]


class TestRaisingHooks:
    def test_what_a_hook_raises_in_the_middle_of_a_resync_loses_nothing(self) -> None:
        class Fragile(Recorder):
            def on_chan_info(self, channel: Channel) -> None:
                super().on_chan_info(channel)
                raise LookupError(str(channel.uuid))

            def on_error(self, error: BaseException) -> None:
                super().on_error(error)
                raise error

        line = Line(Fragile())
        spec = field_spec("chan_info", ["uuid"])
        line.send(spec, initial_chan_info((b"a",), (b"b",)))
        line.reconnect(spec, initial_chan_info((b"c",), (b"d",)))
        assert [str(error) for error in line.told.of("on_error")] == ["a", "b", "c", "d"]
        assert list(line.state.channels) == ["c", "d"]
        assert line.state.is_current()
        assert line.told.of("on_initial_chan_info") == [[Channel(uuid="c"), Channel(uuid="d")]]


class TestThreads:
    def test_the_picture_may_be_read_from_another_thread(self) -> None:
        line = Line()
        done, begun = threading.Event(), threading.Event()
        failures: list[BaseException] = []

        def read() -> None:
            while not done.is_set():
                try:
                    state = line.state
                    assert all(uuid == channel.uuid for uuid, channel in state.channels.items())
                    assert all(uuid == info.uuid for uuid, info in state.parked.items())
                    repr(state)
                    state.elements()
                except BaseException as error:
                    failures.append(error)
                    return
                finally:
                    begun.set()

        reader = threading.Thread(target=read)
        reader.start()
        begun.wait()
        try:
            line.send(field_spec("chan_info", ["uuid", "state", "last_event"]), initial_chan_info())
            for number in range(300):
                uuid = str(number).encode()
                parked = (1, Atom("park"), b"901")
                line.send((Atom("chan_info"), (uuid, parked, b"X")), (Atom("park_info"), (uuid,)))
                if number % 2:
                    line.send((Atom("chan_info"), (uuid, parked, b"CHANNEL_HANGUP")))
        finally:
            done.set()
            reader.join()
        assert failures == []
        assert len(line.state.channels) == 150


# --- nonsense ---------------------------------------------------------------------------------------------------


class Nonsense:
    """A parser that is given anything, and whose events must all be JSON-ready, picture included."""

    def __init__(self) -> None:
        self.told = Recorder()
        self.parser = MessageParser(self.told)
        self.parser.connection_made()

    def take(self, frame: bytes) -> list[Event]:
        errors = len(self.told.of("on_error"))
        events = self.parser.handle_message(frame, AT)
        for event in events:
            json.dumps(event.to_dict(), allow_nan=False, ensure_ascii=False).encode()
        assert len(self.told.of("on_error")) - errors == sum(isinstance(event, Failed) for event in events)
        assert sum(not event.synthetic for event in events if not isinstance(event, CallEvent)) <= 1
        return events

    def check_that_it_still_works(self) -> None:
        picture = self.parser.state
        for element in picture.elements():
            for key, item in picture.items(element).items():
                assert item.key == key
        for uuid in picture.channels:
            assert not picture.has_ended(uuid)
        for uuid in picture.parked:
            assert not picture.has_ended(uuid)
        self.parser.connection_lost()
        self.parser.connection_made()
        for message in current_session():
            self.take(encode(message))
        assert "c0" in self.parser.state.channels


@settings(deadline=None, max_examples=100)
@given(st.lists(st.binary(max_size=60) | st.binary(max_size=60).map(lambda raw: b"\x83" + raw), max_size=5))
def test_any_bytes(frames: list[bytes]) -> None:
    parser = Nonsense()
    for frame in frames:
        parser.take(frame)
    parser.check_that_it_still_works()


SESSIONS = [
    [encode(WRAPPERS[wrapper](message)) for message in messages]
    for messages in (first_session(), *map(current_session, NAMES.values()))
    for wrapper in WRAPPERS
]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["set", "insert", "delete", "cut", "repeat", "drop", "swap", "graft", "reconnect"]),
        st.integers(0, 40),
        st.integers(0, 400),
        st.integers(0, 255) | st.sampled_from([97, 98, 99, 104, 106, 107, 108, 109, 110, 116, 119, 131]),
    ),
    max_size=12,
)


def edited(frames: list[bytes], edits: list[tuple[str, int, int, int]]) -> list[bytes | None]:
    """A session with damage done to it; None stands for a reconnection."""
    result: list[bytes | None] = list(frames)
    for edit, which, place, byte in edits:
        if not result:
            break
        which %= len(result)
        frame = result[which]
        if edit == "reconnect":
            result.insert(which, None)
        elif edit == "drop":
            del result[which]
        elif edit == "repeat":
            result.insert(place % len(result), frame)
        elif edit == "swap":
            other = place % len(result)
            result[which], result[other] = result[other], result[which]
        elif frame:
            place %= len(frame)
            other_frame = result[byte % len(result)] or b""
            result[which] = {
                "set": frame[:place] + bytes([byte]) + frame[place + 1 :],
                "insert": frame[:place] + bytes([byte]) + frame[place:],
                "delete": frame[:place] + frame[place + 1 :],
                "cut": frame[:place],
                "graft": frame[:place] + other_frame[place:],
            }[edit]
    return result


@settings(deadline=None, max_examples=120)
@given(st.sampled_from(range(len(SESSIONS))), EDITS)
def test_a_damaged_session(which: int, edits: list[tuple[str, int, int, int]]) -> None:
    parser = Nonsense()
    for frame in edited(SESSIONS[which], edits):
        if frame is None:
            parser.parser.connection_lost()
            parser.parser.connection_made()
        else:
            parser.take(frame)
    parser.check_that_it_still_works()


LEAVES = (
    st.none().map(lambda _: BERT_NIL)
    | st.booleans()
    | st.integers(-5, 5)
    | st.integers(-(1 << 80), 1 << 80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.binary(max_size=6)
    | st.sampled_from(["undefined", "nil", "user", "group", "int", "ext", "channel", "removed", "park", "x"]).map(Atom)
    | st.sampled_from([b"c1", b"CHANNEL_HANGUP", b"1e999", b"%5B1e999%5D", b"_MANY_:2|a*b|*", b"3/1", b'"\\ud800"'])
    | st.sampled_from([BitString(b"\xa0", 3), Pid(Atom("n@h"), 1, 2, 3), [1 << 40], list(b"channel")])
)
ANY = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=6).map(tuple)
        | st.lists(inner, max_size=4)
        | st.dictionaries(st.binary(max_size=2) | st.integers(0, 2), inner, max_size=2)
        | inner.map(lambda item: ImproperList((item,), Atom("tail")))
        | inner.map(lambda item: (Atom("bert"), Atom("dict"), [(item, item)]))
    ),
    max_leaves=10,
)
STATES = st.tuples(
    st.sampled_from(["calling", "park", "voicemail", "bridged", "novel"]).map(Atom), st.lists(ANY, max_size=4)
).map(lambda parts: (5, parts[0], *parts[1]))
VALUES: dict[str, st.SearchStrategy[Term]] = {"state": STATES | ANY}
ELEMENTS = st.sampled_from(["channel", "channel_waiting", "parked_channel", "user", "group", "group_member", "robot"])


def objects(fields: tuple[str, ...]) -> st.SearchStrategy[Term]:
    key = st.sampled_from([b"c1", b"c2", 1, 2]) | ANY
    rest = [VALUES.get(name, ANY | st.just(UNDEFINED)) for name in fields[1:]]
    return st.tuples(key, *rest)


def messages_for(fields: tuple[str, ...]) -> st.SearchStrategy[list[Term]]:
    """Messages of every kind, whose objects follow one spec, more or less."""
    item = objects(fields)
    names = [Atom(name) for name in fields]
    word = st.sampled_from(["added", "updated", "removed"]).map(Atom) | ANY
    specs = st.sampled_from(["channel", "chan_info", "park_info", "unpark_info", "mwi_info", "user", "channel_waiting"])
    one = st.one_of(
        st.tuples(st.just(Atom("field_spec")), specs.map(Atom), st.just(names) | ANY),
        st.tuples(st.just(Atom("initial_info")), ELEMENTS.map(Atom) | ANY, st.lists(item, max_size=3) | ANY),
        st.tuples(st.just(Atom("info_event")), ELEMENTS.map(Atom) | ANY, item | ANY, word),
        st.tuples(st.just(Atom("initial_chan_info")), st.lists(item, max_size=3) | ANY),
        st.tuples(st.sampled_from(["chan_info", "park_info", "unpark_info", "mwi_info"]).map(Atom), item | ANY),
        st.tuples(st.sampled_from(["system_msg", "msg", "novelty"]).map(Atom), ANY),
        ANY,
    )
    all_specs = [(Atom("field_spec"), Atom(name), names) for name in FIELDS]
    return st.lists(one, max_size=8).map(lambda messages: [*all_specs, *messages])


CHANNEL_LIKE = (
    "uuid",
    "state",
    "target",
    "other_info",
    "end_user",
    "whoscall",
    "tags",
    "last_event",
    "offer_timestamp",
)
BOX_LIKE = ("id", "target_type", "target_id", "type", "name", "mwi", "text", "new", "park_slot", "user_id")


@settings(deadline=None, max_examples=120)
@given(messages_for(CHANNEL_LIKE) | messages_for(BOX_LIKE), st.integers(0, 20))
@example([info_event("channel", "added", (b"c1", (5, Atom("calling"), Atom("int"), (Atom("user"),), (1,))))], 0)
def test_values_of_any_type(messages: list[Term], gap: int) -> None:
    parser = Nonsense()
    for position, message in enumerate(messages):
        if position - len(FIELDS) == gap:
            parser.parser.connection_lost()
            parser.parser.connection_made()
            for spec in messages[: len(FIELDS)]:
                parser.take(encode(spec))
        parser.take(encode(message))
    parser.check_that_it_still_works()


def test_a_parker_whose_name_is_a_number() -> None:
    """Compiled code takes nothing but text where text is declared."""
    state = (1_700_000_000_000_000, Atom("park"), 901, UNDEFINED, UNDEFINED, UNDEFINED)
    nonsense = Nonsense()
    for message in (
        (Atom("field_spec"), b"chan_info", [Atom("uuid"), Atom("state")]),
        (Atom("field_spec"), b"park_info", [Atom("uuid"), Atom("slot"), Atom("parker_id"), Atom("parker_name")]),
        (Atom("chan_info"), (b"c1", state)),
        (Atom("park_info"), (b"c1", 901, 7, 8)),
    ):
        nonsense.take(encode(message))
    assert nonsense.told.of("on_park_info") == [ParkInfo("c1", 901, 7, "8")]
    assert [call.park for call in nonsense.parser.calls] == [ParkInfo("c1", 901, 7, "8")]


def test_json_that_nests_as_deep_as_it_likes_can_be_told_and_compared() -> None:
    parser = Nonsense()
    parser.take(encode(field_spec("channel", ["uuid", "whoscall"])))
    for depth in (50, 100, 500, 900, 950, 990, 100_000):
        for leaf in (b"", b"1"):
            whose = b"[" * depth + leaf + b"]" * depth
            parser.take(encode(initial_info("channel", (b"c1", whose))))
            parser.take(encode(info_event("channel", "updated", (b"c1", whose))))
    assert parser.told.of("on_error") == []


def test_terms_that_nest_as_deep_as_the_limit_allows_can_be_told() -> None:
    limit = Limits().max_depth
    parser = Nonsense()
    deep: Term = b"x"
    for _ in range(limit):
        deep = (deep,)
        parser.take(encode((Atom("msg"), deep)))
        parser.take(encode(info_event("robot", "added", (deep,))))
    assert any(isinstance(error, DecodeError) for error in parser.told.of("on_error"))


def test_the_samples_are_what_they_say() -> None:
    assert chan_info(uuid=b"c1") == (Atom("chan_info"), row("chan_info", uuid=b"c1"))
    assert any(isinstance(event, InitialInfo) for event in Line().send(*first_session()))
