"""When so many questions failed that what is left is no measurement."""

from __future__ import annotations

import logging
from collections.abc import Sequence

logger = logging.getLogger(__name__)

MOST_FAILURES = 0.05  # share that may fail before a value would be about something else


def check_failures(failures: Sequence[str | None], what: str) -> None:
    """Warns of those that failed, of which a failure says why (None for none). Raises RuntimeError for more than 5% of them."""
    known = [failure for failure in failures if failure is not None]
    if known:
        logger.warning("%d of %d %s failed and count as wrong; the first: %s", len(known), len(failures), what, known[0])
    if len(known) > MOST_FAILURES * len(failures):
        raise RuntimeError(f"{len(known)} of {len(failures)} {what} failed, too many for a value; the first: {known[0]}")
