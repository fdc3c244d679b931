"""Show an example site at work, on a simulated PBX: ``python examples/demo_site.py django``, or ``flask``.

Its files are in a temporary folder. It goes on until Ctrl-C, or for ``--seconds``.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType

from basix_cti.simulator import Simulator

EXAMPLES = Path(__file__).resolve().parent
PASSWORD = "demo"  # of a site on loopback that is gone with the demo


def django(port: int, environment: dict[str, str]) -> list[list[str]]:
    """Make the database; the programs of the site."""
    manage = [sys.executable, str(EXAMPLES / "django_call_log" / "manage.py")]
    subprocess.run([*manage, "migrate", "--verbosity", "0"], env=environment, check=True)
    admin = ["createsuperuser", "--noinput", "--username", "demo", "--email", "demo@example.com", "--verbosity", "0"]
    subprocess.run([*manage, *admin], env={**environment, "DJANGO_SUPERUSER_PASSWORD": PASSWORD}, check=True)
    print(f"The admin is at http://127.0.0.1:{port}/admin/, user demo, password {PASSWORD}.", flush=True)
    return [[*manage, "cti"], [*manage, "runserver", "--noreload", f"127.0.0.1:{port}"]]


def flask(port: int, environment: dict[str, str]) -> list[list[str]]:
    """The programs of the site."""
    command = [sys.executable, "-m", "flask", "--app", str(EXAMPLES / "flask_call_log" / "call_log_site.py")]
    return [[*command, "cti", "run"], [*command, "run", "--port", str(port)]]


def main() -> int:
    """Run it all; 1 if a program of the site has ended by itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("framework", choices=("django", "flask"))
    parser.add_argument("--port", type=int, default=8000, help="0 for a free one (default: %(default)s)")
    parser.add_argument("--seconds", type=float, help="end after so many seconds")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, interrupt)
    port = args.port or free_port()
    with tempfile.TemporaryDirectory() as folder, Simulator() as pbx:
        environment = {
            **os.environ,
            "BASIX_CTI_SERVER": pbx.url,
            "BASIX_CTI_DOMAIN": pbx.domain,
            "BASIX_CTI_TOKEN": pbx.token,
            "CALL_LOG_FILE": os.path.join(folder, "call_log.sqlite3"),
        }
        traffic = pbx.play(calls_per_minute=15, speed=12)
        running: list[subprocess.Popen[bytes]] = []
        failed = False
        try:
            for command in {"django": django, "flask": flask}[args.framework](port, environment):
                running.append(subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL))
            print(f"Calls of a simulated PBX: http://127.0.0.1:{port}/ (end with Ctrl-C)", flush=True)
            failed = wait(running, args.seconds)
        except KeyboardInterrupt:
            pass
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait()
            traffic.stop()
    return 1 if failed else 0


def wait(running: list[subprocess.Popen[bytes]], seconds: float | None) -> bool:
    """Wait for the end of the time; True, before that, if a program ends."""
    ended = threading.Event()

    def watch(process: subprocess.Popen[bytes]) -> None:
        process.wait()
        ended.set()

    for process in running:
        threading.Thread(target=watch, args=(process,), daemon=True).start()
    return ended.wait(seconds)


def free_port() -> int:
    """A TCP port that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def interrupt(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends it as Ctrl-C does."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
