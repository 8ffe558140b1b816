"""A model behind a real local endpoint, which answers chats by a script: a function of the messages."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from metier.engines.generate.open import open_language_model

_file = Path(__file__).parents[1] / "engines" / "generate" / "server.py"
_spec = importlib.util.spec_from_file_location("protocol_server", _file)
protocol_server = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(protocol_server)


class Scripted(protocol_server.Handler):
    def _answer(self, body, trouble):
        said = self._chat(self.server.script(body["messages"]))
        if said["usage"]["completion_tokens"] >= body["max_tokens"]:  # this server's tokens are characters
            said["choices"][0]["finish_reason"] = "length"
        self._send(200, json.dumps(said).encode())


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("METIER_CACHE", str(tmp_path / "cache"))
    running = protocol_server.Server()
    running.RequestHandlerClass = Scripted
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def model(server):
    return open_language_model(f"openai://annotator@{server.url}")


@pytest.fixture
def items_of():
    """The fenced texts of a message, in order."""
    return lambda messages: re.findall(r"<item>\n(.*?)\n</item>", messages[0]["content"], re.DOTALL)
