"""Tell of each call from outside that nobody answered: by a webhook, such as that of a chat room, or by mail.

Run it with BASIX_CTI_SERVER, BASIX_CTI_DOMAIN and BASIX_CTI_TOKEN set, and with WEBHOOK_URL, or with SMTP_SERVER
(``host:port``), MAIL_FROM and MAIL_TO; ``basix-cti simulate`` is a PBX to try it on.
"""

import json
import logging
import os
import smtplib
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage

from basix_cti import Call, CTIHandler
from basix_cti.config import Settings

logger = logging.getLogger(__name__)


class MissedCalls(CTIHandler):
    def __init__(self) -> None:
        self.sender = ThreadPoolExecutor(1)  # so that a slow mail server does not hold up the hooks

    def on_call_ended(self, call: Call) -> None:
        if call.direction == "inbound" and call.outcome in ("missed", "abandoned", "busy"):
            subject = " ".join(f"Missed call: {call.caller} for {call.target and call.target.name}".split())
            waited = f"{call.wait_duration or 0:.0f} s"
            text = f"Call back: {call.caller.number}\nIt rang at {call.offer_time} for {waited}.\n"
            self.sender.submit(self.send, subject, text)

    def send(self, subject: str, text: str) -> None:
        try:
            post(subject, text) if "WEBHOOK_URL" in os.environ else mail(subject, text)
            print(subject, flush=True)
        except (OSError, smtplib.SMTPException) as problem:
            logger.warning("not sent: %s: %s", subject, problem)


def post(subject: str, text: str) -> None:
    body = json.dumps({"text": f"{subject}\n{text}"}).encode()
    request = urllib.request.Request(os.environ["WEBHOOK_URL"], body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()


def mail(subject: str, text: str) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = os.environ["MAIL_FROM"], os.environ["MAIL_TO"], subject
    message.set_content(text)
    with smtplib.SMTP(os.environ["SMTP_SERVER"], timeout=10) as server:
        server.send_message(message)


if __name__ == "__main__":
    logging.basicConfig()
    Settings.load({"app_name": "missed-calls", "full_events": True}).client(MissedCalls()).run_forever()
