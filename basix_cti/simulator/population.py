"""The people of a simulated PBX: users, groups, telephones and customers, all from one seed."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote, quote_plus

from .model import HUNT, RING, Domain, Group, GroupMember, Pbx, Terminal, User

__all__ = ["NOBODY", "Customer", "Customers", "end_user_text", "new_domain", "new_group", "new_user", "populate"]

NOBODY = "****"

_FAMILY_NAMES = (
    *("田中", "佐藤", "鈴木", "高橋", "伊藤", "渡辺", "山本", "中村", "小林"),
    *("加藤", "吉田", "山田", "佐々木", "山口", "松本", "井上", "木村", "林"),
    *("斎藤", "清水", "山崎", "森", "池田", "橋本", "阿部", "石川"),
)
_GIVEN_NAMES = (
    *("さくら", "陽菜", "結衣", "美咲", "葵", "七海", "彩", "真由美", "恵子"),
    *("由美子", "蓮", "大翔", "悠真", "健太", "翔太", "大輔", "拓也", "誠"),
    *("浩", "直樹", "一郎", "健一", "千尋", "薫", "光", "渚"),
)
_GROUP_LABELS = ("営業部", "サポート", "総務部", "経理部", "開発部", "受付", "配送センター", "予約係")
_COMPANIES = ("青空商事", "みどり電機", "東都物流", "さざなみ食品", "北斗建設", "あかね出版", "大和不動産")
_PREFECTURES = ("北海道", "宮城県", "東京都", "神奈川県", "愛知県", "京都府", "大阪府", "広島県", "福岡県", "沖縄県")
_PHONES = ("DeskPhone 300/1.4.2", "DeskPhone 500/2.0.1", "Softphone for Windows/5.2", "MobilePhone iOS/3.9")
_AREAS = ("03", "06", "011", "045", "052", "075", "092")


class Customer(NamedTuple):
    """Somebody outside, as a customer database knows them. Several may share a number."""

    id: str
    name: str
    organization: str
    avatar: str
    prefecture: str
    number: str


def end_user_text(customers: Sequence[Customer]) -> str:
    """The wire's ``end_user`` text: one customer, several, or only asterisks for nobody."""
    texts = ["*".join(map(quote_plus, customer[:5])) for customer in customers]
    if len(texts) > 1:
        return "|".join([f"_MANY_:{len(texts)}", *texts])
    return texts[0] if texts else NOBODY


class Customers:
    """The customer database, and a directory of callers that are in no such database.

    Attributes:
        all: every customer, in a fixed order.
        strangers: telephone numbers that belong to no customer.
    """

    def __init__(self, seed: int | str, count: int = 40) -> None:
        self._seed = seed
        rng = random.Random(f"customers of {seed}")
        self.all = []
        number = ""
        for index in range(count):
            if index % 8 != 7:  # every eighth shares the telephone of the one before
                number = _number(rng, index)
            self.all.append(
                Customer(
                    str(5001 + index),
                    f"{rng.choice(_FAMILY_NAMES)} {rng.choice(_GIVEN_NAMES)}",
                    rng.choice(_COMPANIES) if rng.random() < 0.7 else "",
                    f"c{5001 + index}.png" if rng.random() < 0.3 else "",
                    rng.choice(_PREFECTURES),
                    number,
                )
            )
        self.strangers = [_number(rng, count + index) for index in range(20)]
        self._by_number: dict[str, list[Customer]] = {}
        for customer in self.all:
            self._by_number.setdefault(customer.number, []).append(customer)
        self._texts = {number: end_user_text(found) for number, found in self._by_number.items()}

    def find(self, number: str) -> list[Customer]:
        """The customers with this telephone number."""
        return list(self._by_number.get(number, ()))

    def text(self, number: str) -> str:
        """The ``end_user`` text for a telephone number; only asterisks when nobody is known."""
        return self._texts.get(number, NOBODY)

    def whoscall(self, number: str) -> str | None:
        """What a public directory says of a number that is no customer's: percent-encoded JSON, or None."""
        if number in self._by_number:
            return None
        rng = random.Random(f"directory of {self._seed}: {number}")
        verdict = rng.choice(
            (None, None, {"name": rng.choice(_COMPANIES), "spam": False}, {"name": "迷惑電話", "spam": True})
        )
        return None if verdict is None else quote(json.dumps(verdict, ensure_ascii=False), safe="")


def _number(rng: random.Random, index: int) -> str:
    area = rng.choice(_AREAS)
    # The index in the last four digits keeps numbers apart.
    return f"{area}{rng.randrange(10 ** (6 - len(area))):0{6 - len(area)}d}{index:04d}"


def new_domain(name: str) -> Domain:
    """The object for the whole PBX."""
    return Domain(10000000, name, f"ドメイン・{name}")


def new_user(
    user_id: int, name: str, extension: str, label: str, *, email: str = "", avatar: str | None = None
) -> User:
    """A user with a public number that follows from the extension."""
    return User(
        user_id,
        name,
        main_extension=extension,
        label=label,
        email=email or f"{name}@example.jp",
        avatar=avatar,
        did=f"0501000{extension:>04}",
    )


def new_group(group_id: int, name: str, extension: str, label: str, *, hunt: bool = False) -> Group:
    """A group with a public number that follows from the extension."""
    kind = HUNT if hunt else RING
    return Group(
        group_id,
        name,
        kind,
        main_extension=extension,
        queue=1 - kind,
        label=label,
        flags=4,
        did=f"035550{extension:>04}",
    )


def populate(pbx: Pbx, *, users: int, groups: int, seed: int | str) -> None:
    """Fill an empty PBX. Users are ``user1``, ``user2``, …, with extension 201 and so on; groups likewise from 301.

    Every third group hunts, the others ring all stations at once. Above 99 users or groups the extensions get longer.
    """
    rng = random.Random(f"people of {seed}")
    scale = 1
    while max(users, groups) > 100 * scale - 1:
        scale *= 10
    names = [f"{family} {given}" for family in _FAMILY_NAMES for given in _GIVEN_NAMES]
    rng.shuffle(names)
    base = 10000000
    user_ids = []
    for index in range(users):
        number = 200 * scale + 1 + index
        name = f"user{index + 1}"
        avatar = rng.choice((None, None, f"{name}.png", f"https://static.example.jp/{name}.jpg"))
        label = names[index] if index < len(names) else f"{names[index % len(names)]} {index // len(names) + 1}"
        user = new_user(base + number, name, str(number), label, avatar=avatar)
        if index == 0:
            user = user._replace(role=100)
        pbx.users[user.id] = user
        user_ids.append(user.id)
        pbx.terminals[index + 1] = Terminal(index + 1, name, user.id, user_agent=rng.choice(_PHONES))
    for index in range(groups):
        number = 300 * scale + 1 + index
        label = _GROUP_LABELS[index] if index < len(_GROUP_LABELS) else f"グループ・{number}"
        group = new_group(base + number, f"group{index + 1}", str(number), label, hunt=index % 3 == 2)
        pbx.groups[group.id] = group
    for position, user_id in enumerate(user_ids):
        for index, group_id in enumerate(pbx.groups):
            if position % groups == index or rng.random() < 0.15:
                member_id = 110000001 + len(pbx.members)
                pbx.members[member_id] = GroupMember(member_id, group_id, user_id, priority=position)
