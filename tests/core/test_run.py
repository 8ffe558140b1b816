"""Runs: each stage once, results whole or absent, resumed after any end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from metier.artifacts import Corpus
from metier.core.errors import InputError, RunError
from metier.core.lineage import lineage
from metier.core.plan import plan
from metier.core.recipe import parse
from metier.core.run import run

RECIPE = """\
name: toys
stages:
  docs: {use: "toys:numbers", count: 10}
  parts: {use: "toys:halves", corpus: $docs, share: 0.3}
  loud: {use: "toys:shout", batch: $parts.left}
  total: {use: "toys:count", corpora: [$loud, $parts.right]}
"""
STEPS = """\
name: steps
stages:
  docs: {use: "toys:numbers", count: 1}
  sum: {use: "toys:steps", corpus: $docs}
"""


class Watch:
    def __init__(self):
        self.reused = {}

    def begins(self, stage):
        pass

    def ends(self, stage, folder, facts, reused):
        self.reused[stage.name] = reused


def go(text, tmp_path, overrides=(), **options):
    watch = Watch()
    folders = run(plan(parse(text, file="r.yaml", overrides=overrides), tmp_path / "run", **options), watch)
    return folders, watch.reused


def test_results_are_stored_linked_and_recorded(tmp_path, calls):
    folders, _ = go(RECIPE, tmp_path)
    assert json.loads((folders["total"] / "result.json").read_text()) == {"rows": 10, "note": None}
    assert next(iter(Corpus.open(tmp_path / "run" / "loud").rows()))["text"] == "NUMBER 0 OF SEED 0!"
    assert (tmp_path / "run" / "loud").readlink() == Path("stages") / folders["loud"].name
    facts = json.loads((folders["parts"] / "stage.json").read_text())
    assert facts["parameters"] == {"share": 0.3}
    assert facts["inputs"] == {"corpus": ["docs"]}
    assert facts["result"] == {"fields": {"left": "Corpus", "right": "Corpus"}}
    assert facts["peak_memory_bytes"] > 1e7
    assert facts["versions"]["python"] == sys.version.split()[0]
    assert [record.name for record in lineage(folders["total"])] == ["docs", "parts", "loud", "total"]
    assert lineage(folders["loud"])[-1].funnels()[""]["kept"] == 3
    assert not list((tmp_path / "run").rglob("*.partial"))


def test_a_finished_stage_is_never_run_again_and_an_old_result_is_kept(tmp_path, calls):
    first, _ = go(RECIPE, tmp_path)
    assert calls() == ["numbers", "halves", "count"]
    _, reused = go(RECIPE, tmp_path)
    assert reused == {"docs": True, "parts": True, "loud": True, "total": True}
    go(RECIPE, tmp_path, ["stages.parts.share=0.5"])
    assert calls() == ["numbers", "halves", "count", "halves", "count"]
    back, reused = go(RECIPE, tmp_path)
    assert back == first
    assert all(reused.values())
    assert (tmp_path / "run" / "parts").resolve() == first["parts"].resolve()


def test_a_result_whose_links_broke_is_made_again(tmp_path, calls):
    folders, _ = go(RECIPE, tmp_path)
    (folders["docs"] / "weights").symlink_to(tmp_path / "gone")
    _, reused = go(RECIPE, tmp_path)
    assert reused == {"docs": False, "parts": True, "loud": True, "total": True}


def test_an_error_names_stage_and_line_keeps_the_work_and_the_next_run_goes_on(tmp_path, calls):
    with pytest.raises(InputError, match=r"r.yaml:4: stage 'sum' \(toys:steps\): a bad value"):
        go(STEPS, tmp_path, ["stages.sum.fail_at=8", "stages.sum.error=value"])
    assert (
        plan(parse(STEPS, overrides=["stages.sum.fail_at=8", "stages.sum.error=value"]), tmp_path / "run")["sum"].state
        == "resumes"
    )
    with pytest.raises(RunError, match=r"no space left on the device.*run the same command"):
        go(STEPS, tmp_path, ["stages.sum.fail_at=8", "stages.sum.error=os"])
    with pytest.raises(RunError, match=r"RuntimeError: broken\n.*log.txt"):
        go(STEPS, tmp_path, ["stages.sum.fail_at=8"])
    log = next((tmp_path / "run" / "stages").glob("sum-*.partial/log.txt"))
    assert "Traceback" in log.read_text()
    with pytest.raises(KeyboardInterrupt):
        go(STEPS, tmp_path, ["stages.sum.fail_at=8", "stages.sum.error=key"])
    assert "steps from 7" not in calls()
    with pytest.raises(KeyboardInterrupt):
        go(STEPS, tmp_path, ["stages.sum.fail_at=8", "stages.sum.error=key"])
    assert calls()[-1] == "steps from 7"


def test_a_method_that_breaks_its_promise_is_named(tmp_path, calls):
    with pytest.raises(InputError, match=r"stage 'bad' .*returned a dict, and its annotation promises a Corpus"):
        go(STEPS.replace("toys:steps", "toys:lies").replace("sum:", "bad:"), tmp_path)


def test_a_run_folder_that_cannot_be_written_or_is_in_use(tmp_path, calls):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        go(STEPS, tmp_path)
    (tmp_path / "run").unlink()
    with plan(parse(STEPS), tmp_path / "run").store.lock(), pytest.raises(InputError, match="another run is using"):
        go(STEPS, tmp_path)


@pytest.mark.parametrize("after", [1, 5, 9, 14, 18])
def test_killed_at_any_moment_the_next_run_ends_with_the_same_result(after, tmp_path, calls):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_run; from pathlib import Path;"
        "test_run.go(test_run.STEPS, Path(sys.argv[2]))"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path)], env=os.environ)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        metrics = list((tmp_path / "run" / "stages").glob("sum-*/work/metrics.jsonl"))
        if metrics and metrics[0].read_text().count("\n") >= after:
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    folders, reused = go(STEPS, tmp_path)
    assert reused == {"docs": True, "sum": False}
    assert json.loads((folders["sum"] / "result.json").read_text()) == {"sum": 210}
    assert calls()[-1] != "steps from 0"
