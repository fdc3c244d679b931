"""Moments, avatars and counters."""

from __future__ import annotations

import time
from datetime import datetime, timezone

import pytest

from basix_cti.values import Customer, avatar_url, message_counts, moment, seconds_between

TS = 1_775_001_600_123_456
BASE = "https://pbx.example"


class TestMoments:
    @pytest.mark.parametrize(
        ("microseconds", "time"),
        [
            (None, None),
            (0, None),
            (TS, datetime(2026, 4, 1, 0, 0, 0, 123456, tzinfo=timezone.utc)),
            (1, datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=timezone.utc)),
            (-1, datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc)),
            (253_402_300_799_999_999, datetime.max.replace(tzinfo=timezone.utc)),
            (253_402_300_800_000_000, None),
            (-62_135_596_800_000_001, None),
            (1 << 64, None),
            (1 << 8000, None),
        ],
    )
    def test_moment(self, microseconds: int | None, time: datetime | None) -> None:
        assert moment(microseconds) == time
        assert time is None or str(moment(microseconds)).endswith("+00:00")

    @pytest.mark.parametrize(
        ("start", "end", "seconds"),
        [
            (TS, TS + 1_500_000, 1.5),
            (TS, TS, 0.0),
            (TS + 1_000_000, TS, -1.0),
            (None, TS, None),
            (TS, None, None),
            (0, TS, None),
            (TS, 0, None),
            (1, 1 << 8000, None),
        ],
    )
    def test_seconds_between(self, start: int | None, end: int | None, seconds: float | None) -> None:
        assert seconds_between(start, end) == seconds


# What stands behind the timestamp: the name, as a plain str, and the rest; and what becomes of it.


class TestAvatarUrl:
    @pytest.mark.parametrize("base", [BASE, BASE + "/", BASE + "//"])
    @pytest.mark.parametrize(
        ("avatar", "kind", "flat", "url"),
        [
            ("1.png", "user", False, BASE + "/basix/avatars/users/1.png"),
            ("1.png", "user", True, BASE + "/basix/avatars/1.png"),
            ("1.png", "end_user", False, BASE + "/basix/avatars/end_users/1.png"),
            ("1.png", "end_user", True, BASE + "/basix/avatars/1.png"),
            ("/dir/1.png", "user", False, BASE + "/basix/avatars/users/dir/1.png"),
            ("山 田?.png", "user", False, BASE + "/basix/avatars/users/%E5%B1%B1%20%E7%94%B0%3F.png"),
            ("https://cdn.example/a b", "user", False, "https://cdn.example/a b"),
            ("HTTP://cdn.example/a", "end_user", True, "HTTP://cdn.example/a"),
            ("httpx.png", "user", False, BASE + "/basix/avatars/users/httpx.png"),
            ("see https://x", "user", False, BASE + "/basix/avatars/users/see%20https%3A//x"),
            (None, "user", False, BASE + "/static/icons/user.png"),
            ("", "user", True, BASE + "/static/icons/user.png"),
            (None, "end_user", False, BASE + "/static/icons/end_user.png"),
        ],
    )
    def test_table(self, base: str, avatar: str | None, kind: str, flat: bool, url: str) -> None:
        assert avatar_url(base, avatar, kind, flat=flat) == url
        if kind == "end_user":
            assert Customer(avatar=avatar).avatar_url(base, flat=flat) == url


class TestMessageCounts:
    @pytest.mark.parametrize(
        ("told", "counts"),
        [
            (None, (0, 0)),
            ("", (0, 0)),
            ("  ", (0, 0)),
            ("3/1", (3, 1)),
            ("0/0", (0, 0)),
            ("03/1", (3, 1)),
            (" 3 / 1 ", (3, 1)),
            ("3,1", (3, 1)),
            ("3;1", (3, 1)),
            ("3:1", (3, 1)),
            ("3|1", (3, 1)),
            ("3 1", (3, 1)),
            ("3", (3, None)),
            ("2 new", (2, None)),
            ("Voice-Message: 2/8 (0/2)", (2, 8)),
            ("voice-message:2/8", (2, 8)),
            ("3/1/5", (None, None)),
            ("3/", (3, None)),
            ("3.1", (None, None)),
            ("-3/1", (None, None)),
            ("yes", (None, None)),
            ("new: 3", (None, None)),
            ("1234567890/1", (None, None)),
        ],
    )
    def test_table(self, told: str | None, counts: tuple[int | None, int | None]) -> None:
        assert message_counts(told) == counts

    @pytest.mark.parametrize("long", ["1" + " " * 200_000 + "x", " " * 200_000 + "x", "1" * 200_000, "1/" * 100_000])
    def test_a_long_text_takes_no_long_time(self, long: str) -> None:
        before = time.process_time()
        message_counts(long)
        assert time.process_time() - before < 1.0
