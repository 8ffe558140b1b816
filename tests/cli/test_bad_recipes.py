"""What can't be right is refused before anything runs: exit code 2, the file and line, no traceback, and no run folder."""

import pytest

GOOD = """\
name: good
stages:
  docs: {use: data.read, source: papers}
  unique: {use: curate.duplicates, corpus: $docs}
  parts: {use: data.split, corpus: $unique, held_out: 0.2}
"""


def refused(done, *words):
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert done.stderr.startswith("metier: ")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("  unique:", "\tunique:", ["bad.yaml:4", "tab"]),
        ("  parts:", "  docs:", ["bad.yaml:5", "'docs' stands twice", "line 3"]),
        ("held_out", "heldout", ["bad.yaml:5", "'heldout'", "did you mean 'held_out'?"]),
        ("$unique", "$uniqe", ["bad.yaml:5", "'uniqe'", "did you mean 'unique'?"]),
        ("data.split", "data.spilt", ["bad.yaml:5", "'data.spilt'", "did you mean 'data.split'?"]),
        ("$docs", "papers", ["bad.yaml:4", "'papers'", "Corpus"]),
        ("$docs", "$parts", ["bad.yaml:4", "circle"]),
        ("$docs", "$parts.train", ["bad.yaml:4", "circle"]),
        (", source: papers", "", ["bad.yaml:3", "lacks 'source'"]),
        ("held_out: 0.2", "held_out: some", ["bad.yaml:5", "held_out is 'some'", "a number"]),
        ("source: papers", "source: papres", ["bad.yaml:3", "papres does not exist", "papers"]),
        ("stages:", "stage:", ["bad.yaml:2", "did you mean 'stages'?"]),
        ("name: good", "name: [", ["bad.yaml:", "not valid YAML"]),
        ("name: good", "title: good", ["bad.yaml:1", "'title'"]),
    ],
)
def test_a_recipe_that_cannot_be_right_is_refused_with_its_line(metier, documents, tmp_path, old, new, words):
    assert old in GOOD
    (tmp_path / "bad.yaml").write_text(GOOD.replace(old, new))
    refused(metier("run", "bad.yaml"), *words)
    assert not (tmp_path / "runs").exists()


def test_the_wrong_kind_of_artifact_is_named(metier, documents, tmp_path):
    (tmp_path / "bad.yaml").write_text(
        GOOD + "  base: {use: models.load, source: tiny}\n  more: {use: curate.quality, corpus: $base}\n"
    )
    refused(metier("run", "bad.yaml"), "bad.yaml:7", "corpus needs Corpus", "$base is a Model")


def test_arguments_that_name_nothing_are_refused(metier, documents, tmp_path):
    (tmp_path / "good.yaml").write_text(GOOD)
    refused(metier("run", "goood.yaml"), "unknown recipe 'goood.yaml'")
    refused(metier("run", "quickstrat"), "did you mean 'quickstart'?")
    refused(metier("run", "papers"), "metier init papers")
    refused(metier("run", "good.yaml", "--from", "uniqe"), "did you mean 'unique'?")
    refused(metier("run", "good.yaml", "--force", "part"), "did you mean 'parts'?")
    refused(metier("run", "good.yaml", "--set", "stages.parts.heldout=0.1"), "did you mean 'held_out'?")
    refused(metier("run", "good.yaml", "--set", "stages.part.held_out=0.1"), "did you mean 'parts'?")
    refused(metier("run", "good.yaml", "--into", "good.yaml"), "good.yaml")


def test_a_good_recipe_is_only_planned_by_dry_run_then_run_then_not_done_again(metier, documents, tmp_path):
    (tmp_path / "good.yaml").write_text(GOOD)
    done = metier("run", "good.yaml", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("to do") == 3
    assert not (tmp_path / "runs").exists()
    done = metier("run", "good.yaml")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert (tmp_path / "runs/good/parts/train/funnel.json").is_file()
    assert metier("run", "good.yaml").stdout.count("done before") == 6  # in the plan, and as each is passed


def test_a_value_that_a_method_refuses_ends_with_2_and_keeps_what_was_done(metier, documents, tmp_path):
    (tmp_path / "bad.yaml").write_text(GOOD.replace("held_out: 0.2", "held_out: 1.5"))
    refused(metier("run", "bad.yaml"), "bad.yaml:5", "held_out=1.5")
    assert (tmp_path / "runs/good/unique/funnel.json").is_file()
