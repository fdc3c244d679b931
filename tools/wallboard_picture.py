"""``make pictures``: docs/wallboard.png and docs/wallboard-telephone.png, of an hour of a simulated PBX."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from board_rig import BoardRig
from chromium import MISSING, start_chromium
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from basix_cti import ApiToken, CTIClient
from basix_cti.board import Board
from basix_cti.simulator import Traffic
from basix_cti.simulator.wire import CurrentWire
from basix_cti.wallboard import Wallboard
from basix_cti.wallboard.history import STEP

DOCS = Path(__file__).parent.parent / "docs"
HOUR = 3600.0
PICTURES = (
    ("wallboard.png", {"width": 1920, "height": 1080, "deviceScaleFactor": 1, "mobile": False}, "en", "dark"),
    ("wallboard-telephone.png", {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}, "ja", "light"),
)


def hour(rig: BoardRig, wallboard: Wallboard) -> None:
    """Play the hour up to this moment, as fast as possible."""
    end = time.time()
    rig.now = round((end - HOUR) * 1_000_000)
    rig.connect()
    traffic = Traffic(rig.sim, calls_per_minute=5)
    begin = rig.time
    for second in range(int(HOUR)):
        while traffic.next_second <= second:
            traffic.step()
        rig.now = round((begin + second) * 1_000_000)
        rig.sim.run_due()
        if not second % STEP:
            wallboard._feed._history.take(rig.board.header(rig.time))
    numbers = iter(dict.fromkeys(customer.number for customer in rig.sim.customers))
    for group, ago in (("group1", 71), ("group2", 32), ("group2", 9)):
        rig.now = round((end - ago) * 1_000_000)
        rig.sim.call(next(numbers), to=group)


def main() -> int:
    """Make the pictures."""
    if MISSING is not None:
        sys.stderr.write(f"{MISSING}\n")
        return 1
    rig = BoardRig(CurrentWire)
    client = CTIClient("pbx.example.com", Board(), auth=ApiToken("example", "none"), app_name="picture")
    with Wallboard(client, rig.board, port=0) as wallboard:
        hour(rig, wallboard)
        driver = start_chromium()
        try:
            for name, size, language, theme in PICTURES:
                driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
                driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Tokyo"})
                driver.get(wallboard.url)
                driver.add_cookie({"name": "language", "value": language})
                driver.add_cookie({"name": "theme", "value": theme})
                driver.get(wallboard.url)
                WebDriverWait(driver, 20).until(lambda _: driver.find_elements(By.CSS_SELECTOR, "#history .line"))
                (DOCS / name).write_bytes(driver.get_screenshot_as_png())
                sys.stdout.write(f"{DOCS / name}\n")
        finally:
            driver.quit()
    return 0


if __name__ == "__main__":
    sys.exit(main())
