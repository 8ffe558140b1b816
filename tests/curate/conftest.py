"""A writer behind a real local endpoint, which answers by a script: a function of the words of the request."""

import json

import pytest

from metier.engines.generate.open import open_language_model


def answer(handler, body):
    """`script` gives a text, or a text and why it ends; a number is an HTTP error."""
    asked = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
    told = handler.server.script(asked)
    if isinstance(told, int):
        handler._send(told, json.dumps({"error": {"message": "told to fail"}}).encode())
        return
    text, reason = told if isinstance(told, tuple) else (told, "stop")
    choice = {"message": {"role": "assistant", "content": text}, "text": text, "finish_reason": reason}
    said = {"choices": [choice], "usage": {"completion_tokens": len(text.split())}}  # this server's tokens are words
    handler._send(200, json.dumps(said).encode())


@pytest.fixture
def server(served):
    return served(answer)


@pytest.fixture
def writer(server):
    return open_language_model(f"openai://writer@{server.url}")
