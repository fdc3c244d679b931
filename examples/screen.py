"""Print every call: who calls whom, and how it ends.

Run it with BASIX_CTI_SERVER, BASIX_CTI_DOMAIN and BASIX_CTI_TOKEN set; ``basix-cti simulate`` is a PBX to try it on.
"""

import logging

from basix_cti import Channel, CTIHandler
from basix_cti.config import Settings


class Screen(CTIHandler):
    def on_initial_chan_info(self, channels: list[Channel]) -> None:
        self.show(f"{len(channels)} channels are up")

    def on_chan_info(self, channel: Channel) -> None:
        if channel.direction != "inbound":  # a leg that the PBX offers to one of its users
            return
        customer = channel.end_user.items[0].name if channel.end_user and channel.end_user.items else None
        who = customer or channel.calling_name or channel.calling_number
        if channel.is_hung_up:
            self.show(f"{who}: ended, {channel.hangup_cause or 'cause unknown'}")
        elif channel.last_event == "NEW_CHANNEL":
            self.show(f"{who}: calls {channel.called_number}")
        elif channel.last_event == "CHANNEL_ANSWER":
            self.show(f"{who}: answered after {channel.wait_duration} s")

    def show(self, line: str) -> None:
        print(line, flush=True)


if __name__ == "__main__":
    logging.basicConfig()
    Settings.load({"app_name": "screen", "full_events": True}).client(Screen()).run_forever()
