"""A model behind a real local endpoint, which answers chats by a script: a function of the messages."""

import json
import re

import pytest

from metier.engines.generate.open import open_language_model


def answer(handler, body):
    said = handler._chat(handler.server.script(body["messages"]))
    if said["usage"]["completion_tokens"] >= body["max_tokens"]:  # this server's tokens are characters
        said["choices"][0]["finish_reason"] = "length"
    handler._send(200, json.dumps(said).encode())


@pytest.fixture
def server(served):
    return served(answer)


@pytest.fixture
def model(server):
    return open_language_model(f"openai://annotator@{server.url}")


@pytest.fixture
def items_of():
    """The fenced texts of a message, in order."""
    return lambda messages: re.findall(r"<item>\n(.*?)\n</item>", messages[0]["content"], re.DOTALL)
