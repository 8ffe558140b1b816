"""`report.corpus_page`: what became of every document on the way to a clean corpus, on one page that opens without a network."""

from __future__ import annotations

from metier.artifacts import Corpus, Report
from metier.core.lineage import lineage
from metier.method import method
from metier.report.clusters import clusters
from metier.report.funnel import bars, vanished
from metier.report.graph import graph
from metier.report.languages import languages
from metier.report.page import fingerprint, render
from metier.report.stages import asked, bill, steps


@method(claim="shows what each rule removed, so that a person can judge each in a minute", fingerprint=fingerprint)
def corpus_page(of: list[Corpus], *, title: str | None = None, num_samples: int = 8) -> Report:
    """One HTML page: the funnel of every stage, samples of what each rule removed, languages, clusters of copies, lineage and cost.

    Everything is read from the stored tables of the stages that `of` came from. Samples are drawn at random from the first 20,000 rows
    that a stage removed, the same each time. Text of documents is shown as text, whatever it holds; the page runs no script.
    Raises ValueError for corpora that no stage of a run made: of these nothing is known.
    Settings:
        title: heading of the page; null takes the recipe's name
        num_samples: most documents to show of each rule; 0 shows none
    """
    if num_samples < 0:
        raise ValueError(f"num_samples={num_samples} is no number of documents: give 0 or more")
    records = lineage(*(corpus.path for corpus in of if corpus.path is not None))
    if not records:
        raise ValueError(
            "of holds no corpus that a stage made: call this from a recipe, or give corpora opened from a run folder"
        )
    kept = sum(len(corpus) for corpus in of)
    found = bars(records, num_samples)
    view = {
        "title": title or str(records[-1].facts.get("recipe") or "Corpus"),
        "asked": [(name, value) for name, value in asked(records) if name != "recipe"],
        "kept": kept,
        "read": next((bar.total for bar in found if bar.noun == "documents"), kept),
        "bars": found,
        "vanished": vanished(records),
        "languages": languages(of, records),
        "clusters": clusters(records, num_samples),
        "steps": steps(records),
        "graph": graph(records),
        "bill": bill(records),
    }
    return Report(html=render("corpus.html", view))
