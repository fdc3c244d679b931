"""What stands in Redis is what the PBX told, whatever it tells."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest
import wire_samples as wire
from hypothesis import given, settings
from hypothesis import strategies as st
from test_etf import terms

from basix_cti import bert
from basix_cti.builder import FieldPlan
from basix_cti.elements import CLASSES, Channel, Element, GroupMember, MessageWaiting
from basix_cti.errors import EncodeError
from basix_cti.etf import Atom, Term, encode
from basix_cti.events import InfoEvent, InitialInfo
from basix_cti.protocol import Protocol
from basix_cti.relay.codec import (
    dump_box,
    dump_element,
    dump_key,
    dump_term,
    load_box,
    load_element,
    load_key,
    load_term,
)


def there_and_back(item: Element) -> Element:
    return load_element(item.element, dump_element(item))


def told(session: list[Term]) -> list[Element]:
    protocol = Protocol()
    events = [protocol.receive(encode(message), 0.0) for message in session]
    found: list[Element] = []
    for event in events:
        if isinstance(event, InitialInfo):
            found += event.items
        elif isinstance(event, InfoEvent):
            found.append(event.item)
    return found


@pytest.mark.parametrize("session", [wire.first_session(), wire.current_session()], ids=["first", "current"])
def test_what_a_pbx_tells(session: list[Term]) -> None:
    items = told(session)
    assert items
    for item in items:
        assert there_and_back(item) == item
        assert type(there_and_back(item)) is type(item)


# Fields of all forms, right and wrong, and one that nobody knows.
_VALUES = st.one_of(
    terms(),
    st.sampled_from([wire.UNDEFINED, wire.BERT_NIL, (5, Atom("park"), 901, 1, 7, b"user7"), (5, b"park", b"x")]),
    st.sampled_from(
        [(Atom("user"), 7, b"x", b"0312"), (b"user", 7, b"in", b"ext", b"1", 5, 6, b"%7B%7D"), b"a*b", b"a;b"]
    ),
    st.sampled_from([b"1*a*b*c*d", b"_MANY_:3|1*a*b*c|2*d*e*f", b"***", b"%7B%22a%22%3A1%7D", "\ud800"]),
)


@pytest.mark.parametrize("element", ["channel", "queued_channel", "user", "group_member", "domain", "news"])
@settings(max_examples=20)
@given(data=st.data())
def test_every_object(element: str, data: st.DataObject) -> None:
    names = [*CLASSES[element].READERS] if element in CLASSES else ["uuid", "id"]
    values = tuple(data.draw(_VALUES) for _ in range(len(names) + 2))
    item = FieldPlan(element, [*names, "later"]).build(values)
    back = there_and_back(item)
    assert back == item
    assert back.key == item.key
    assert back.to_dict() == item.to_dict()
    assert hash_of(back) == hash_of(item)
    if item.key is not None:
        assert load_key(dump_key(item.key)) == item.key


def hash_of(item: Element) -> str:
    """1, 1.0 and True are equal, but not the same."""
    return json.dumps(item.to_dict(), sort_keys=True)


def test_a_key_of_two_parts() -> None:
    member = GroupMember(user_id=7, group_id="x")
    assert load_key(dump_key((7, "x"))) == member.key


@given(message=st.one_of(st.text(), terms()))
def test_messages(message: Term) -> None:
    try:
        bert.encode(message)
    except EncodeError:
        return
    back = load_term(dump_term(message))
    assert back == message
    assert type(back) is type(message)


@pytest.mark.parametrize(
    "message", ["connection_replaced", "", "\ud800", None, datetime(2026, 1, 1, tzinfo=timezone.utc)]
)
def test_certain_messages(message: Term) -> None:
    assert load_term(dump_term(message)) == message


def test_what_has_no_term_is_told_in_words() -> None:
    assert load_term(dump_term(object)) == "<class 'object'>"


@pytest.mark.parametrize(
    "box", [MessageWaiting("user", 7, "u", 1, None, "1/?", {"x": [1]}), MessageWaiting(None, None, None, 0, 0, "")]
)
def test_boxes(box: MessageWaiting) -> None:
    assert load_box(dump_box(box).encode()) == box


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"f": {"no_such_field": 1}}', '{"f": {"state": 7}}', '{"f": 7}']
)
def test_nonsense(text: str) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        load_element("channel", text)


def test_it_can_be_read_by_others() -> None:
    told = json.loads(dump_element(Channel(uuid="u", calling_number="0312341234", extra={"later": 1})))
    assert told == {"f": {"uuid": "u", "calling_number": "0312341234"}, "x": {"later": 1}}
