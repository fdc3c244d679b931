"""Use the hooks with a WebSocket of your own: here, websocket-client's simplest form.

Run it with BASIX_CTI_SERVER (a ws:// URL), BASIX_CTI_DOMAIN and BASIX_CTI_TOKEN set; ``basix-cti simulate`` is a PBX to
try it on. Connecting again is up to you; the parser finds what was missed meanwhile.
"""

import base64
import os
import time

import websocket

from basix_cti import Channel, CTIHandler, MessageParser


class Screen(CTIHandler):
    def on_initial_chan_info(self, channels: list[Channel]) -> None:
        print(f"{len(channels)} channels are up", flush=True)

    def on_chan_info(self, channel: Channel) -> None:
        print(channel.uuid, "ended" if channel.is_hung_up else channel.last_event, flush=True)


def main() -> None:
    login = f"{os.environ['BASIX_CTI_DOMAIN']}:{os.environ['BASIX_CTI_TOKEN']}"
    header = "Authorization: Basic " + base64.b64encode(login.encode()).decode()
    url = os.environ["BASIX_CTI_SERVER"] + "/basix/api/ws_cti?app_name=own&full_events=true"
    parser = MessageParser(Screen())
    while True:
        ws = websocket.create_connection(url, header=[header], timeout=60)
        parser.connection_made()
        try:
            while True:
                frame = ws.recv()
                if isinstance(frame, bytes):
                    parser.handle_message(frame)
        except (websocket.WebSocketException, OSError):
            parser.connection_lost()
            time.sleep(1)


if __name__ == "__main__":
    main()
