"""A small server with OpenAI's chat completions, for tests of the judge: python judge_server.py LOG [OPTIONS].

It prints its port. What it was asked goes to LOG, a JSON line for each request.
"""

import argparse
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("log", type=Path)
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--verdict", default="longer", help="longer, shorter, first, babble, empty or cut")
parser.add_argument("--parts", action="store_true", help="send the content in parts")
parser.add_argument("--refuse", nargs="*", default=[], help="fields of a request that are refused")
parser.add_argument("--fail", type=int, default=0, help="answer this many requests with --status first")
parser.add_argument("--status", type=int, default=429)
parser.add_argument("--retry-after", default="")
parser.add_argument("--die-after", type=int, default=0, help="die after this many answers")
parser.add_argument("--slow", type=float, default=0.0, help="seconds for each answer")
parser.add_argument("--key", default="", help="refuse any other")
options = parser.parse_args()
lock = threading.Lock()
state = {"asked": 0, "answered": 0, "now": 0}


def parts(question: str) -> dict[str, str]:
    """The marked texts of a question, by title."""
    found, title = {}, None
    for line in question.splitlines():
        if line.startswith("=== END OF "):
            title = None
        elif line.startswith("=== ") and title is None:
            title = " ".join(line.split()[1:-2])
            found[title] = ""
        elif title is not None:
            found[title] += line
    return found


def halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


def verdict(question: str) -> str:
    """What a judge of the kind --verdict says."""
    texts = parts(question)
    if options.verdict in ("babble", "empty"):
        return "" if options.verdict == "empty" else "I like both. Score: perhaps four. The verdict is clear."
    if options.verdict == "cut":
        return "<think>\nI could say:\nScore: 4\nVerdict: A\nBut"
    if "ANSWER" in texts:
        return f"It is what it is.\nScore: {min(5, 1 + len(texts['ANSWER'].split()))}"
    if options.verdict == "first":
        return "The first.\nVerdict: A"
    a, b = (len(texts[f"ANSWER {side}"]) for side in "AB")
    longer = "A" if a > b else "B"
    return f"Verdict: **{longer if options.verdict == 'longer' else 'BA'['AB'.index(longer)]}**"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        return

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with lock:
            state["asked"] += 1
            state["now"] += 1
            number = state["asked"]
            entry = {"now": state["now"], "path": self.path, "key": self.headers.get("Authorization"), "body": body}
            with options.log.open("a") as file:
                file.write(json.dumps(entry | {"time": time.monotonic()}) + "\n")
        time.sleep(options.slow)
        with lock:
            state["now"] -= 1
        if options.key and self.headers.get("Authorization") != f"Bearer {options.key}":
            return self.reply(401, {"error": {"message": "Incorrect API key provided"}})
        if number <= options.fail:
            return self.reply(options.status, {"error": {"message": "not now"}})
        with lock:
            state["answered"] += 1
            if options.die_after and state["answered"] > options.die_after:
                os._exit(1)
        refused = [name for name in options.refuse if name in body]
        if refused:
            return self.reply(400, {"error": {"message": f"Unsupported parameter: '{refused[0]}'"}})
        text = verdict(body["messages"][0]["content"])
        content = [{"type": "thinking", "thinking": []}, *({"type": "text", "text": half} for half in halves(text))]
        message = {"role": "assistant", "content": content if options.parts else text}
        usage = {"prompt_tokens": 10, "completion_tokens": 3}
        choice = {"message": message, "finish_reason": "length" if options.verdict == "cut" else "stop"}
        return self.reply(200, {"choices": [choice], "usage": usage})

    def reply(self, status: int, content: object) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        if status != 200 and options.retry_after:
            self.send_header("Retry-After", options.retry_after)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
print(server.server_port, flush=True)
server.serve_forever()
