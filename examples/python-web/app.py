"""Answers every request with one line: who served it."""

import secrets
import signal
import socket
import sys

from flask import Flask

app = Flask(__name__)
identity = f"{socket.gethostname()}/{secrets.token_hex(4)}"


@app.get("/", defaults={"path": ""})
@app.get("/<path:path>")
def serve(path):
    return f"Served by {identity}\n", {"Content-Type": "text/plain; charset=utf-8"}


if __name__ == "__main__":
    # The first process of a container has no default action for SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    app.run(host="0.0.0.0", port=80, threaded=True)
