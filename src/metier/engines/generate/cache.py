"""Answers on disk, by content: what a model has answered once is never asked again, also after an interruption.

One SQLite file for all models and processes. The key is a hash of model, precision, kind, request and settings. Answers with an error
are not kept. A cache that fails makes nothing else fail: a broken file is moved aside, a folder that can't be written is done without.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from metier.models.language_model import Completion, Score

logger = logging.getLogger(__name__)

A = TypeVar("A", Completion, Score)

VERSION = 1  # part of every key: raise it when the meaning of an answer changes
FLUSH_SECONDS = 1.0
FLUSH_ANSWERS = 256
_BUSY_SECONDS = 30.0
_LOOKUP = 500  # keys a query, below SQLite's limit of variables


def key_of(identity: str, kind: str, request: Any, settings: dict[str, Any]) -> str:
    """The hash that an answer is kept under."""
    content = json.dumps([VERSION, identity, kind, request, settings], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


class AnswerCache:
    """Answers in one SQLite file. Connections are opened for each operation: safe for threads, forks and several processes."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._off = False

    def get(self, keys: Iterable[str], answer_type: type[A]) -> dict[Any, A]:
        """The known answers among the keys."""
        wanted, found = list(dict.fromkeys(keys)), dict[Any, A]()
        if self._off or not wanted or not self.file.is_file():
            return found
        try:
            with closing(self._connect()) as connection:
                for start in range(0, len(wanted), _LOOKUP):
                    some = wanted[start : start + _LOOKUP]
                    marks = ",".join("?" * len(some))
                    rows = connection.execute(f"SELECT key, answer FROM answers WHERE key IN ({marks})", some)
                    found |= {key: answer_type(**json.loads(answer)) for key, answer in rows}
        except sqlite3.DatabaseError as error:
            self._failed(error)
        return found

    def put(self, answers: Sequence[tuple[str, Completion | Score]]) -> None:
        """Keeps answers, except those with an error."""
        rows = [(key, json.dumps(asdict(answer))) for key, answer in answers if getattr(answer, "error", None) is None]
        if self._off or not rows:
            return
        for _ in range(2):  # again once a broken file has been moved aside
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                with closing(self._connect()) as connection, connection:
                    connection.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", rows)
                return
            except (sqlite3.DatabaseError, OSError) as error:
                self._failed(error)
                if self._off:
                    return

    def keeping(self, keys: Sequence[str], answers: Iterable[tuple[int, A]]) -> Iterator[tuple[int, A]]:
        """The numbered answers as they come, kept on disk about every second, and when the stream ends or breaks."""
        waiting: list[tuple[str, Completion | Score]] = []
        written = time.monotonic()
        try:
            for number, answer in answers:
                waiting.append((keys[number], answer))
                yield number, answer
                if len(waiting) >= FLUSH_ANSWERS or time.monotonic() - written >= FLUSH_SECONDS:
                    self.put(waiting)
                    waiting, written = [], time.monotonic()
        finally:
            self.put(waiting)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.file, timeout=_BUSY_SECONDS)
        try:
            # Readers and one writer at a time do not wait for each other in this mode.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL) WITHOUT ROWID")
        except sqlite3.DatabaseError:
            connection.close()
            raise
        return connection

    def _failed(self, error: Exception) -> None:
        """Moves a broken file aside, or goes on without a cache where the file is whole but can't be used."""
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            aside = self.file.with_name(f"{self.file.name}.broken-{time.time_ns()}")
            logger.warning("the cache of answers %s is broken (%s): moved to %s, a new one begins", self.file, error, aside.name)
            try:
                self.file.rename(aside)
                for tail in ("-wal", "-shm"):
                    self.file.with_name(self.file.name + tail).unlink(missing_ok=True)
                return
            except FileNotFoundError:  # another process has moved it
                return
            except OSError as failure:
                error = failure
        self._off = True
        logger.warning("answers are not kept on disk: %s can't be used (%s)", self.file, error)
