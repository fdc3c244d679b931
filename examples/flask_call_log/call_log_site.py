"""A call log in Flask. ``flask cti run`` writes each call into SQLite, and the web server shows them.

Run both with BASIX_CTI_SERVER, BASIX_CTI_DOMAIN and BASIX_CTI_TOKEN set::

    flask --app call_log_site cti run
    flask --app call_log_site run
"""

import os
import sqlite3
from pathlib import Path
from typing import Any

from flask import Flask, current_app, g, render_template

from basix_cti import Call, Channel
from basix_cti.contrib.flask import CTI

TABLE = """
CREATE TABLE IF NOT EXISTS calls (
    id TEXT PRIMARY KEY,
    offered TEXT,
    caller TEXT,
    number TEXT,
    called TEXT,
    answered_by TEXT,
    state TEXT,
    outcome TEXT,
    waited REAL
)
"""
WRITE = "INSERT OR REPLACE INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"

cti = CTI()


@cti.on_call_ringing
@cti.on_call_answered
@cti.on_call_parked
@cti.on_call_transferred
@cti.on_call_ended
def write(call: Call) -> None:
    """Write the row of a call, whether there is one or not."""
    row = (
        call.id,
        call.offer_time and call.offer_time.isoformat(" ", "seconds"),
        str(call.caller),
        call.caller.number,
        call.target and (call.target.name or call.target.address),
        call.answered_by and str(call.answered_by),
        call.state,
        call.outcome,
        call.wait_duration,
    )
    with database():
        database().execute(WRITE, row)


@cti.on_initial_chan_info
def start_over(channels: list[Channel]) -> None:
    """After a start: calls that ended while nobody listened are over; how, nobody knows. Those that are up are not."""
    up = cti.client.calls
    marks = ", ".join("?" for _ in up)
    with database():
        database().execute(f"UPDATE calls SET state = 'ended' WHERE id NOT IN ({marks})", [call.id for call in up])
    for call in up:
        write(call)


def database() -> sqlite3.Connection:
    """The connection of this application context: of a request, or of an event."""
    if "database" not in g:
        g.database = sqlite3.connect(current_app.config["CALL_LOG_FILE"], timeout=20)
        g.database.row_factory = sqlite3.Row
    connection: sqlite3.Connection = g.database
    return connection


def close_database(error: BaseException | None = None) -> None:
    """Close it at the end of the context."""
    if "database" in g:
        g.pop("database").close()


def page() -> str:
    """The latest calls; the page loads itself anew every two seconds."""
    calls = database().execute("SELECT * FROM calls ORDER BY offered DESC, id LIMIT 50").fetchall()
    return render_template("page.html", calls=calls)


def create_app(**config: Any) -> Flask:
    """The application; ``config`` changes its configuration."""
    app = Flask(__name__)
    app.config.update(
        CALL_LOG_FILE=os.environ.get("CALL_LOG_FILE", Path(__file__).with_name("call_log.sqlite3")),
        BASIX_CTI_APP_NAME="call-log",
        BASIX_CTI_FULL_EVENTS=True,
    )
    app.config.update(config)
    app.add_url_rule("/", view_func=page)
    app.teardown_appcontext(close_database)
    cti.init_app(app)
    with app.app_context(), database():
        database().execute(TABLE)
    return app
