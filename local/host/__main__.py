"""`python -m local.host`: runs the function app in a folder until SIGTERM or Ctrl-C.

On either it fetches nothing more, lets what is running end, and exits with status 0. A wrong app, host.json or setting
ends it at once with status 2 and the remedy.
"""

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from dropsweep.errors import ConfigError
from dropsweep.signals import set_on
from local.host.server import Host


def main() -> int:
    """Runs the host; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local.host", description="Runs an Azure Functions app here.")
    parser.add_argument("--app", type=Path, default=Path.cwd(), help="folder of function_app.py and host.json")
    parser.add_argument("--port", type=int, default=7071, help="port of HTTP functions; 0 takes any free one")
    parser.add_argument(
        "--often",
        default="",
        metavar="QUEUE",
        help="look into it five times a second when it is empty, and after each function, whatever host.json says",
    )
    options = parser.parse_args()
    # As the real worker: everything from INFO up, which is why the SDK's own log of each request must be turned down.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stdout)
    logging.getLogger("azure").setLevel(logging.WARNING)
    # More threads than pooled connections is no fault: the surplus ones are closed after use.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    stopping = threading.Event()
    set_on(stopping, (signal.SIGTERM, signal.SIGINT), lambda number: logging.info("%s: ending", number.name))
    try:
        host = Host.load(options.app.resolve(), os.environ, port=options.port, stopping=stopping, often=options.often)
    except ConfigError as error:
        print(f"The function host cannot start: {error}", file=sys.stderr)
        return 2
    host.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
