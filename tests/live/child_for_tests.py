"""A child process with the supervisor's protocol and nothing else; what it does is in the variable EDGESIM_TEST_CHILD."""

import json
import os
import signal
import sys
from pathlib import Path


def say(document):
    """One line of the protocol."""
    print(json.dumps(document), flush=True)


role, path = sys.argv[1], sys.argv[3]
config = json.loads(Path(path).read_text())
behaviour = json.loads(os.environ.get("EDGESIM_TEST_CHILD", "{}")).get(config["name"], "serve")
print(f"{config['name']} starts", file=sys.stderr)
order = Path(config["state_dir"], "order.txt")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
if behaviour == "refuse":
    say({"error": {"code": "E0306", "message": "no broker", "help": "install one"}})
    sys.exit(1)
if behaviour == "crash":
    sys.exit("boom: something is missing")
if behaviour == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if behaviour == "noisy":
    print("not json\n" + "x" * 200_000, flush=True)
with order.open("a") as file:
    file.write(f"start {config['name']}\n")
say({"ready": True, "pid": os.getpid(), "urls": {"data": f"http://127.0.0.1:1/{role}"}})
try:
    while True:
        signal.pause()
finally:
    with order.open("a") as file:
        file.write(f"end {config['name']}\n")
