"""A page that greets $NAME and counts its visitors."""

import itertools
import os
import socket

from flask import Flask, jsonify

app = Flask(__name__)
visits = itertools.count(1)


@app.get("/")
def hello():
    name = os.environ.get("NAME", "World")
    return f"<h1>Hello {name}!</h1>\n<p>{socket.gethostname()}, visit {next(visits)}</p>\n"


@app.get("/healthz")
def healthz():
    return jsonify(status="ok")


if __name__ == "__main__":
    app.run(host="0.0.0.0", port=int(os.environ.get("PORT", "80")))
