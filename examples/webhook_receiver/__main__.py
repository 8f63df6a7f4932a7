"""python -m examples.webhook_receiver --port 8765 --database FILE"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

import uvicorn

from examples.webhook_receiver.received_states import ReceivedStates
from examples.webhook_receiver.webhook_app import receiver_app


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.webhook_receiver")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--database", type=Path, default=Path("webhook_receiver.sqlite"))
    given = parser.parse_args()
    secrets = os.environ.get("REGUA_WEBHOOK_SECRET", "").split()
    if not secrets:
        sys.exit("REGUA_WEBHOOK_SECRET is not set: it holds the secret that régua signs with, or several.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    app = receiver_app(secrets, ReceivedStates(given.database))
    uvicorn.run(app, host="127.0.0.1", port=given.port, log_config=None, access_log=False)


if __name__ == "__main__":
    main()
