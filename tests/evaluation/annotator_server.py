"""A server that answers as AlpacaEval's annotator does, for tests: python annotator_server.py LOG [OPTIONS].

It prints its port. Of two outputs it prefers each with a probability of its share of their characters, and says so with
the log-probabilities of one token, m for the first and M for the second. What it was asked goes to LOG, a JSON line for
each request.
"""

import argparse
import json
import math
import os
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

parser = argparse.ArgumentParser()
parser.add_argument("log", type=Path)
parser.add_argument("--nonsense", type=int, default=0, help="answer every n-th request with neither m nor M")
parser.add_argument("--die-after", type=int, default=0, help="die after this many answers")
parser.add_argument("--slow", type=float, default=0.0, help="seconds for each answer")
parser.add_argument("--key", default="", help="refuse any other, and repeat it")
parser.add_argument("--silent", action="store_true", help="send no log-probabilities")
options = parser.parse_args()
lock = threading.Lock()
state = {"asked": 0, "answered": 0}
OUTPUT = r'"model_identifier": "{}",\s+"output": """(.*?)"""'


def likely(question: str) -> dict[str, float]:
    """How likely each token is."""
    first, second = (len(re.findall(OUTPUT.format(name), question, re.DOTALL)[-1]) for name in "mM")
    return {"m": first / (first + second), "M": second / (first + second), "The": 1e-9}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        return

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers.get("Authorization")
        with lock:
            state["asked"] += 1
            number = state["asked"]
            with options.log.open("a") as file:
                file.write(json.dumps({"key": key, "body": body}) + "\n")
        time.sleep(options.slow)
        if options.key and key != f"Bearer {options.key}":
            return self.reply(401, {"error": {"message": f"Incorrect API key provided: {key}"}})
        with lock:
            state["answered"] += 1
            if options.die_after and state["answered"] > options.die_after:
                os._exit(1)
        chances = likely(body["messages"][-1]["content"])
        if options.nonsense and number % options.nonsense == 0:
            chances = {"Both": 0.9, "Neither": 0.1}
        top = [{"token": t, "logprob": math.log(p) if p else -100.0, "bytes": None} for t, p in chances.items()]
        token = max(chances, key=lambda name: chances[name])
        content = [{"token": token, "logprob": math.log(chances[token]), "bytes": None, "top_logprobs": top}]
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": token},
            "finish_reason": "length",
            "logprobs": None if options.silent else {"content": content},
        }
        usage = {"prompt_tokens": 999, "completion_tokens": 1, "total_tokens": 1000}
        said = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"]}
        return self.reply(200, said | {"choices": [choice], "usage": usage})

    def reply(self, status: int, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
