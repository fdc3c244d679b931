"""The pytest plugin, as its users meet it: in projects of their own, in processes of their own."""

from __future__ import annotations

import sys

import pytest

HANDLER = """
    from basix_cti import CTIHandler

    class Screen(CTIHandler):
        def __init__(self):
            self.lines = []

        def on_chan_info(self, channel):
            if channel.direction == "inbound":
                self.lines.append(channel.hangup_cause or channel.last_event)
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project in which warnings are errors, and so are marks that nobody knows."""
    pytester.makepyprojecttoml(
        """
        [tool.pytest.ini_options]
        addopts = "--strict-markers --strict-config -p no:cacheprovider"
        filterwarnings = ["error"]
        """
    )
    pytester.makepyfile(screen=HANDLER)
    return pytester


def test_a_handler_is_tested_without_an_import_of_the_kit(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        from screen import Screen

        def test_calls(pbx, cti_client):
            screen = Screen()
            client = cti_client(screen, full_events=True)
            pbx.call("0312341234", to="user1").answer().park(901).hangup()
            client.catch_up()
            assert screen.lines[-1] == "NORMAL_CLEARING"

        def test_faults(pbx, cti_client):
            client = cti_client(Screen())
            pbx.bad_frame()
            client.recorder.wait_for("on_error")
            pbx.drop()
            client.recorder.wait_for("on_connect", 2)
            pbx.limit()
            pbx.drop()
            client.recorder.wait_for("on_system_msg", where=lambda msg: msg == "connection_limit_reached")
            pbx.limit(None)
            client.recorder.wait_for("on_connect", 4)
            client.catch_up()
            pbx.replace()
            client.recorder.wait_for("on_system_msg", where=lambda msg: msg == "connection_replaced")

        @pytest.mark.pbx(users=2)
        class TestSmall:
            def test_users(self, pbx):
                assert len(pbx.users) == 2

            @pytest.mark.pbx(users=3, groups=0)
            def test_the_nearest_mark_counts(self, pbx):
                assert (len(pbx.users), len(pbx.groups)) == (3, 0)
        """
    )
    project.runpytest_subprocess().assert_outcomes(passed=4)


def test_failures_explain_themselves(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from screen import Screen

        class Breaks(Screen):
            def on_chan_info(self, channel):
                raise LookupError("no such customer")

        def test_waits_in_vain(pbx, cti_client):
            client = cti_client(Screen())
            pbx.call("0312341234", to="user1").answer()
            client.catch_up()
            client.recorder.wait_for("on_park_info", timeout=0.1)

        def test_a_hook_raises(pbx, cti_client):
            client = cti_client(Breaks())
            pbx.call("0312341234", to="user1")
            client.catch_up()
        """
    )
    result = project.runpytest_subprocess()
    result.assert_outcomes(failed=1, passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_a_hook_raises*",
            "E*AssertionError: Breaks.on_chan_info raised LookupError: no such customer*",
            "*test_waits_in_vain*",
            "E*AssertionError: on_park_info was not called once within 0.1 s, but never. What was told, *",
            "E*on_chan_info(Channel('*calling_number='0312341234'*last_event='CHANNEL_BRIDGE'*",
        ]
    )
    result.stdout.no_fnmatch_line("*basix_cti/testing.py:*: AssertionError")


def test_clients_are_stopped_where_a_test_fails(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import threading

        def test_fails(pbx, cti_client):
            cti_client()
            assert False

        def test_nothing_is_left():
            assert threading.active_count() == 1
        """
    )
    project.runpytest_subprocess().assert_outcomes(failed=1, passed=1)


def test_a_project_can_have_fixtures_of_the_same_names(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.fixture
        def pbx():
            return "mine"

        def test_mine(pbx):
            assert pbx == "mine"
        """
    )
    project.runpytest_subprocess().assert_outcomes(passed=1)


def test_nothing_is_imported_before_a_fixture_is_used(project: pytest.Pytester) -> None:
    """So the start of pytest is as fast as without it, and a tool that measures coverage sees all imports."""
    project.makepyfile(
        """
        import sys

        def test_start(request):
            assert request.config.pluginmanager.hasplugin("basix_cti")
            for name in ("basix_cti", "aiohttp", "websocket", "asyncio"):
                assert name not in sys.modules

        def test_use(pbx):
            assert "basix_cti.simulator" in sys.modules
        """
    )
    project.runpytest_subprocess("-p", "no:anyio", "-p", "no:xdist", "-p", "no:hypothesispytest").assert_outcomes(
        passed=2
    )


def test_it_can_be_switched_off(project: pytest.Pytester) -> None:
    project.makepyfile("def test_x(pbx): pass")
    result = project.runpytest_subprocess("-p", "no:basix_cti")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'pbx' not found*"])


def test_without_the_extra_it_says_what_to_install(project: pytest.Pytester) -> None:
    project.makeconftest("import sys; sys.modules['aiohttp'] = None")
    project.makepyfile(
        """
        def test_other():
            pass

        def test_x(pbx):
            pass
        """
    )
    result = project.runpytest_subprocess()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*the fixture pbx needs aiohttp: pip install basix-cti?testing?*"])


def test_the_fixtures_are_listed_with_what_they_are(project: pytest.Pytester) -> None:
    listed = project.runpytest_subprocess("--fixtures")
    listed.stdout.fnmatch_lines(["pbx -- *pytest_basix_cti.py:*", "cti_client -- *pytest_basix_cti.py:*"])
    project.runpytest_subprocess("--markers").stdout.fnmatch_lines(["@pytest.mark.pbx(*options): *"])


def test_parallel_runs(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(6))
        def test_call(pbx, cti_client, number):
            client = cti_client()
            pbx.call("0312341234", to="user1").hangup()
            client.recorder.wait_for("on_chan_info", where=lambda channel: channel.is_hung_up)
        """
    )
    project.runpytest_subprocess("-n", "2").assert_outcomes(passed=6)


def test_it_is_found_by_its_entry_point(project: pytest.Pytester) -> None:
    done = project.run(
        sys.executable,
        "-c",
        "from importlib.metadata import entry_points; print([e.value for e in entry_points(group='pytest11')])",
    )
    done.stdout.fnmatch_lines(["*'pytest_basix_cti'*"])
