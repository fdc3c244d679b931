"""Send a mail for each call from outside that nobody answered.

Run it with BASIX_CTI_SERVER, BASIX_CTI_DOMAIN, BASIX_CTI_TOKEN, SMTP_SERVER (``host:port``), MAIL_FROM and MAIL_TO set;
``basix-cti simulate`` is a PBX to try it on.
"""

import os
import smtplib
from email.message import EmailMessage

from basix_cti import ApiToken, Call, CTIClient, CTIHandler


class MissedCalls(CTIHandler):
    def on_call_ended(self, call: Call) -> None:
        if call.direction == "inbound" and call.outcome in ("missed", "abandoned", "busy"):
            mail = EmailMessage()
            mail["From"], mail["To"] = os.environ["MAIL_FROM"], os.environ["MAIL_TO"]
            mail["Subject"] = " ".join(f"Missed call: {call.caller} for {call.target and call.target.name}".split())
            waited = f"{call.wait_duration or 0:.0f} s"
            mail.set_content(f"Call back: {call.caller.number}\nIt rang at {call.offer_time} for {waited}.\n")
            with smtplib.SMTP(os.environ["SMTP_SERVER"], timeout=10) as server:
                server.send_message(mail)
            print(mail["Subject"], flush=True)


if __name__ == "__main__":
    CTIClient(
        os.environ["BASIX_CTI_SERVER"],
        MissedCalls(),
        auth=ApiToken(os.environ["BASIX_CTI_DOMAIN"], os.environ["BASIX_CTI_TOKEN"]),
        app_name="missed-calls",
        full_events=True,
    ).run_forever()
