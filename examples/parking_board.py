"""Keep a board of the parking slots, and print it whenever it changes.

Run it with BASIX_CTI_SERVER, BASIX_CTI_DOMAIN and BASIX_CTI_TOKEN set; ``basix-cti simulate`` is a PBX to try it on.
"""

import logging

from basix_cti import Channel, CTIClient, CTIHandler, ParkInfo
from basix_cti.config import Settings


class ParkingBoard(CTIHandler):
    client: CTIClient

    def on_initial_chan_info(self, channels: list[Channel]) -> None:
        self.show()

    def on_park_info(self, park: ParkInfo) -> None:
        self.show()

    def on_unpark_info(self, park: ParkInfo) -> None:
        self.show()

    def show(self) -> None:
        state = self.client.state
        slots = []
        for uuid, park in state.parked.items():
            channel = state.channels.get(uuid)
            slots.append(f"{park.slot}: {channel.calling_number if channel else '?'} (by {park.parker_name or '?'})")
        print("parked: " + (", ".join(sorted(slots)) or "nobody"), flush=True)


if __name__ == "__main__":
    logging.basicConfig()
    board = ParkingBoard()
    board.client = Settings.load({"app_name": "parking-board", "full_events": True}).client(board)
    board.client.run_forever()
