"""The rig against real Erlang must itself be right before it judges anything else."""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
from collections.abc import Iterator
from types import TracebackType

import pytest
import websocket
from erlang_peer import ERLANG_MISSING, ErlangError, ErlangPBX, ErlangTerms

pytestmark = pytest.mark.skipif(ERLANG_MISSING is not None, reason=str(ERLANG_MISSING))

TARGET = "/basix/api/ws_cti?app_name=rig&full_events=true"
FIRST_COUNT = 20
CURRENT_COUNT = 33


@pytest.fixture(scope="module")
def terms() -> Iterator[ErlangTerms]:
    with ErlangTerms() as running:
        yield running


@pytest.fixture
def pbx() -> Iterator[ErlangPBX]:
    with ErlangPBX() as running:
        yield running


@pytest.fixture
def client(pbx: ErlangPBX) -> Iterator[Client]:
    with Client(pbx) as connected:
        yield connected


class Client:
    """A WebSocket client on a TCP connection of its own, which tests may also write to and read from."""

    def __init__(self, pbx: ErlangPBX, *headers: str) -> None:
        self.tcp = socket.create_connection(("127.0.0.1", pbx.port), timeout=30)
        self.websocket = websocket.create_connection(
            f"ws://127.0.0.1:{pbx.port}{TARGET}", timeout=30, header=list(headers), socket=self.tcp
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.tcp.close()

    def receive(self) -> bytes:
        opcode, payload = self.websocket.recv_data()
        assert opcode == websocket.ABNF.OPCODE_BINARY
        assert isinstance(payload, bytes)
        return payload

    def receive_text(self, terms: ErlangTerms) -> str:
        text = terms.decode_text(self.receive())
        assert text is not None
        return text

    def receive_session(self, pbx: ErlangPBX, name: str, count: int) -> list[bytes]:
        """All frames of a session; that there are no more is certain, for a mark sent later comes next."""
        pbx.session(name)
        pbx.wait_for(f"played {name}")
        pbx.frame(b"mark")
        frames = [self.receive() for _ in range(count)]
        assert self.receive() == b"mark"
        return frames

    def receive_close(self) -> int:
        opcode, payload = self.websocket.recv_data()
        assert opcode == websocket.ABNF.OPCODE_CLOSE
        assert isinstance(payload, bytes)
        return int.from_bytes(payload[:2], "big")


def masked(first: int, payload: bytes) -> bytes:
    """A client's frame with the given first byte, a mask of 1 2 3 4, and a payload under 126 bytes."""
    mask = b"\x01\x02\x03\x04"
    body = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes([first, 0x80 | len(payload)]) + mask + body


class TestTerms:
    def test_release_is_a_number(self, terms: ErlangTerms) -> None:
        assert terms.release() >= 24

    def test_encode_evaluates_its_expression(self, terms: ErlangTerms) -> None:
        data = terms.encode('{1, <<"ab">>, lists:seq(1, 2)}.')
        assert data == b"\x83h\x03a\x01m\x00\x00\x00\x02abk\x00\x02\x01\x02"

    @pytest.mark.parametrize(
        "expr",
        [
            "self()",
            "make_ref()",
            "hd(erlang:ports())",
            "fun lists:map/2",
            "fun(X) -> X end",
            "<<5:3>>",
            "[a | b]",
            "#{a => 1, b => [2.5]}",
            "'日本'",
            '<<"山田太郎"/utf8>>',
            "1 bsl 4096",
            "-1",
            "[X * X || X <- [1, 2, 3]]",
        ],
    )
    def test_encoded_terms_decode_to_the_same(self, terms: ErlangTerms, expr: str) -> None:
        data = terms.encode(expr)
        again = terms.recode(data)
        assert again is not None
        assert terms.same(data, again) is True

    def test_decode_text_is_unambiguous(self, terms: ErlangTerms) -> None:
        assert terms.decode_text(terms.encode("{[$a], <<$a>>, 'a b', '日本', 1.5, #{}}")) == (
            "{[97],<<97>>,'a b','日本',1.5,#{}}"
        )

    def test_options_reach_the_encoder(self, terms: ErlangTerms) -> None:
        assert terms.encode("1.5", "[{minor_version,0}]")[1] == 99
        assert terms.encode("1.5", "[{minor_version,1}]")[1] == 70
        assert terms.encode("café", "[{minor_version,2}]")[1] == 119
        assert terms.encode("lists:duplicate(1000, 0.5)", "[compressed]")[1] == 80

    @pytest.mark.parametrize("data", [b"", b"\x83", b"\x83h\x02a\x01", b"\x83\x79", b"\x82a\x01"])
    def test_no_term_is_none(self, terms: ErlangTerms, data: bytes) -> None:
        assert terms.decode_text(data) is None
        assert terms.recode(data) is None
        assert terms.same(data, b"\x83a\x01") is None

    def test_same_is_exact(self, terms: ErlangTerms) -> None:
        assert terms.same(terms.encode("1"), terms.encode("1.0")) is False
        assert terms.same(terms.encode('"abc"'), terms.encode("[97, 98, 99]")) is True

    @pytest.mark.parametrize(
        ("expr", "options"),
        [("{", "[]"), ("1/0", "[]"), ("nowhere:at_all()", "[]"), ("a", "[nonsense]"), ("exit(a)", "[]")],
    )
    def test_a_bad_request_is_not_the_end(self, terms: ErlangTerms, expr: str, options: str) -> None:
        with pytest.raises(ErlangError):
            terms.encode(expr, options)
        assert terms.encode("a", "[{minor_version,2}]") == b"\x83w\x01a"

    def test_a_request_is_one_line(self, terms: ErlangTerms) -> None:
        with pytest.raises(ValueError, match="one line"):
            terms.encode("a,\nb")

    def test_megabytes(self, terms: ErlangTerms) -> None:
        data = b"\x83m" + struct.pack("!I", 4_000_000) + bytes(range(250)) * 16_000
        assert terms.recode(data) == data

    def test_it_can_be_entered_again(self) -> None:
        peer = ErlangTerms()
        with peer:
            assert peer.encode("1") == b"\x83a\x01"
        with pytest.raises(ErlangError, match="not running"):
            peer.encode("1")
        with peer:
            assert peer.encode("2") == b"\x83a\x02"

    def test_the_end_of_the_emulator_is_told(self) -> None:
        with ErlangTerms() as peer, pytest.raises(ErlangError, match="ended before"):
            peer.encode("halt()")


class TestConnection:
    def test_what_the_client_asked_for_is_reported(self, pbx: ErlangPBX) -> None:
        value = "Basic " + base64.b64encode(b"example.domain:token").decode()
        with Client(pbx, f"Authorization: {value}"):
            assert pbx.wait_for("connected") == f"connected GET {TARGET}"
            assert pbx.wait_for("header") == f"header authorization {value}"
        assert pbx.wait_for("closed") == "closed -"

    def test_no_authorization_is_a_dash(self, pbx: ErlangPBX, client: Client) -> None:
        assert pbx.wait_for("header") == "header authorization -"

    def test_a_plain_http_client_is_refused(self, pbx: ErlangPBX) -> None:
        with socket.create_connection(("127.0.0.1", pbx.port), timeout=30) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: rig\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 400"
            assert pbx.wait_for("refused") == "refused upgrade"

    def test_commands_go_to_the_newest_connection(self, pbx: ErlangPBX, terms: ErlangTerms) -> None:
        with Client(pbx) as older:
            with Client(pbx) as newer:
                pbx.send("newer")
                assert newer.receive_text(terms) == "newer"
            assert pbx.wait_for("closed") == "closed -"
            pbx.send("older")
            assert older.receive_text(terms) == "older"

    def test_without_a_connection_sending_is_an_error(self, pbx: ErlangPBX) -> None:
        with pytest.raises(ErlangError, match="not_connected"):
            pbx.send("a")

    def test_a_ping_is_answered(self, pbx: ErlangPBX, client: Client) -> None:
        client.websocket.ping("are you there")
        opcode, payload = client.websocket.recv_data(control_frame=True)
        assert (opcode, payload) == (websocket.ABNF.OPCODE_PONG, b"are you there")

    def test_text_is_reported_on_one_line(self, pbx: ErlangPBX, client: Client) -> None:
        command = {"cmd": "transfer", "uuid": "c1", "destination": "山田\u2028"}
        client.websocket.send(json.dumps(command, ensure_ascii=False, indent=1))
        line = pbx.wait_for("text ")
        assert json.loads(line.removeprefix("text ")) == command

    def test_fragments_become_one_text(self, pbx: ErlangPBX, client: Client) -> None:
        whole = "保留".encode()
        client.tcp.sendall(masked(0x01, whole[:2]) + masked(0x89, b"") + masked(0x00, whole[2:4]))
        client.tcp.sendall(masked(0x80, whole[4:]))
        assert pbx.wait_for("text ") == "text 保留"

    def test_large_messages_both_ways(self, pbx: ErlangPBX, client: Client) -> None:
        client.websocket.send("x" * 200_000)
        assert pbx.wait_for("text ") == "text " + "x" * 200_000
        pbx.send("binary:copy(<<7>>, 200000)")
        assert client.receive() == b"\x83m" + struct.pack("!I", 200_000) + b"\x07" * 200_000
        pbx.frame(b"\x83" + b"\x08" * 8_000_000)
        assert len(client.receive()) == 8_000_001

    @pytest.mark.parametrize(
        ("frame", "code", "reason"),
        [
            (b"\x81\x01x", 1002, "not_masked"),
            (masked(0xC1, b"x"), 1002, "reserved_bits"),
            (masked(0x83, b"x"), 1002, "unknown_opcode"),
            (masked(0x80, b"x"), 1002, "nothing_to_continue"),
            (masked(0x01, b"x") + masked(0x81, b"x"), 1002, "message_inside_message"),
            (masked(0x09, b"x"), 1002, "bad_control_frame"),
            (masked(0x81, b"\xff"), 1007, "not_utf8"),
            (b"\x81\xff" + struct.pack("!Q", 1 << 40), 1009, "too_large"),
        ],
    )
    def test_a_broken_frame_is_refused(
        self, pbx: ErlangPBX, client: Client, frame: bytes, code: int, reason: str
    ) -> None:
        client.tcp.sendall(frame)
        assert client.receive_close() == code
        assert pbx.wait_for("failed") == f"failed {code} {reason}"


class TestEnds:
    def test_the_client_closes(self, pbx: ErlangPBX, client: Client) -> None:
        client.websocket.send_close(4001, b"bye")
        assert client.receive_close() == 4001
        assert pbx.wait_for("closed") == "closed 4001"

    def test_the_client_closes_without_a_code(self, pbx: ErlangPBX, client: Client) -> None:
        client.tcp.sendall(masked(0x88, b""))
        assert pbx.wait_for("closed") == "closed 1005"

    def test_the_pbx_closes(self, pbx: ErlangPBX, client: Client) -> None:
        pbx.close(1001)
        assert client.receive_close() == 1001
        assert pbx.wait_for("closed") == "closed 1000"

    def test_the_pbx_drops(self, pbx: ErlangPBX, client: Client) -> None:
        pbx.frame(b"last words")
        pbx.drop()
        assert client.receive() == b"last words"
        assert client.tcp.recv(1) == b""
        with pytest.raises(ErlangError, match="not_connected"):
            pbx.drop()

    def test_a_drop_sends_what_is_queued(self, pbx: ErlangPBX, client: Client) -> None:
        pbx.frame(bytes(16_000_000))
        pbx.drop()
        assert len(client.receive()) == 16_000_000
        assert client.tcp.recv(1) == b""

    def test_quitting_ends_connections(self, pbx: ErlangPBX, client: Client) -> None:
        pbx.quit()
        pbx.quit()
        assert client.tcp.recv(1) == b""
        with pytest.raises(ErlangError, match="not running"):
            pbx.send("a")

    def test_a_client_that_does_not_read_holds_nothing_up(self) -> None:
        with ErlangPBX() as pbx, Client(pbx):
            pbx.frame(bytes(16_000_000))
            pbx.quit()

    def test_a_crash_is_told(self) -> None:
        pbx = ErlangPBX()
        pbx.__enter__()
        with pytest.raises(ErlangError, match="ended before"):
            pbx.options("halt(3)")
        with pytest.raises(ErlangError, match="ended with status 3"):
            pbx.__exit__(None, None, None)

    def test_no_thread_is_left(self) -> None:
        before = threading.active_count()
        with ErlangPBX() as pbx, Client(pbx):
            assert threading.active_count() == before + 1
        assert threading.active_count() == before


class TestMessages:
    @pytest.mark.parametrize(("name", "count"), [("first", FIRST_COUNT), ("current", CURRENT_COUNT)])
    def test_sessions_are_terms(
        self, pbx: ErlangPBX, client: Client, terms: ErlangTerms, name: str, count: int
    ) -> None:
        frames = client.receive_session(pbx, name, count)
        assert all(frame[0] == 131 and terms.decode_text(frame) for frame in frames)
        assert any("山田太郎".encode() in frame for frame in frames)

    @pytest.mark.parametrize(("name", "count"), [("first", FIRST_COUNT), ("current", CURRENT_COUNT)])
    def test_tuples_are_as_long_as_their_spec(
        self, pbx: ErlangPBX, client: Client, terms: ErlangTerms, name: str, count: int
    ) -> None:
        pbx.names("atom")
        frames = ",".join(str(list(frame)) for frame in client.receive_session(pbx, name, count))
        rows = (
            f"Messages = [binary_to_term(list_to_binary(Frame)) || Frame <- [{frames}]],"
            "Sizes = maps:from_list([{Name, length(Fields)} || {field_spec, Name, Fields} <- Messages]),"
            "Rows = [{chan_info, Row} || {initial_chan_info, All} <- Messages, Row <- All]"
            " ++ [{Kind, Row} || {Kind, Row} <- Messages, is_tuple(Row), is_map_key(Kind, Sizes)]"
            " ++ [{Element, Row} || {initial_info, Element, All} <- Messages, is_list(All), Row <- All]"
            " ++ [{Element, Row} || {info_event, Element, Row, _} <- Messages],"
        )
        wrong = "[Row || {Kind, Row} <- Rows, tuple_size(Row) =/= maps:get(Kind, Sizes)]"
        assert terms.encode(f"{rows} length(Rows)") == terms.encode({"first": "16", "current": "24"}[name])
        assert terms.encode(f"{rows} {wrong}") == terms.encode("[]")

    def test_wrap(self, pbx: ErlangPBX, client: Client, terms: ErlangTerms) -> None:
        for kind in ("tuple", "list", "none"):
            pbx.wrap(kind)
            pbx.send("{msg, 1}")
        assert [client.receive_text(terms) for _ in range(3)] == ["{{msg,1}}", "[{msg,1}]", "{msg,1}"]
        with pytest.raises(ErlangError, match="not_one_of"):
            pbx.wrap("map")

    def test_wrap_holds_for_sessions(self, pbx: ErlangPBX, client: Client) -> None:
        pbx.wrap("tuple")
        frames = client.receive_session(pbx, "first", FIRST_COUNT)
        assert {frame[:4] for frame in frames} == {b"\x83h\x01h"}

    def test_names(self, pbx: ErlangPBX, client: Client, terms: ErlangTerms) -> None:
        pbx.options("[{minor_version,2}]")
        for kind, prefix in (("atom", b"w\x06"), ("string", b"k\x00\x06"), ("binary", b"m\x00\x00\x00\x06")):
            pbx.names(kind)
            frames = client.receive_session(pbx, "current", CURRENT_COUNT)
            assert frames[0].startswith(b"\x83h\x03w\x0afield_spec" + prefix + b"domain")
            removed = [frame for frame in frames if frame.endswith(prefix[:-1] + b"\x07removed")]
            assert len(removed) == 3

    def test_options(self, pbx: ErlangPBX, client: Client) -> None:
        pbx.options("[{minor_version,0}]")
        pbx.send("1.5")
        assert client.receive()[:2] == b"\x83c"
        pbx.options("[{minor_version,2}]")
        pbx.send("{a, 1.5}")
        assert client.receive() == b"\x83h\x02w\x01aF" + struct.pack("!d", 1.5)
        pbx.options()
        pbx.send("1.5")
        assert client.receive()[:2] == b"\x83F"
        with pytest.raises(ErlangError, match="bad_options"):
            pbx.options("[nonsense]")

    def test_raw_bytes_pass_as_they_are(self, pbx: ErlangPBX, client: Client) -> None:
        pbx.raw(b"\x02\x01a")
        pbx.raw(b"\x80\x01b")
        assert client.receive() == b"ab"

    def test_a_failed_expression_sends_nothing(self, pbx: ErlangPBX, client: Client, terms: ErlangTerms) -> None:
        for expr in ("{", "1/0", "exit(x)"):
            with pytest.raises(ErlangError):
                pbx.send(expr)
        pbx.send("still_here.")
        assert client.receive_text(terms) == "still_here"

    def test_waiting_keeps_the_lines_passed_over(self, pbx: ErlangPBX, client: Client) -> None:
        client.websocket.send("one")
        client.websocket.send("two")
        assert pbx.wait_for("text two") == "text two"
        assert pbx.wait_for("text") == "text one"
        with pytest.raises(TimeoutError, match="never"):
            pbx.wait_for("never", timeout=0)
