"""A real HTTP server that speaks OpenAI's protocol, and fails when told to. Its language model knows bytes only."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def byte_logprob(text: str, index: int) -> float:
    """The log-probability of the character at `index`: -1 for a repeated character, -3 for another."""
    return -1.0 if text[index] == text[index - 1] else -3.0


class Server(ThreadingHTTPServer):
    """`plan` holds what happens to the next requests, one word each: 429, 500, 401, drop, garbage, slow; then all is well."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan: list[str] = []
        self.retry_after: str | None = None
        self.echoes = True
        self.refuses_max_tokens = False
        self.seen: list[dict] = []
        self.keys: list[str | None] = []
        self.times: list[float] = []
        self.paths: Counter[str] = Counter()
        self.now = self.most = 0
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request, client_address) -> None:
        """Clients that went away are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *arguments) -> None: ...

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.times.append(time.monotonic())
            self.server.seen.append(body)
            self.server.keys.append(self.headers.get("Authorization"))
            self.server.paths[self.path] += 1
            trouble = self.server.plan.pop(0) if self.server.plan else ""
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        try:
            time.sleep(0.01)
            self._answer(body, trouble)
        finally:
            with self.server.lock:
                self.server.now -= 1

    def _answer(self, body: dict, trouble: str) -> None:
        if trouble == "drop":
            self.close_connection = True
            self.connection.close()
        elif trouble == "garbage":
            self._send(200, b'{"choices": [{"text": "hal')
        elif trouble == "shapeless":
            self._send(200, b'{"object": "other"}')
        elif trouble == "slow":
            time.sleep(0.5)
            self._send(200, json.dumps(self._chat("late")).encode())
        elif trouble:
            self._send(int(trouble), json.dumps({"error": {"message": f"told to say {trouble}"}}).encode())
        elif self.server.refuses_max_tokens and "max_tokens" in body:
            self._send(400, json.dumps({"error": {"message": "use 'max_completion_tokens' instead"}}).encode())
        elif self.path.endswith("/chat/completions"):
            self._send(200, json.dumps(self._chat(body["messages"][-1]["content"].upper())).encode())
        else:
            self._send(200, json.dumps(self._completion(body)).encode())

    def _chat(self, text: str) -> dict:
        message = {"role": "assistant", "content": text}
        return {"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"completion_tokens": len(text)}}

    def _completion(self, body: dict) -> dict:
        prompt = body["prompt"]
        if not body.get("echo"):
            return {"choices": [{"text": prompt[::-1], "finish_reason": "length"}], "usage": {"completion_tokens": len(prompt)}}
        if not self.server.echoes:
            return {"choices": [{"text": "", "logprobs": None, "finish_reason": "length"}]}
        logprobs = {
            "tokens": list(prompt),
            "token_logprobs": [None, *(byte_logprob(prompt, i) for i in range(1, len(prompt)))],
            "top_logprobs": [None, *({prompt[i - 1]: -1.0} for i in range(1, len(prompt)))],
            "text_offset": list(range(len(prompt))),
        }
        return {"choices": [{"text": prompt, "logprobs": logprobs, "finish_reason": "length"}]}

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status in (429, 503) and self.server.retry_after is not None:
            self.send_header("Retry-After", self.server.retry_after)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
