import dataclasses
import json
import pickle
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from metier.artifacts import Report, Scores, Verdict
from metier.core.plan import plan
from metier.core.recipe import parse
from metier.core.run import run
from metier.report.page import TEMPLATES, page

SECTIONS = ["head-to-head", "training", "documents", "answers", "lineage", "cost"]
VOID = {"meta", "link", "br", "hr", "img", "input", "line", "circle", "rect", "path", "polyline", "use"}


class Balance(HTMLParser):
    """Collects the tags that are open; fails on one that is closed out of order."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, (tag, self.getpos())


def soup(report: Report) -> BeautifulSoup:
    """The page, parsed; every page must be well-formed, hold all sections, unique ids, links that lead somewhere, and no script."""
    balance = Balance()
    balance.feed(report.html)
    assert balance.open == []
    found = BeautifulSoup(report.html, "html.parser")
    assert [section["id"] for section in found.select("main > section")] == SECTIONS
    ids = [tag["id"] for tag in found.select("[id]")]
    assert len(ids) == len(set(ids))
    assert all(tag["href"].removeprefix("#") in ids for tag in found.select("a, use"))
    assert found.find(["script", "iframe", "object", "form", "img"]) is None
    assert not [name for tag in found.find_all(True) for name in tag.attrs if name.startswith("on")]
    assert "nan" not in re.findall(r'(?:x1|x2|cx|cy|width)="([^"]*)', report.html)
    return found


def texts(found, selector):
    return [" ".join(tag.get_text(" ", strip=True).split()) for tag in found.select(selector)]


@pytest.fixture(scope="module")
def whole(finished):
    return page([finished.scores])


def test_the_verdict_comes_first_in_words(whole, finished):
    found = soup(whole)
    assert texts(found, "h1") == ["quickstart"]
    assert texts(found, ".asked > span") == [
        "base smollm2",
        "documents python:stdlib",
        "budget 148k tokens of training in 9 min 11 s",
    ]
    assert texts(found, ".verdict .status") == ["At a cost"]
    assert texts(found, ".verdict .sentence") == [finished.scores.verdict.sentence]
    assert texts(found, ".tally li") == [
        "On its documents 2 better", "On documents held out 2 better 1 tie", "General abilities retained 3 ties 1 worse",
    ]  # fmt: skip


def test_every_comparison_has_a_row_with_its_numbers_in_words(whole, finished):
    found = soup(whole)
    pictures = [tag["aria-label"] for tag in found.select(".gain svg[role=img]")]
    assert len(pictures) == len(finished.scores.comparisons)
    assert pictures[0] == (
        "summary to name: base 31.2% (23.1 to 39.3%), specialist 55.3% (47.2 to 63.4%); "
        "difference +24.1\N{NO-BREAK SPACE}points, 95% interval +16.0 to +32.2: better"
    )
    assert texts(found, ".retention.fell") == [
        "Lost: 1 of 4 general abilities fell beyond the interval. copying −5.2 points [−8.1 to −2.3]"
    ]
    cells = texts(found, "#head-to-head table tbody tr:first-child td")[:8]
    assert cells == [
        "120",
        "31.2% 23.1 to 39.3%",
        "55.3% 47.2 to 63.4%",
        "+24.1 points",
        "+16.0 to +32.2",
        "25%",
        "under 0.001",
        "0.003",
    ]


def test_the_sums_of_the_funnel_are_written_out(whole):
    found = soup(whole)
    sums = texts(found, "#documents .sum")
    assert sums[:2] == ["1,640 = 1,600 kept + 40 not UTF-8", "1,600 = 1,369 kept + 145 exact duplicate + 86 near duplicate"]
    for line in sums:
        total, _, parts = line.partition(" = ")
        numbers = [int(number.replace(",", "")) for number in re.findall(r"(?:^|\+ )([\d,]+)", parts)]
        assert int(total.replace(",", "")) == sum(numbers)


def test_lineage_and_cost_hold_every_stage(whole, finished):
    found = soup(whole)
    assert sorted(texts(found, ".steps summary b")) == sorted(finished.run.folders)
    assert "Don't Stop Pretraining, arXiv 2004.10964" in texts(found, ".steps dd")
    assert texts(found, ".cost tfoot td") == ["11 min 9 s", "18 min 57 s", "3.1 GiB"]
    assert texts(found, "#cost .lead") == ["expert trained on 147,600 tokens at 268 tokens per second (median of 180 steps)."]


def test_text_of_models_and_documents_stays_text(whole):
    found = soup(whole)  # finds no script, no image, no handler, though prompts, answers and documents hold them
    shown = [text for text in texts(found, ".words") if "alert" in text]
    assert any(text.startswith('Explain <script>alert("x")</script><img src=x') for text in shown)
    assert "</div></details><script>" in " ".join(shown)
    assert "{{ 7*7 }}" in " ".join(shown)
    assert "日本語の説明: パスを返します。العربية ثم English — naïve café 🐍" in " ".join(texts(found, ".words"))


def test_names_that_come_from_outside_are_text_too(finished, tmp_path, run_in, comparison):
    evil = '"><script>alert(1)</script>'
    scores = Scores.from_rows(list(finished.scores.rows())[:2])
    scores.comparisons = [dataclasses.replace(comparison(evil, "acquired", 0.1, 0.1, 0.05), metric=evil)]
    scores.verdict = Verdict("worse", evil)
    run = run_in(tmp_path, recipe=evil)
    metrics = [
        {"step": s, "tokens": s, "loss": 2.0, "losses": {evil: 2.0, "b": 1.0}, "held_out": {evil: s}, "held_out_loss": 1}
        for s in (1, 2)
    ]
    run.stage("versus", evil, {"": scores}, parameters={evil: evil, "source": [evil]}, paper=evil, claim=evil, metrics=metrics)
    report = page([Scores.open(run.folders["versus"])], title=evil)
    assert texts(soup(report), "h1") == [evil]


def test_the_page_is_the_same_each_time_and_leaves_the_scores_alone(whole, finished):
    before = [*finished.scores.rows()]
    assert page([finished.scores]).html == whole.html
    assert [*finished.scores.rows()] == before
    assert pickle.loads(pickle.dumps(page)) is page


def test_num_samples_bounds_both_lists_and_title_is_the_heading(finished):
    found = soup(page([finished.scores], num_samples=3, title="Mine"))
    assert len(found.select("#answers .exchange")) == 6
    assert texts(found, "h1, head > title") == ["Mine", "Mine"]
    assert texts(found, ".asked > span")[0] == "recipe quickstart"
    assert texts(soup(page([finished.scores], num_samples=0)), "#answers .exchange") == []


@pytest.mark.parametrize(
    ("of", "settings", "message"), [([], {}, "nothing to report"), (None, {"num_samples": -1}, "num_samples=-1")]
)
def test_bad_settings_are_refused_by_name(finished, of, settings, message):
    with pytest.raises(ValueError, match=message):
        page([finished.scores] if of is None else of, **settings)


def test_scores_made_outside_a_run_say_that_nothing_is_known(score):
    scores = Scores.from_rows([score("sample", "1", "open", "hf://org/name", "prompt", completion="said")])
    found = soup(page([scores]))
    assert texts(found, ".verdict .status") == ["No verdict"]
    assert texts(found, "h1") == ["Head-to-head"]
    assert len(found.select("main .nothing")) == 5  # all sections but the answers
    assert texts(found, ".answer .words") == ["said"]


def test_scores_without_any_row():
    assert len(soup(page([Scores.from_rows([])])).select("main .nothing")) == 6


def test_sixty_comparisons_with_very_long_names(comparison):
    scores = Scores.from_rows([])
    scores.comparisons = [
        comparison(f"{'a_very_long_name_' * 12}{i}_日本語", "held_out", 0.5, i / 100 - 0.3, 0.05) for i in range(60)
    ]
    found = soup(page([scores]))
    assert len(found.select(".gain svg[role=img]")) == 60
    assert texts(found, ".retention") == ["General abilities were not measured, so nothing is known of what the training cost."]


def test_two_head_to_heads_stand_apart(finished, comparison, score):
    other = Scores.from_rows([score("sample", "1", "open", "base", "prompt", completion="said")])
    other.comparisons = [comparison("translation", "general", 0.5, 0.01, 0.05)]
    other.verdict = Verdict("no gain", "No domain measure got better.")
    found = soup(page([finished.scores, other]))
    assert texts(found, "h3.versus") == ["versus", "Scores made outside a run"]
    assert texts(found, ".verdict .status") == ["At a cost", "No gain"]
    assert [tag["class"][-1] for tag in found.select(".retention")] == ["fell", "kept"]


def test_half_a_surrogate_pair_in_a_record_does_not_break_the_page(tmp_path, run_in):
    run = run_in(tmp_path)
    run.stage("docs", "data.read", {"": "Corpus"}, parameters={"source": "caf\udce9"})
    run.stage("versus", "evaluate.head_to_head", {"": Scores.from_rows([])}, inputs={"of": ["docs"]})
    saved = page([Scores.open(run.folders["versus"])]).save(tmp_path / "page")
    assert "caf\\udce9" in (saved.path / "index.html").read_text(encoding="utf-8")


def test_a_real_run_ends_with_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])
    recipe = """\
name: naming
stages:
  docs: {use: "versus_toy:words", source: ships}
  versus: {use: "versus_toy:versus", corpus: $docs}
  report: {use: report.page, of: [$versus], num_samples: 2}
"""

    class Watch:
        def begins(self, stage): ...
        def ends(self, stage, folder, facts, reused): ...

    folders = run(plan(parse(recipe, file="r.yaml"), tmp_path / "run"), Watch())
    found = soup(Report(html=(folders["report"] / "index.html").read_text(encoding="utf-8")))
    assert texts(found, "h1, .verdict .sentence, #documents .sum, .answer .words") == [
        "naming",
        "A specialist in naming.",
        "9 = 8 kept + 1 first",
        "ships 1",
    ]
    assert texts(found, ".asked > span") == ["documents ships"]
    facts = json.loads((folders["report"] / "stage.json").read_text())
    assert facts["parameters"] == {"title": None, "num_samples": 2}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_contrast_enough_to_be_read(scheme):
    """WCAG 2: 4.5 to 1 for text. Later definitions win, as in the style sheet."""
    style = (TEMPLATES / "style.css").read_text().partition("@media print")[0]
    light, dark = style.split("prefers-color-scheme: dark")
    colours = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", light + (dark if scheme == "dark" else "")))

    def luminance(name):
        channels = [int(colours[name][i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    pairs = [(text, "--paper") for text in ("--ink", "--soft", "--accent", "--good", "--bad", "--even")]
    pairs += [("--ink", "--card"), ("--soft", "--card"), ("--accent", "--card"), ("--good", "--card"), ("--bad", "--card")]
    pairs += [(f"--{name}", f"--{name}-wash") for name in ("good", "bad", "even", "warn")]
    for text, ground in pairs:
        bright, dim = sorted((luminance(text), luminance(ground)), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 4.5, (text, ground)
