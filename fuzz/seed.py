"""``python -m fuzz.seed``: makes ``corpus/`` anew, with real Erlang: one term or one session in each file.

What was put there by hand, because it once was a bug, keeps its name: it begins with ``found-``.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from erlang_peer import ErlangPBX, ErlangTerms
from websocket import create_connection

from .targets import CORPUS, joined

_OPTIONS = {"0": "[{minor_version,0}]", "1": "[{minor_version,1}]", "2": "[{minor_version,2}]", "z": "[compressed]"}
_TERMS = {
    "integers": "[0, 255, 256, -1, -2147483648, 1 bsl 31, -(1 bsl 63), 1 bsl 200, 1700000000123456]",
    "large-integer": "1 bsl 2100",
    "floats": "[0.0, 0.1, -1.5e-7, 1.7976931348623157e308, 5.0e-324]",
    "atoms": "[true, false, undefined, '', café, '日本', list_to_atom(lists:duplicate(128, $é))]",
    "binaries": '[<<>>, <<"caf\\x{e9}", 0, 255>>, <<"山田"/utf8>>, <<1:1>>, <<255, 127:7>>, <<0:800>>]',
    "tuples": "{{}, {a, {b, []}}, erlang:make_tuple(256, 1)}",
    "lists": '["channel", [0, 255], [256], [a | b], [1, 2 | 3], [1.0, a, [], [[]]]]',
    "maps": "#{1 => a, 1.0 => b, true => c, {x} => d, [y] => e, <<>> => #{z => #{}}}",
    "identifiers": "{self(), make_ref(), hd(erlang:ports()), fun lists:map/2}",
    "funs": "[fun(X) -> X end, fun(X, Y) -> X + Y end]",
    "bert": '{{bert, nil}, {bert, true}, {bert, dict, [{a, 1}]}, {bert, time, 1700, 1, 2}, {bert, regex, <<"a">>, []}}',
    "nested": "lists:foldl(fun(_, T) -> {[T]} end, x, lists:seq(1, 15))",
}


def _hostile() -> Iterator[tuple[str, bytes]]:
    """What Erlang would not write."""
    for tag, name in ((b"h\x01", "tuples"), (b"l\x00\x00\x00\x01", "lists"), (b"t\x00\x00\x00\x01", "maps")):
        yield f"deep-{name}", b"\x83" + tag * 3000 + b"j"
    yield "deep-keys", b"\x83" + b"t\x00\x00\x00\x01" * 3000 + b"j" * 3001
    yield "deep-tails", b"\x83" + b"l\x00\x00\x00\x01j" * 3000 + b"j"
    yield "deep-exports", b"\x83" + b"qw\x01mw\x01f" * 3000 + b"a\x00"
    yield "deep-nodes", b"\x83" + b"X" * 3000 + b"w\x01n" + bytes(12)
    yield "deep-inflated", b"\x83P" + (8001).to_bytes(4, "big") + zlib.compress(b"h\x01" * 4000 + b"j")
    yield "bomb", b"\x83P" + (2**20).to_bytes(4, "big") + zlib.compress(b"j" * 2**20)
    node = b"d\x00\x03a@b"
    yield "old-reference", b"\x83e" + node + b"\x00\x00\x01\x00\x01"
    yield "old-references", b"\x83r\x00\x03" + node + b"\x01" + b"\x00\x00\x00\x09" * 3
    yield "old-port", b"\x83f" + node + b"\x00\x00\x00\x05\x01"
    yield "old-pid", b"\x83g" + node + b"\x00\x00\x00\x05\x00\x00\x00\x00\x01"
    yield "old-atoms", b"\x83h\x02s\x01\xe9d\x00\x01\xe9"
    for number in b"iklmotvMZ":
        yield f"announces-{number}", bytes([131, number]) + b"\xff\xff\xff\xff\x00"


def _sessions() -> Iterator[tuple[str, bytes]]:
    with ErlangPBX() as pbx:
        socket = create_connection(f"ws://127.0.0.1:{pbx.port}/", timeout=20)
        try:
            for generation in ("first", "current"):
                for names, wrap, options in (
                    ("string", "tuple" if generation == "first" else "none", _OPTIONS["1"]),
                    ("atom", "none", _OPTIONS["2"]),
                    ("binary", "list", _OPTIONS["0"]),
                ):
                    pbx.names(names)
                    pbx.wrap(wrap)
                    pbx.options(options)
                    pbx.session(generation)
                    pbx.send("done")
                    told: list[bytes | None] = []
                    while b"done" not in (frame := socket.recv_data()[1])[-8:]:
                        told.append(frame)
                    yield f"{generation}-{names}-{wrap}", joined(told)
                    half = len(told) // 2
                    if names == "string":
                        yield f"{generation}-again", joined([*told[:half], None, *told])
        finally:
            socket.close()


def main() -> None:
    """Write all of it."""
    for name in ("etf", "session"):
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            if not old.name.startswith("found-"):
                old.unlink()
    with ErlangTerms() as erlang:
        for name, expr in _TERMS.items():
            seen: set[bytes] = set()
            for key, options in _OPTIONS.items():
                # Anonymous funs carry their whole code, and atoms of it, when they were not compiled.
                data = erlang.encode(expr, options)
                if data not in seen:
                    seen.add(data)
                    (CORPUS / "etf" / f"{name}-{key}").write_bytes(data)
    for name, data in _hostile():
        (CORPUS / "etf" / re.sub(r"\W", "-", name)).write_bytes(data)
    for name, data in _sessions():
        (CORPUS / "session" / name).write_bytes(data)


if __name__ == "__main__":
    main()
