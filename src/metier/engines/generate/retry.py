"""JSON over HTTP that does not give up at the first trouble: retries with backoff, and the server's own wish to wait respected."""

from __future__ import annotations

import email.utils
import json
import logging
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

logger = logging.getLogger(__name__)

RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
LONGEST_PAUSE_SECONDS = 60.0
LONGEST_RETRY_AFTER_SECONDS = 600.0


class RequestError(Exception):
    """The final word on a request, after all retries. `status` is None where no whole answer came."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class RetryingClient:
    """Posts JSON and returns JSON; safe to share between threads.

    attempts: how often a request is sent at most
    first_pause_seconds: about the pause before the second attempt; it doubles from attempt to attempt
    stopping: set it, and threads that wait give up at once
    """

    client: httpx.Client
    attempts: int = 8
    first_pause_seconds: float = 0.5
    stopping: threading.Event = field(default_factory=threading.Event)
    _random: random.Random = field(default_factory=random.Random)  # jitter: it changes no answer
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _resume_at: float = 0.0  # no request of any thread is sent before, in monotonic seconds
    _out_of_reach: bool = False  # a request has failed for good, and none succeeded since

    def post(self, path: str, payload: dict[str, Any]) -> dict[str, Any]:
        """The server's JSON object. Raises RequestError with the last reason."""
        for attempt in range(1, self.attempts + 1):
            self._wait()
            if self.stopping.is_set():
                raise RequestError("stopped before it was sent")
            try:
                answer = self._once(path, payload)
                self._out_of_reach = False
                return answer
            except _RetryableError as trouble:
                # When a whole round of retries was in vain, the other requests need not each go through one.
                if attempt == self.attempts or self._out_of_reach or (trouble.wait or 0) > LONGEST_RETRY_AFTER_SECONDS:
                    self._out_of_reach = True
                    tried = f" (tried {attempt} times)" if attempt > 1 else ""
                    raise RequestError(f"{trouble}{tried}", trouble.status) from trouble
                self._pause(trouble, attempt)
        raise AssertionError("attempts is at least 1")

    def _once(self, path: str, payload: dict[str, Any]) -> dict[str, Any]:
        try:
            response = self.client.post(path, json=payload)
        except httpx.TransportError as error:
            raise _RetryableError(f"{type(error).__name__}: {error}") from error
        if response.status_code in RETRIED:
            raise _RetryableError(_reason(response), response.status_code, _retry_after(response))
        if response.is_error or response.is_redirect:
            raise RequestError(_reason(response), response.status_code)
        try:
            answer = response.json()
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise _RetryableError(f"the answer is no JSON: {response.text[:80]!r}") from error
        if not isinstance(answer, dict):
            raise _RetryableError(f"the answer is no JSON object: {response.text[:80]!r}")
        return answer

    def _pause(self, trouble: _RetryableError, attempt: int) -> None:
        pause = min(self.first_pause_seconds * 2 ** (attempt - 1), LONGEST_PAUSE_SECONDS) * self._random.uniform(0.5, 1.5)
        logger.info("attempt %d: %s; again in %.1f s", attempt, trouble, trouble.wait if trouble.wait is not None else pause)
        if trouble.wait is None:
            self.stopping.wait(pause)
            return
        with self._lock:  # a server that names a time means everybody
            self._resume_at = max(self._resume_at, time.monotonic() + trouble.wait)

    def _wait(self) -> None:
        while (left := self._resume_at - time.monotonic()) > 0 and not self.stopping.wait(left):
            pass


class _RetryableError(Exception):
    """A failure that may pass. wait: seconds that the server asked for, None where it did not."""

    def __init__(self, message: str, status: int | None = None, wait: float | None = None) -> None:
        super().__init__(message)
        self.status, self.wait = status, wait


def _reason(response: httpx.Response) -> str:
    try:
        body = response.json()
        error = body.get("error", body)
        message = error.get("message", error) if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        message = response.text
    return f"HTTP {response.status_code}: {str(message)[:300]}"


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds from the Retry-After header, which holds a number or a date."""
    value = response.headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
