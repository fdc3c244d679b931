"""Write each call that has ended into a table of an SQLite database, and into a CSV file.

Run it with BASIX_CTI_SERVER, BASIX_CTI_DOMAIN and BASIX_CTI_TOKEN set; ``basix-cti simulate`` is a PBX to try it on.
The files are CALL_LOG.sqlite and CALL_LOG.csv, where CALL_LOG is ``calls`` if it is not set.
"""

import csv
import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from basix_cti import Call, CTIHandler
from basix_cti.config import Settings

COLUMNS = ("id", "began", "direction", "caller", "customer", "target", "answered_by", "outcome", "waited", "talked")


class CallLog(CTIHandler):
    def __init__(self, database: Path, table: Path) -> None:
        self.database, self.table = database, table
        with closing(sqlite3.connect(database)) as connection:
            connection.execute(f"CREATE TABLE IF NOT EXISTS calls ({', '.join(COLUMNS)}, UNIQUE (id, began))")
        if not table.exists():
            table.write_text(",".join(COLUMNS) + "\n", "utf-8")

    def on_call_ended(self, call: Call) -> None:
        row = (
            call.id,
            call.offer_time and call.offer_time.isoformat(timespec="seconds"),
            call.direction,
            call.caller.number,
            call.customer and call.customer.name,
            call.target and call.target.name,
            call.answered_by and call.answered_by.user_name,
            call.outcome,  # None where it lay in a gap, and cannot be known; so are the seconds
            call.wait_duration,
            call.talk_duration,
        )
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute(f"INSERT OR REPLACE INTO calls VALUES ({', '.join('?' * len(row))})", row)
        with self.table.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(row)
        print(*row[3:8], flush=True)


if __name__ == "__main__":
    logging.basicConfig()
    name = os.environ.get("CALL_LOG", "calls")
    handler = CallLog(Path(f"{name}.sqlite"), Path(f"{name}.csv"))
    Settings.load({"app_name": "call-log", "full_events": True}).client(handler).run_forever()
