"""Is it a specialist? The answer in one sentence, from the comparisons alone."""

from __future__ import annotations

from collections.abc import Sequence

from metier.artifacts.comparison import Comparison, Verdict

POOLED = {"acquired": "all questions on its documents", "held_out": "all questions on documents held out"}


def verdict(comparisons: Sequence[Comparison]) -> Verdict:
    """specialist: something of the domain is better and nothing is worse; cost: better in the domain, and something is worse;
    worse: something of the domain is worse and nothing better; no gain: the rest."""
    domain = [found for found in comparisons if found.role != "general"]
    general = [found for found in comparisons if found.role == "general"]
    better = [found for found in domain if found.outcome == "better"]
    worse = [found for found in domain if found.outcome == "worse"]
    lost = [found for found in general if found.outcome == "worse"]
    kept = (
        f"none of {len(general)} general abilities fell beyond its interval" if general else "general abilities were not examined"
    )
    if lost:
        kept = "it lost " + " and ".join(f"{found.task} ({_values(found)})" for found in lost)
    if better and not worse and not lost:
        return Verdict("specialist", f"A specialist: {_list(better)}; {kept}.")
    if better:
        also = f"worse at {_list(worse)}; " if worse else ""
        return Verdict("cost", f"A specialist at a price: {_list(better)}; {also}{kept}.")
    if not domain:
        return Verdict("no gain", f"Nothing of its domain was examined, so whether it is a specialist is open; {kept}.")
    if worse:
        return Verdict("worse", f"Not a specialist, it got worse: {_list(worse)}; {kept}.")
    return Verdict("no gain", f"Not a specialist: nothing in its domain differs from its base beyond the intervals; {kept}.")


def _list(comparisons: Sequence[Comparison]) -> str:
    """The comparisons in words; where a role's questions are pooled, the pool speaks for its parts."""
    pooled = {found.role for found in comparisons if found.task in POOLED.values()}
    told = [found for found in comparisons if found.chance is None or found.role not in pooled or found.task in POOLED.values()]
    return ", ".join(f"{found.task} {_values(found)}" for found in told)


def _values(found: Comparison) -> str:
    if found.metric == "bits per byte":
        return f"{found.candidate:.3f} instead of {found.base:.3f} bits per byte"
    return f"{found.candidate:.1%} instead of {found.base:.1%}"
