"""Settings of the whole suite."""

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import settings

# Machines here are slow and shared: no deadlines; derandomised, so that a failure is the same for everyone.
settings.register_profile("metier", deadline=None, max_examples=40, derandomize=True, database=None)
settings.load_profile("metier")

# One thread a process: tiny models are too small for two, and threads that wait for each other crawl beside other work.
for name, value in {
    "DAFT_PROGRESS_BAR": "0",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
}.items():
    os.environ.setdefault(name, value)


@pytest.fixture(scope="session")
def protocol_server():
    """The module of the server that speaks the OpenAI protocol; tests make handlers of its Handler."""
    spec = importlib.util.spec_from_file_location("protocol_server", Path(__file__).parent / "engines" / "generate" / "server.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def served(monkeypatch, tmp_path, protocol_server):
    """Starts a local endpoint whose answers are `answer(handler, body)`; its cache of answers is its own."""
    monkeypatch.setenv("METIER_CACHE", str(tmp_path / "cache"))
    running = []

    def start(answer):
        class Scripted(protocol_server.Handler):
            def _answer(self, body, trouble):
                answer(self, body)

        server = protocol_server.Server()
        server.RequestHandlerClass = Scripted
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()
