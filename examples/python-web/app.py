"""Answers every request with one line: who served it."""

import signal
import sys

# The first process of a container has no default action for SIGTERM. Said before the slow imports, so that a pod that is
# deleted while it starts ends at once.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

import secrets  # noqa: E402
import socket  # noqa: E402

from flask import Flask  # noqa: E402

app = Flask(__name__)
identity = f"{socket.gethostname()}/{secrets.token_hex(4)}"


@app.get("/", defaults={"path": ""})
@app.get("/<path:path>")
def serve(path):
    return f"Served by {identity}\n", {"Content-Type": "text/plain; charset=utf-8"}


if __name__ == "__main__":
    app.run(host="0.0.0.0", port=80, threaded=True)
