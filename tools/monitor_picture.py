"""``make pictures``: docs/monitor.svg, the monitor of a simulated PBX. The same code gives the same picture.

With an argument, the picture goes there instead.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from board_rig import BoardRig

from basix_cti.board import by_wait, people_order
from basix_cti.cli.screen import Look, draw, picture

WIDTH = 96
WHERE = Path(__file__).parent.parent / "docs" / "monitor.svg"


class Office(BoardRig):
    """A PBX at a busy moment."""

    url = "wss://pbx.example.com/basix/api/ws_cti"


def office() -> Office:
    """Calls that wait, are parked and talk, somebody who is away, voicemail, and what happened before."""
    rig = Office()
    sim = rig.sim
    numbers = iter(dict.fromkeys(customer.number for customer in sim.customers))
    for end in ("hangup", "hangup", "hangup", "abandon", "no_answer", "voicemail"):
        call = sim.call(next(numbers), to="user3")
        rig.wait(7)
        getattr(call.answer() if end == "hangup" else call, end)()
        if end == "voicemail":
            call.hangup()
        rig.wait(35)
    sim.update_user("user12", do_not_disturb_status=1)
    sim.update_member("user7", "group1", login_status=0)
    rig.wait(40)
    sim.call(next(numbers), to="group2").answer("user2")
    sim.call(next(numbers), to="group1").answer("user1")
    rig.wait(31)
    sim.dial("user6", next(numbers)).answer()
    parked = sim.call(next(numbers), to="user11").answer()
    rig.wait(19)
    parked.park(901)
    rig.wait(41)
    sim.call(next(numbers), to="group3")
    rig.wait(26)
    sim.call("user4", to="user8")
    sim.call("0398765432", to="group2")
    rig.wait(9)
    return rig


def main() -> int:
    """Make the picture."""
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
    rig = office()
    told = rig.board.snapshot(rig.time + 0.4)
    told["groups"].sort(key=by_wait)
    told["calls"].sort(key=by_wait)
    told["people"].sort(key=people_order("state"))
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else WHERE
    path.write_text(picture(draw(told, Look(), WIDTH), WIDTH, "basix-cti monitor"), "utf-8")
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
