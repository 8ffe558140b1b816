"""`report.page`: everything about a run on one page that opens without a network."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from metier.artifacts import Report, Scores
from metier.core.lineage import lineage, stage_folder
from metier.method import method
from metier.report.answers import answers
from metier.report.curves import trainings
from metier.report.forest import groups, retention
from metier.report.funnel import bars, vanished
from metier.report.graph import graph
from metier.report.stages import asked, bill, steps

TEMPLATES = Path(__file__).parent / "templates"
STATUSES = {  # symbol and word: the colour alone must not carry the message
    "specialist": ("check", "A specialist"),
    "cost": ("scales", "At a cost"),
    "no gain": ("equal", "No gain"),
    "worse": ("down", "Worse"),
}


def fingerprint(**settings: Any) -> str:
    """A hash of the templates, which are part of the method though no Python imports them."""
    digest = hashlib.sha256()
    for file in sorted(TEMPLATES.iterdir()):
        digest.update(f"{file.name}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@method(claim="one self-contained page that says whether it is a specialist", fingerprint=fingerprint)
def page(of: list[Scores], *, title: str | None = None, num_samples: int = 10) -> Report:
    """One HTML page: what was asked, the verdict, head-to-head, loss curves, the data funnel, answers, lineage and cost.

    Everything but the scores is read from the records of the stages they came from; for scores made outside a run those parts say that
    nothing is known. Text of models and documents is shown as text, whatever it holds. The page runs no script and loads nothing.
    Settings:
        title: heading of the page; null takes the recipe's name
        num_samples: most answers to show side by side, and most questions on which the models differ; 0 shows none
    """
    if not of:
        raise ValueError("of=[] gives nothing to report: name at least one stage that made scores")
    if num_samples < 0:
        raise ValueError(f"num_samples={num_samples} is no number of answers: give 0 or more")
    records = lineage(*(scores.path for scores in of if scores.path is not None))
    comparisons = [one for scores in of for one in scores.comparisons]
    recipe = next((str(record.facts["recipe"]) for record in reversed(records) if record.facts.get("recipe")), None)
    view = {
        "title": title or recipe or "Head-to-head",
        "asked": [(name, value) for name, value in asked(records) if (name, value) != ("recipe", title or recipe)],
        "verdicts": [scores.verdict for scores in of if scores.verdict is not None],
        "statuses": STATUSES,
        "versus": [_versus(scores) for scores in of if scores.comparisons],
        "groups": groups(comparisons),
        "trainings": trainings(records),
        "bars": bars(records),
        "vanished": vanished(records),
        "answers": answers(of, num_samples),
        "steps": steps(records),
        "graph": graph(records),
        "bill": bill(records),
    }
    return Report(html=render("page.html", view))


def _versus(scores: Scores) -> dict[str, Any]:
    folder = stage_folder(scores.path) if scores.path is not None else None
    name = lineage(folder)[-1].name if folder is not None else ""
    return {"name": name, "groups": groups(scores.comparisons), "retention": retention(scores.comparisons)}


def render(template: str, view: dict[str, Any]) -> str:
    """A template of this folder, filled in."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    html = environment.get_template(template).render(view)
    return html.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair, as in broken file names, is not UTF-8
