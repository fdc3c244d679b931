"""The corpus of the fuzzers, without a fuzzer; and that they would find a bug."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from erlang_peer import ERLANG_MISSING, ErlangTerms

import basix_cti
from basix_cti import bert, etf
from basix_cti.etf import Atom
from basix_cti.limits import Limits
from fuzz import compared, targets
from fuzz.again import again
from fuzz.mutate import CHANGES, change_term
from fuzz.targets import CORPUS, TARGETS, frames, joined, run_session

HOLE = Atom("a hole")
KEPT = [path for name in TARGETS for path in sorted((CORPUS / name).iterdir())]


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_corpus(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_changed_corpus(name: str) -> None:
    rng = random.Random(f"test of {name}")
    for path in sorted((CORPUS / name).iterdir()):
        data = path.read_bytes()
        for _ in range(5):
            data = CHANGES[name](data, rng)
            TARGETS[name](data)


@pytest.mark.parametrize("path", sorted((CORPUS / "session").iterdir()), ids=lambda path: path.name)
def test_sessions_are_told(path: Path) -> None:
    """Corpus and reader have not drifted apart: the frames are terms, and all of it is read."""
    steps = list(frames(path.read_bytes()))
    assert joined(steps) == path.read_bytes()
    assert sum(step is not None and type(etf.decode(step)) in (tuple, list) for step in steps) > 10


@pytest.mark.parametrize("session", ["first-string-tuple", "current-string-none"])
@pytest.mark.parametrize(
    "nest",
    [b"h\x01", b"l\x00\x00\x00\x01", b"h\x03w\x04bertw\x04dictl\x00\x00\x00\x01h\x02j"],
    ids=["tuples", "lists", "dictionaries"],
)
def test_deep_values_of_fields(session: str, nest: bytes) -> None:
    """Compiled code has no recursion limit of its own: a value as deep as can be, in each place of real messages."""
    limits = Limits(max_depth=10**9)
    if basix_cti.compiled:
        bert.decode(
            b"\x83" + _nested(nest, 900 if len(nest) < 10 else 300), limits=limits
        )  # it is a term, if a deep one
    # Nested maps are not written out by Python beyond its own recursion limit.
    deep = _nested(nest, 900 if len(nest) < 10 else 80)
    told: list[bytes | None] = []
    kinds = set()
    for step in frames((CORPUS / "session" / session).read_bytes()):
        assert step is not None
        if (kind := step[:32]) not in kinds:  # as far as the names of message and element
            kinds.add(kind)
            for place in _leaves(etf.decode(step)):
                holed = etf.encode(_with(etf.decode(step), place, HOLE))
                told.append(holed.replace(etf.encode(HOLE)[1:], deep))
                assert told[-1] != holed
        told.append(step)  # after the others, so that each field is read by the name that it has
    assert len(told) > 100
    run_session(joined(told), limits)


def _nested(nest: bytes, levels: int) -> bytes:
    opening = nest * levels
    return opening + b"j" * (1 + opening.count(b"l\x00\x00\x00\x01"))


def _leaves(term: etf.Term) -> Iterator[tuple[int, ...]]:
    """Where in a message no further term is, from 1 to 4 steps down; one of each kind of place."""
    if type(term) in (tuple, list) and term and not all(type(part) is int for part in term):
        for index, part in enumerate(term):
            for place in _leaves(part):
                if len(place) < 4:
                    yield (index, *place)
    else:
        yield ()


def _with(term: etf.Term, place: tuple[int, ...], value: etf.Term) -> etf.Term:
    if not place:
        return value
    parts = list(term)
    parts[place[0]] = _with(parts[place[0]], place[1:], value)
    return tuple(parts) if type(term) is tuple else parts


class TestFindsBugs:
    def test_in_hooks_of_the_session(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(item: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(targets, "_look_at", broken)
        with pytest.raises(ZeroDivisionError):
            targets.run_session((CORPUS / "session" / "current-string-none").read_bytes())

    def test_in_the_decoder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(etf, "encode", lambda term: b"\x83w\x07another")
        with pytest.raises(targets.Found, match="comes back as"):
            targets.run_etf(b"\x83a\x01")

    def test_an_error_that_is_no_decode_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*args: object, **options: object) -> etf.Term:
            raise IndexError

        monkeypatch.setattr(etf, "decode", broken)
        with pytest.raises(IndexError):
            targets.run_etf(b"\x83a\x01")


def test_again() -> None:
    assert again(CORPUS / "etf" / "floats-1") is None
    with pytest.raises(ValueError, match="neither the name nor the folder"):
        again(Path(__file__))


def test_change_term_changes_values() -> None:
    rng = random.Random(1)
    term = (Atom("info_event"), list(b"channel"), (b"a", 1), [Atom("x")])
    assert len({repr(change_term(term, rng)) for _ in range(50)}) > 25


@pytest.mark.skipif(ERLANG_MISSING is not None, reason=str(ERLANG_MISSING))
class TestCompared:
    def test_corpus(self) -> None:
        differences: list[tuple[bytes, str]] = []
        count, taken = compared.run(0, 1, lambda data, difference: differences.append((data, difference)))
        assert differences == []
        assert count > taken > 30

    @pytest.mark.parametrize(
        ("data", "mine", "difference"),
        [
            (b"\x83a\x01", lambda data: 2, "another term than Erlang's; here it is 2"),
            (b"\x83\xff", lambda data: 2, "Erlang refuses it; here it is 2"),
        ],
        ids=["another term", "refused"],
    )
    def test_difference(
        self, monkeypatch: pytest.MonkeyPatch, data: bytes, mine: Callable[[bytes], etf.Term], difference: str
    ) -> None:
        monkeypatch.setattr(etf, "decode", mine)
        with ErlangTerms() as erlang:
            assert compared.compare(data, erlang) == difference
