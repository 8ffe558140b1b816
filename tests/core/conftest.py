import sys
from pathlib import Path

import pytest


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """A function that tells which toys were called so far."""
    monkeypatch.setenv("CALLS", str(tmp_path / "calls.txt"))
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])

    def called() -> list[str]:
        file = tmp_path / "calls.txt"
        return file.read_text().splitlines() if file.is_file() else []

    return called
