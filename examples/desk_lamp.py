"""Show with a lamp on a desk whether its owner may be disturbed: red on the telephone, yellow when it rings.

Run it with LAMP_URL, BASIX_CTI_USER_EXTENSION (the owner), BASIX_CTI_SERVER, BASIX_CTI_DOMAIN and BASIX_CTI_TOKEN set;
``basix-cti simulate`` is a PBX to try it on. The lamp is one that takes ``{"color": "red"}`` by an HTTP PUT. It follows
the owner's channels: what the numbers in ``User.presence`` mean is known only to whoever set up the PBX.
"""

import json
import logging
import os
import urllib.request

from basix_cti import CTIClient, CTIHandler, Element
from basix_cti.config import Settings
from basix_cti.errors import ConnectionLost


class DeskLamp(CTIHandler):
    client: CTIClient
    color = ""

    def __init__(self, url: str, extension: str) -> None:
        self.url, self.extension = url, extension

    def on_initial_info(self, element: str, items: list[Element]) -> None:
        self.show(self.color_now())

    def on_info_event(self, element: str, item: Element, event: str) -> None:
        self.show(self.color_now())

    def on_disconnect(self, reason: ConnectionLost) -> None:
        self.show("off")  # nobody knows

    def color_now(self) -> str:
        users = self.client.state.users.values()
        me = next((user for user in users if user.main_extension == self.extension), None)
        mine = [channel for channel in self.client.state.channels.values() if me and channel.user_id == me.id]
        if any(channel.answer_timestamp for channel in mine):
            return "red"
        if mine:
            return "yellow"
        return "purple" if me and me.do_not_disturb_status else "green"

    def show(self, color: str) -> None:
        if color != self.color:
            body = json.dumps({"color": color}).encode()
            urllib.request.urlopen(urllib.request.Request(self.url, body, method="PUT"), timeout=2).close()
            self.color = color
            print(color, flush=True)


if __name__ == "__main__":
    logging.basicConfig()
    lamp = DeskLamp(os.environ["LAMP_URL"], os.environ["BASIX_CTI_USER_EXTENSION"])
    lamp.client = Settings.load({"app_name": "desk-lamp"}).client(lamp)
    lamp.client.run_forever()
