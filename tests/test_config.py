"""Settings: where they are looked for, which comes first, and what is told of a bad one."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme
from relay import Relay

from basix_cti import ApiToken, ApiUser, CTIHandler, Ticket
from basix_cti.config import OPTIONS, Settings, default_file, read_token, variable
from basix_cti.errors import ConfigError
from basix_cti.simulator import Simulator
from basix_cti.testing import Recorder

NOWHERE = Path("/nowhere")
SECRET = "hunter2-%(x)s;#"
BASE = {"server": "rig", "domain": "d", "token": SECRET}


def load(given: Mapping[str, object], variables: Mapping[str, str] = {}, home: Path = NOWHERE) -> Settings:
    """Settings from ``given`` and variables, in an environment where nothing else is."""
    return Settings.load(given, environ={"XDG_CONFIG_HOME": str(home), **variables})


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


def refused(
    given: Mapping[str, object],
    variables: Mapping[str, str] = {},
    config: Path | None = None,
    profile: str | None = None,
) -> str:
    """What the error says, which never holds the token."""
    with pytest.raises(ConfigError) as caught:
        Settings.load(given, config=config, profile=profile, environ={"XDG_CONFIG_HOME": str(NOWHERE), **variables})
    told = str(caught.value)
    assert SECRET not in told
    assert len(told.splitlines()) == 1
    assert caught.value.__cause__ is None
    return told


class TestOrder:
    def test_given_then_variable_then_file_then_default(self, tmp_path: Path) -> None:
        config = write(tmp_path / "c.ini", "[basix-cti]\nserver = file\ndomain = file\napp_name = file\ntoken = t\n")
        settings = Settings.load(
            {"server": "given", "domain": None},
            config=config,
            environ={"BASIX_CTI_SERVER": "variable", "BASIX_CTI_DOMAIN": "variable"},
            defaults={"app_name": "default", "user_id": 7},
        )
        assert (settings.server, settings.domain, settings.app_name) == ("given", "variable", "file")
        assert settings.user_id == "7"
        assert settings.origins["server"] == "server"
        assert settings.origins["domain"] == "the variable BASIX_CTI_DOMAIN"
        assert settings.origins["app_name"] == f"{config}:4, [basix-cti] app_name"
        assert settings.origins["user_id"] == "user_id by default"

    @pytest.mark.parametrize(("name", "kind"), [(option.name, option.kind) for option in OPTIONS])
    def test_every_setting_has_a_variable_and_a_key(self, name: str, kind: str, tmp_path: Path) -> None:
        ca = tmp_path / "ca.pem"
        trustme.CA().cert_pem.write_to_path(str(ca))
        token = write(tmp_path / "token", "from-a-file\n")
        value = {"flag": "yes", "text": "x", "secret": "x"}.get(kind, str(ca if name == "ca_file" else token))
        if name == "proxy":
            value = "socks5://me:x@proxy"
        rest = {variable(key): text for key, text in BASE.items() if key != name}
        if name == "token_file":
            del rest["BASIX_CTI_TOKEN"]
        by_variable = load({}, {**rest, variable(name): value}, tmp_path)
        write(tmp_path / "basix-cti" / "config.ini", f"[basix-cti]\n{name.replace('_', '-')} = {value}\n")
        by_file = load({}, rest, tmp_path)
        assert by_variable == by_file
        told = by_file.token if kind != "flag" and "token" in name else getattr(by_file, name)
        assert told == {"flag": True}.get(kind, "from-a-file" if name == "token_file" else value)

    def test_an_empty_variable_is_not_set(self) -> None:
        assert load(BASE, {"BASIX_CTI_API_USER": " ", "BASIX_CTI_TICKET": ""}).api_user is None

    def test_an_empty_text_takes_back_what_comes_later(self) -> None:
        assert load({**BASE, "user_name": ""}, {"BASIX_CTI_USER_NAME": "u"}).user_name is None

    def test_of_alternatives_the_nearest_counts(self, tmp_path: Path) -> None:
        token = write(tmp_path / "token", " from-a-file\n")
        settings = load(
            {"server": "rig", "domain": "d", "token_file": token, "full_events": True, "ticket": False},
            {"BASIX_CTI_TOKEN": "from-a-variable", "BASIX_CTI_USER_NAME": "u", "BASIX_CTI_TICKET": "yes"},
        )
        assert (settings.token, settings.user_name, settings.ticket) == ("from-a-file", None, False)


class TestFile:
    def test_profile_before_the_common_section(self, tmp_path: Path) -> None:
        text = "[basix-cti]\ndomain = common\ntoken = t\nfull-events = yes\n[rig]\nserver = ws://rig\ndomain = own\n"
        config = write(tmp_path / "c.ini", text)
        settings = Settings.load(config=config, profile="rig", environ={})
        assert (settings.server, settings.domain, settings.full_events) == ("ws://rig", "own", True)
        assert settings == Settings.load(config=config, environ={"BASIX_CTI_PROFILE": "rig"})

    def test_the_users_own_file(self, tmp_path: Path) -> None:
        assert default_file({"XDG_CONFIG_HOME": str(tmp_path)}) is None
        ours = write(tmp_path / "basix-cti" / "config.ini", "[basix-cti]\nserver = mine\ndomain = d\ntoken = t\n")
        assert default_file({"XDG_CONFIG_HOME": str(tmp_path)}) == ours
        assert load({}, {}, tmp_path).server == "mine"
        write(tmp_path / "basix-cti" / "config.toml", "")
        with pytest.raises(ConfigError, match="both there"):
            load({}, {}, tmp_path)

    def test_toml(self, tmp_path: Path) -> None:
        text = f'[basix-cti]\nserver = "rig"\ndomain = "d"\ntoken = "{SECRET}"\nfull_events = false\nuser_id = 201\n'
        settings = Settings.load(config=write(tmp_path / "c.toml", text), environ={})
        assert (settings.token, settings.full_events, settings.user_id) == (SECRET, False, "201")

    def test_paths_are_relative_to_the_file(self, tmp_path: Path) -> None:
        write(tmp_path / "token", "beside")
        config = write(tmp_path / "c.ini", "[basix-cti]\nserver = rig\ndomain = d\ntoken_file = token\n")
        assert Settings.load(config=config, environ={}).token == "beside"

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            (f"token = {SECRET}\n", "c.ini:1: neither"),
            (f"[basix-cti]\n\n{SECRET}\n", "c.ini:3: neither"),
            ("[basix-cti]\ndomain = a\ndomain = b\n", "c.ini:3: a section or key stands there a second time"),
            ("[basix-cti]\n\nfull_events = perhaps\n", "c.ini:3, [basix-cti] full_events: must be yes or no"),
            ("[basix-cti]\ntokem = x\n", "c.ini:2, [basix-cti] tokem: no such setting; did you mean token?"),
            ("[basix-cti]\ncompletely = x\n", "no such setting; there are: server, domain"),
            ("[other]\nx = 1\n", "has no section [basix-cti]; the sections that it has: [other]"),
            ("", "has no section [basix-cti]; the sections that it has: none"),
            ("[basix-cti]\nuser_name = a\nuser_id = 3\n", "c.ini:2, [basix-cti] user_name and "),
            ("[basix-cti]\nca_file = missing.pem\n", "missing.pem cannot be used: No such file"),
            ("[basix-cti]\nca_file = c.ini\n", "it holds no certificate"),
            ("[basix-cti]\nuser-id = 1\nuser_id = 2\n", "it stands there twice"),
        ],
    )
    def test_a_bad_one_is_told_with_its_place(self, text: str, told: str, tmp_path: Path) -> None:
        assert told in refused(BASE, config=write(tmp_path / "c.ini", text))

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            (f"[basix-cti]\ntoken = {SECRET}\n", "not in the form of TOML at line 2, column"),
            ('server = "x"\n', "server stands outside of a section"),
            ("[basix-cti]\nserver = []\n", "c.toml:2, [basix-cti] server must be a text"),
            ("[basix-cti]\nticket = 2\n", "c.toml:2, [basix-cti] ticket: must be yes or no"),
        ],
    )
    def test_a_bad_toml(self, text: str, told: str, tmp_path: Path) -> None:
        assert told in refused(BASE, config=write(tmp_path / "c.toml", text))

    def test_a_file_that_is_no_text_or_not_there(self, tmp_path: Path) -> None:
        (tmp_path / "c.ini").write_bytes(b"\xff\xfe")
        assert "no text" in refused({}, config=tmp_path / "c.ini")
        assert "No such file" in refused({}, config=tmp_path / "none.ini")
        assert "No such file" in refused({}, {"BASIX_CTI_CONFIG": str(tmp_path / "none.ini")})
        assert "no configuration file" in refused({}, profile="rig")

    @pytest.mark.parametrize("mode", [0o640, 0o604])
    def test_a_token_that_others_can_read(self, mode: int, tmp_path: Path) -> None:
        config = write(tmp_path / "c.ini", f"[basix-cti]\ntoken = {SECRET}\n", mode)
        told = refused({"server": "rig", "domain": "d"}, config=config)
        assert f"c.ini:2, [basix-cti] token: other users can read this token; run: chmod 600 {config}" in told

    def test_a_proxys_login_that_others_can_read(self, tmp_path: Path) -> None:
        config = write(tmp_path / "c.ini", f"[basix-cti]\nproxy = http://me:{quote(SECRET)}@proxy\n", 0o640)
        assert "c.ini:2, [basix-cti] proxy: other users can read this login" in refused(BASE, config=config)
        write(config, "[basix-cti]\nproxy = http://proxy\n", 0o640)
        assert Settings.load(BASE, config=config, environ={}).proxy == "http://proxy"

    def test_toml_without_a_reader(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("tomllib", "tomli"):
            monkeypatch.setitem(sys.modules, name, None)
        assert "pip install basix-cti[cli]" in refused({}, config=write(tmp_path / "c.toml", ""))


class TestBad:
    @pytest.mark.parametrize("name", ["server", "domain", "token"])
    def test_missing(self, name: str) -> None:
        told = refused({key: value for key, value in BASE.items() if key != name})
        assert told.startswith(f"no {name}: give ")
        assert variable(name) in told

    @pytest.mark.parametrize(
        ("variables", "told"),
        [
            ({"BASIX_CTI_SERVER": "https://rig"}, "the variable BASIX_CTI_SERVER: server starts with https"),
            ({"BASIX_CTI_DOMAIN": "a:b"}, "the variable BASIX_CTI_DOMAIN: domain must not contain a colon"),
            ({"BASIX_CTI_FORCED": "2"}, "the variable BASIX_CTI_FORCED: must be yes or no"),
            ({"BASIX_CTI_TOKEN": f"{SECRET}\n\x01"}, "the variable BASIX_CTI_TOKEN must not contain control"),
            (
                {"BASIX_CTI_TOKEN": SECRET, "BASIX_CTI_TOKEN_FILE": "x"},
                "the variable BASIX_CTI_TOKEN and the variable BASIX_CTI_TOKEN_FILE do not go together",
            ),
            ({"BASIX_CTI_API_USER": "u", "BASIX_CTI_TICKET": "1"}, "do not go together"),
            (
                {"BASIX_CTI_FULL_EVENTS": "1", "BASIX_CTI_TICKET": "1"},
                "the variable BASIX_CTI_FULL_EVENTS and the variable BASIX_CTI_TICKET do not go together",
            ),
            ({"BASIX_CTI_SERVER": "ws://rig", "BASIX_CTI_CA_FILE": "x"}, "without effect"),
            ({"BASIX_CTI_PROXY": f"me:{SECRET}@proxy"}, "the variable BASIX_CTI_PROXY: proxy must start with http://"),
        ],
    )
    def test_a_variable(self, variables: dict[str, str], told: str) -> None:
        rest = {variable(key): value for key, value in BASE.items()}
        assert told in refused({}, {**rest, **variables})

    def test_an_unknown_one(self) -> None:
        assert refused({"tokn": 1}) == "tokn is no setting; did you mean token?"

    @pytest.mark.parametrize(("content", "told"), [(b"", "is empty"), (b"\xff", "no text"), (b"a\nb", "control")])
    def test_a_token_file(self, content: bytes, told: str, tmp_path: Path) -> None:
        (tmp_path / "token").write_bytes(content)
        with pytest.raises(ConfigError, match=told) as caught:
            read_token(tmp_path / "token", "--token-file")
        assert "--token-file" in str(caught.value)


def test_secrets_are_in_no_repr() -> None:
    settings = load({**BASE, "proxy": f"http://me:{quote(SECRET)}@proxy"})
    assert quote(SECRET) not in repr(settings) + repr(settings.origins)
    assert SECRET not in repr(settings) + repr(settings.auth) + repr(settings.origins)


@pytest.mark.parametrize(
    ("more", "kind"), [({}, ApiToken), ({"api_user": "u"}, ApiUser), ({"ticket": True, "user_id": 3}, Ticket)]
)
def test_the_login(more: dict[str, object], kind: type) -> None:
    assert type(load({**BASE, **more}).auth) is kind


@pytest.mark.parametrize("more", [{}, {"api_user": "api"}, {"ticket": True}], ids=str)
def test_a_client(more: dict[str, object]) -> None:
    told = threading.Event()

    class Handler(CTIHandler):
        def on_connect(self, session: object) -> None:
            told.set()

    with Simulator() as simulator:
        given = {"server": simulator.url, "domain": simulator.domain, "token": simulator.token, "app_name": "a", **more}
        with load(given).client(Handler(), reconnect_min=0.05) as client:
            assert client.wait_connected(20)
            assert told.wait(20)


@pytest.mark.parametrize("more", [{}, {"ticket": True}], ids=str)
def test_a_client_behind_a_proxy(more: dict[str, object]) -> None:
    with Simulator() as simulator, Relay("http", login=True) as relay:
        given = {"server": simulator.url, "domain": simulator.domain, "token": simulator.token, "app_name": "a", **more}
        with load({**given, "proxy": relay.url}).client(Recorder()) as client:
            assert client.wait_connected(20)
        assert set(relay.asked) == {("127.0.0.1", simulator.port)}
        assert len(relay.asked) == (2 if more else 1)


def test_who_can_follow_a_relay_needs_nothing_else(tmp_path: Path) -> None:
    config = write(tmp_path / "c.ini", f"[basix-cti]\nserver = file\nredis_url = redis://:{SECRET}@host/0\n")
    environ = {"XDG_CONFIG_HOME": str(NOWHERE), "BASIX_CTI_RELAY_NAME": "main"}
    followed = Settings.load({}, config=config, environ=environ, relayed=True)
    assert (followed.redis_url, followed.relay_name) == (f"redis://:{SECRET}@host/0", "main")
    assert (followed.server, followed.domain, followed.token) == ("", "", "")
    assert followed.origins["redis_url"] == f"{config}:3, [basix-cti] redis_url"
    assert SECRET not in repr(followed)
    with pytest.raises(ConfigError, match="no domain"):
        Settings.load({}, config=config, environ=environ)
    with pytest.raises(ConfigError, match="no server"):
        Settings.load({}, environ={"XDG_CONFIG_HOME": str(NOWHERE)}, relayed=True)
