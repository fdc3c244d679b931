"""Tell a CRM over HTTP who is calling, so that it shows the customer before anybody answers.

Each call from outside is POSTed to CRM_URL, as JSON, when it rings, when it is answered and when it has ended.
Run it with CRM_URL, BASIX_CTI_SERVER, BASIX_CTI_DOMAIN and BASIX_CTI_TOKEN set; try it on ``basix-cti simulate``.
"""

import json
import logging
import os
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from basix_cti import Call, CTIHandler
from basix_cti.config import Settings

logger = logging.getLogger(__name__)


class ScreenPop(CTIHandler):
    def __init__(self, url: str) -> None:
        self.url = url
        self.sender = ThreadPoolExecutor(1)  # so that a slow CRM does not hold up the hooks

    def on_call_ringing(self, call: Call) -> None:
        self.tell("ringing", call)

    def on_call_answered(self, call: Call) -> None:
        self.tell("answered", call)

    def on_call_ended(self, call: Call) -> None:
        self.tell("ended", call)

    def tell(self, what: str, call: Call) -> None:
        if call.direction == "inbound":
            body: dict[str, object] = {
                "event": what,
                "call": call.id,
                "number": call.caller.number,
                "name": str(call.caller),
                "customer": call.customer and call.customer.id,
                "target": call.target and call.target.name,
                "answered_by": call.answered_by and call.answered_by.user_name,
                "outcome": call.outcome,
            }
            self.sender.submit(self.post, body)

    def post(self, body: dict[str, object]) -> None:
        request = urllib.request.Request(self.url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            urllib.request.urlopen(request, timeout=10).close()
            print(body["event"], body["name"], flush=True)
        except OSError as problem:
            logger.warning("%s was not told of %s: %s", self.url, body["call"], problem)


if __name__ == "__main__":
    logging.basicConfig()
    settings = Settings.load({"app_name": "screen-pop", "full_events": True})
    settings.client(ScreenPop(os.environ["CRM_URL"])).run_forever()
