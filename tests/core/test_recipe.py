"""Recipes are read with the place of every key, and each mistake names its line."""

import pytest

from metier.core.errors import InputError, nearest
from metier.core.recipe import Reference, parse, read, references

GOOD = """\
name: small
seed: 3
stages:
  docs:
    use: data.read
    source: "python:stdlib"
  parts: {use: data.split, corpus: $docs, held_out: 0.1}
  price: {use: data.read, source: $$free, list: [$parts.train, 1]}
"""


def test_reads_stages_in_order_with_references_and_lines():
    recipe = parse(GOOD, file="r.yaml")
    assert (recipe.name, recipe.seed, list(recipe.stages)) == ("small", 3, ["docs", "parts", "price"])
    assert recipe.stages["parts"].arguments == {"corpus": Reference("docs"), "held_out": 0.1}
    assert recipe.stages["price"].arguments == {"source": "$free", "list": [Reference("parts", "train"), 1]}
    assert recipe.where("stages", "parts", "held_out") == "r.yaml:7"
    assert recipe.where("stages", "docs", "source") == "r.yaml:6"
    assert [str(found) for found in references(recipe.stages["price"].arguments)] == ["parts.train"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nstages:\n\tdocs: {use: a.b}\n", "r.yaml:3: the line is indented with a tab"),
        ("name: x\nname: y\nstages: {a: {use: b.c}}\n", "r.yaml:2: the key 'name' stands twice (first on line 1)"),
        ("name: x\nstages:\n  a: {use: b.c, k: 1, k: 2}\n", "r.yaml:3: the key 'k' stands twice"),
        ("name: x\nstages: {a: {use: b.c\n", "r.yaml:3: not valid YAML"),
        ("name: x\nstagse: {}\n", "unknown key 'stagse' in r.yaml:2; did you mean 'stages'?"),
        ("stages: {a: {use: b.c}}\n", "a recipe needs a name"),
        ("name: ../x\nstages: {a: {use: b.c}}\n", "name is '../x'"),
        ("name: x\nseed: many\nstages: {a: {use: b.c}}\n", "r.yaml:2: seed is 'many'"),
        ("name: x\nseed: true\nstages: {a: {use: b.c}}\n", "r.yaml:2: seed is True"),
        ("name: x\nstages: {}\n", "at least one stage"),
        ("name: x\nstages: {a: {corpus: 1}}\n", "stage 'a' does not say which method it calls"),
        ("name: x\nstages: {a: {use: b.c, corpus: $1}}\n", "'$1' is no reference"),
        ("", "r.yaml is no recipe"),
        ("- a\n- b\n", "r.yaml is no recipe"),
        ("name: x\nstages: {a: {use: !!python/object/apply:os.getcwd []}}\n", "r.yaml"),
        ("name: x\nstages: {a: &s {use: b.c, again: *s}}\n", "refers to itself"),
    ],
)
def test_a_mistake_is_named_with_its_line(text, message):
    with pytest.raises(InputError) as caught:
        parse(text, file="r.yaml")
    assert message in str(caught.value)


def test_overrides_change_nested_values_and_add_settings():
    recipe = parse(
        GOOD, overrides=["stages.parts.held_out=0.2", "seed=7", "stages.docs.adapter.rank=8", "stages.docs.source=[a, b]"]
    )
    assert recipe.stages["parts"].arguments["held_out"] == 0.2
    assert recipe.seed == 7
    assert recipe.stages["docs"].arguments == {"source": ["a", "b"], "adapter": {"rank": 8}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stages.part.held_out=1", "did you mean 'parts'?"),
        ("stages", "write PATH=VALUE"),
        ("stage.parts.x=1", "did you mean 'stages'?"),
        ("stages.parts.x=[1", "is no YAML value"),
    ],
)
def test_a_wrong_override_is_refused(override, message):
    with pytest.raises(InputError) as caught:
        parse(GOOD, overrides=[override])
    assert message in str(caught.value)


def test_files_that_are_no_recipes(tmp_path):
    (tmp_path / "latin.yaml").write_bytes("name: caf\xe9".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin.yaml is not UTF-8 text \(byte 0xe9 at offset 9\)"):
        read(str(tmp_path / "latin.yaml"))
    with pytest.raises(InputError, match="metier init"):
        read(str(tmp_path))
    with pytest.raises(InputError, match="did you mean 'quickstart'"):
        read("quickstrat")


def test_nearest_also_compares_the_last_part_of_a_dotted_name():
    assert nearest("continud", ["pretrain.continued", "data.read"]) == "pretrain.continued"
    assert nearest("zzz", ["pretrain.continued"]) is None
