"""Show who is calling: number, customer, and how long the call has waited.

Run it with BASIX_CTI_SERVER, BASIX_CTI_DOMAIN and BASIX_CTI_TOKEN set; ``basix-cti simulate`` is a PBX to try it on.
"""

import os
import time

from basix_cti import ApiToken, Call, CTIClient, CTIHandler


class ScreenPop(CTIHandler):
    def on_call_ringing(self, call: Call) -> None:
        self.pop(call, "rings")

    def on_call_answered(self, call: Call) -> None:
        self.pop(call, f"answered by {call.answered_by or 'the PBX'}")

    def pop(self, call: Call, what: str) -> None:
        customer, waited = call.customer, call.wait_time(time.time()) or 0
        who = f"{customer.name}, {customer.organization}" if customer else "no customer"
        print(f"{call.caller.number} ({who}) {what}, waited {waited:.0f} s", flush=True)


if __name__ == "__main__":
    CTIClient(
        os.environ["BASIX_CTI_SERVER"],
        ScreenPop(),
        auth=ApiToken(os.environ["BASIX_CTI_DOMAIN"], os.environ["BASIX_CTI_TOKEN"]),
        app_name="screen-pop",
        full_events=True,
    ).run_forever()
