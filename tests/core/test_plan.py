"""The whole recipe is checked before anything runs, and keys say what a result depends on."""

import pytest

from metier.core.errors import InputError
from metier.core.plan import plan
from metier.core.recipe import parse

GOOD = """\
name: toys
stages:
  docs: {use: "toys:numbers", count: 10}
  parts: {use: "toys:halves", corpus: $docs, share: 0.3}
  loud: {use: "toys:shout", batch: $parts.left}
  total: {use: "toys:count", corpora: [$loud, $parts.right]}
  twice: {use: "toys:double", counted: $total}
"""


def planned(text, tmp_path, overrides=(), **options):
    return plan(parse(text, file="r.yaml", overrides=overrides), tmp_path / "run", **options)


def test_a_good_recipe_is_planned_in_order_without_running(tmp_path, calls):
    found = planned(GOOD, tmp_path)
    assert [stage.name for stage in found.stages] == ["docs", "parts", "loud", "total", "twice"]
    assert [stage.state for stage in found.stages] == ["runs"] * 5
    assert found["docs"].settings == {"count": 10, "seed": 0}
    assert found["loud"].result.single.__name__ == "Corpus"
    assert calls() == []
    assert not (tmp_path / "run").exists()


def test_stages_may_stand_in_any_order(tmp_path, calls):
    text = "name: toys\nstages:\n  total: {use: 'toys:count', corpora: $docs}\n  docs: {use: 'toys:numbers', count: 1}\n"
    assert [stage.name for stage in planned(text, tmp_path).stages] == ["docs", "total"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("count: 10", "cuont: 10", "unknown parameter of toys:numbers 'cuont' in r.yaml:3; did you mean 'count'?"),
        ("count: 10", "count: many", "r.yaml:3: count is 'many'; it needs a whole number"),
        ("count: 10", "count: true", "r.yaml:3: count is True; it needs a whole number"),
        ("count: 10", "count: 1.5", "r.yaml:3: count is 1.5; it needs a whole number"),
        (", count: 10", "", "r.yaml:3: stage 'docs' lacks 'count', which toys:numbers needs (a whole number)"),
        ("count: 10", "count: $twice", "the stages go round in a circle: docs -> twice -> total"),
        ("share: 0.3", "share: $docs", "share is a setting of toys:halves and takes a number, not a stage's result"),
        ("corpus: $docs", "corpus: $dosc", "unknown stage 'dosc' in r.yaml:4; did you mean 'docs'?"),
        (
            "corpus: $docs",
            "corpus: docs",
            "r.yaml:4: corpus is 'docs'; it needs the result of a stage (Corpus), written as $stage",
        ),
        ("$parts.left", "$parts", "write one of $parts.left, $parts.right"),
        ("$parts.left", "$parts.lefty", "did you mean 'left'?"),
        ("$parts.left", "$docs.left", "stage 'docs' has a single result; write $docs"),
        ("counted: $total", "counted: $docs", "r.yaml:7: counted needs a mapping, and $docs is a Corpus"),
        ("batch: $parts.left", "batch: $parts.left, mark: '.'", "mark is '.'; it needs one of '!', '?'"),
        ("toys:double", "toys:duoble", "r.yaml:7: 'toys:duoble' cannot be imported"),
        ("toys:halves", "toys:untyped", "parameter 'size' has no annotation"),
    ],
)
def test_what_cannot_be_right_is_named_with_file_and_line(old, new, message, tmp_path, calls):
    with pytest.raises((InputError, TypeError)) as caught:
        planned(GOOD.replace('"', "'").replace(old, new), tmp_path)
    assert message in str(caught.value)
    assert calls() == []


def test_an_unknown_method_suggests_the_nearest(tmp_path):
    with pytest.raises(InputError, match=r"unknown method 'data.raed' in r.yaml:2; did you mean 'data.read'\?"):
        planned("name: x\nstages: {a: {use: data.raed}}\n", tmp_path)


def test_counts_may_be_written_short(tmp_path, calls):
    assert planned(GOOD, tmp_path, ["stages.docs.count=1.5k"])["docs"].settings["count"] == 1500


def keys(found):
    return {stage.name: stage.key for stage in found.stages}


def test_a_key_changes_with_settings_seed_world_and_inputs_and_with_nothing_else(tmp_path, calls, monkeypatch):
    before = keys(planned(GOOD, tmp_path))
    assert keys(planned("# a comment\n" + GOOD.replace("name: toys", "name: other"), tmp_path)) == before
    changed = keys(planned(GOOD, tmp_path, ["stages.parts.share=0.4"]))
    assert [name for name in before if before[name] != changed[name]] == ["parts", "loud", "total", "twice"]
    reseeded = keys(planned(GOOD, tmp_path, ["seed=1"]))
    assert reseeded["docs"] != before["docs"]
    (tmp_path / "world").write_text("new")
    monkeypatch.setenv("WORLD", str(tmp_path / "world"))
    assert keys(planned(GOOD, tmp_path))["docs"] != before["docs"]


def test_start_redoes_all_that_builds_on_a_stage_and_force_only_the_stage(tmp_path, calls):
    from metier.core.run import run

    run(planned(GOOD, tmp_path), Silent())
    states = {stage.name: stage.state for stage in planned(GOOD, tmp_path, start="loud").stages}
    assert states == {"docs": "done", "parts": "done", "loud": "runs", "total": "runs", "twice": "runs"}
    states = {stage.name: stage.state for stage in planned(GOOD, tmp_path, force=["parts"]).stages}
    assert states == {"docs": "done", "parts": "runs", "loud": "done", "total": "done", "twice": "done"}
    with pytest.raises(InputError, match="did you mean 'loud'"):
        planned(GOOD, tmp_path, start="luod")


class Silent:
    def begins(self, stage):
        pass

    def ends(self, stage, folder, facts, reused):
        pass


def test_a_model_that_is_asked_may_be_an_endpoint(tmp_path):
    text = "name: toys\nstages:\n  said: {use: 'toys:asked', model: '%s'}\n"
    one, other = (planned(text % f"openai://{name}@http://localhost:1/v1", tmp_path)["said"] for name in ("a", "b"))
    assert one.flows["model"] == "openai://a@http://localhost:1/v1"
    assert one.key != other.key
    with pytest.raises(InputError, match=r"written as \$stage, or an endpoint, written as openai://model@base_url"):
        planned(text % "smollm2", tmp_path)
