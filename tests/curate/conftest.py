"""A writer behind a real local endpoint, which answers by a script: a function of the words of the request."""

import importlib.util
import json
from pathlib import Path

import pytest

from metier.engines.generate.open import open_language_model

_file = Path(__file__).parents[1] / "engines" / "generate" / "server.py"
_spec = importlib.util.spec_from_file_location("protocol_server", _file)
protocol_server = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(protocol_server)


class Scripted(protocol_server.Handler):
    """`script` gives a text, or a text and why it ends; a number is an HTTP error."""

    def _answer(self, body, trouble):
        asked = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        told = self.server.script(asked)
        if isinstance(told, int):
            self._send(told, json.dumps({"error": {"message": "told to fail"}}).encode())
            return
        text, reason = told if isinstance(told, tuple) else (told, "stop")
        choice = {"message": {"role": "assistant", "content": text}, "text": text, "finish_reason": reason}
        answer = {"choices": [choice], "usage": {"completion_tokens": len(text.split())}}  # this server's tokens are words
        self._send(200, json.dumps(answer).encode())


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("METIER_CACHE", str(tmp_path / "cache"))
    running = protocol_server.Server()
    running.RequestHandlerClass = Scripted
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def writer(server):
    return open_language_model(f"openai://writer@{server.url}")
