"""Forgetting and transfer: measures of matrices worked by hand, a fair buffer, and a small study from end to end."""

import gc
import json
import logging
import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.artifacts import Corpus, Examples
from metier.core.signature import accepts, check_value, element, signature_of
from metier.engines.text.sequences import TokenSequence
from metier.engines.train.adapter import Adapter
from metier.evaluate.continual_learning import continual_learning
from metier.evaluate.continual_learning import study as running
from metier.evaluate.continual_learning.measures import transfer
from metier.evaluate.continual_learning.prepare import metric_of, names_of, overlaps
from metier.evaluate.continual_learning.replay import Reservoir
from metier.evaluate.continual_learning.results import Outcome, cheapest, estimate, summarise
from metier.evaluate.continual_learning.settings import Elastic, Replay, Training
from metier.evaluate.item import Item, items_table
from metier.models.tiny import make_tiny

# Rows: start, after task 1, 2, 3. Worked by hand: BWT = ((0.5 - 0.8) + (0.7 - 0.7)) / 2, F = ((0.8 - 0.5) + (0.7 - 0.7)) / 2,
# FWT = ((0.3 - 0.2) + (0.3 - 0.1)) / 2, LA = (0.8 + 0.7 + 0.6) / 3.
HAND = [[0.1, 0.2, 0.1], [0.8, 0.3, 0.2], [0.6, 0.7, 0.3], [0.5, 0.7, 0.6]]


def test_the_measures_of_a_matrix_worked_by_hand():
    found = transfer(HAND, individual=[0.8, 0.9, 0.9])
    assert found.overall == pytest.approx([0.8, 0.65, 0.6])
    assert (found.backward, found.forgetting) == (pytest.approx(-0.15), pytest.approx(0.15))
    assert (found.forward, found.learning) == (pytest.approx(0.15), pytest.approx(0.7))
    assert found.intransigence == pytest.approx(0.5 / 3)
    assert found.missing == []


def test_forgetting_is_measured_from_the_best_and_not_from_the_first_score():
    found = transfer([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.9, 0.5, 0.0], [0.6, 0.5, 0.5]])
    assert (found.backward, found.forgetting) == (pytest.approx(0.05), pytest.approx(0.15))


def test_general_suites_are_compared_with_the_start_model():
    found = transfer([[0.0, 0.7, 0.4], [0.9, 0.6, 0.5]], general=["grammar", "facts"])
    assert found.general == {"grammar": pytest.approx(-0.1), "facts": pytest.approx(0.1)}
    assert found.general_mean == pytest.approx(0.0)
    assert transfer([[0.0, 0.7], [0.9, 0.6]], general=["grammar"], comparable=False).general_mean is None


def test_a_single_task_has_an_overall_score_and_no_transfer():
    found = transfer([[0.1], [0.9]])
    assert (found.overall, found.learning) == ([0.9], 0.9)
    assert (found.backward, found.forgetting, found.forward, found.missing) == (None, None, None, [])


@pytest.mark.parametrize("absent", [None, math.nan])
def test_what_needs_a_missing_cell_is_undefined_and_the_cell_is_named(absent):
    rows = [list(row) for row in HAND]
    rows[2][1] = absent
    found = transfer(rows)
    assert found.missing == ["a[2][2]"]
    assert (found.backward, found.forgetting, found.learning) == (None, None, None)
    assert found.forward == pytest.approx(0.15)
    assert found.overall == [pytest.approx(0.8), None, pytest.approx(0.6)]


def test_a_matrix_whose_last_stage_is_not_there_yet_names_its_cells():
    found = transfer(HAND[:3])
    assert found.missing == ["a[3][1]", "a[3][2]", "a[3][3]"]
    assert found.overall[:2] == pytest.approx([0.8, 0.65])


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([], {}, "no task"),
        ([[0.1]], {"general": ["g"]}, "no task"),
        ([[0.1, 0.2], [0.1]], {}, "need 3 of 2 each"),
        ([[0.1], [0.2], [0.3]], {}, "need 2 of 1 each"),
        (HAND, {"individual": [0.1]}, "1 individual scores for 3 tasks"),
    ],
)
def test_matrices_that_are_none_are_refused(rows, options, message):
    with pytest.raises(ValueError, match=message):
        transfer(rows, **options)


@given(
    st.integers(2, 4).flatmap(
        lambda n: st.lists(st.lists(st.floats(-5, 5), min_size=n, max_size=n), min_size=n + 1, max_size=n + 1)
    )
)
def test_measures_of_change_do_not_see_a_suites_own_level_and_forgetting_is_at_least_what_was_lost(rows):
    found = transfer(rows)
    shifted = transfer([[score + 3 * number for number, score in enumerate(row)] for row in rows])
    for name in ("backward", "forgetting", "forward"):
        assert getattr(shifted, name) == pytest.approx(getattr(found, name), abs=1e-9)
    assert found.forgetting >= -found.backward - 1e-12


def sequence(number, source="a", size=4):
    return TokenSequence.of_text([number] * size, source)


def test_every_sequence_offered_stays_with_the_same_chance():
    counts = Counter()
    for seed in range(1000):
        buffer = Reservoir(5, seed=seed)
        buffer.offer(sequence(number) for number in range(12))
        buffer.offer(sequence(number) for number in range(12, 20))
        assert len(buffer.held) == 5
        counts.update(one.input_ids[0] for one in buffer.held)
    chi_square = sum((counts[number] - 250) ** 2 / 250 for number in range(20))
    assert chi_square < 40  # expected 14 (19 degrees, shares of 1/4 without replacement); 40 would come once in hundreds


def test_a_buffer_gives_about_the_tokens_asked_for_again_where_it_has_fewer():
    buffer = Reservoir(10, seed=0)
    assert buffer.draw(7) == []
    buffer.offer(sequence(number) for number in range(4))
    assert len(buffer.draw(7)) == 3  # of three predicted tokens each
    assert len({one.input_ids[0] for one in buffer.draw(12)}) == 4
    assert Counter(one.input_ids[0] for one in buffer.draw(24)) == dict.fromkeys(range(4), 2)
    assert buffer.num_bytes == 4 * 16
    assert buffer.draw(0) == []


def test_restricted_sources_are_never_kept():
    buffer = Reservoir(10, seed=0, never=["licensed"])
    buffer.offer([sequence(1), sequence(2, "licensed"), sequence(3)])
    assert [one.input_ids[0] for one in buffer.held] == [1, 3]
    assert buffer.refused == 1


def outcome(strategy, final, tokens=100, extra=0):
    return Outcome(strategy, ["x"], [[0.0], [final]], transfer([[0.0], [final]]), tokens, 0, extra)


def test_the_cheapest_strategy_that_cannot_be_told_from_the_best_is_named():
    finals = {
        "sequential": [0.50, 0.52, 0.51],
        "replay": [0.70, 0.71, 0.72],
        "ewc": [0.705, 0.70, 0.72],
        "adapters": [0.9, 0.9, 0.9],
    }
    cost = {"sequential": (100, 0), "replay": (110, 5), "ewc": (100, 50), "adapters": (100, 1)}
    outcomes = [outcome(name, final, *cost[name]) for name, scores in finals.items() for final in scores]
    assert cheapest(outcomes) == "ewc"
    assert cheapest([one for one in outcomes if one.strategy != "ewc"]) == "replay"
    assert cheapest(outcomes[:2]) is None
    line = next(line for line in summarise(outcomes) if line.strategy == "replay")
    # mean 0.71, standard error 0.01 / sqrt(3), t = 4.303 with two degrees of freedom
    assert (line.overall.value, line.overall.low) == (
        pytest.approx(0.71),
        pytest.approx(0.71 - 4.3027 * 0.01 / math.sqrt(3), abs=1e-5),
    )
    assert line.backward is None
    assert estimate([0.1, 0.3]).low is None


def text_suite(name, texts):
    return items_table(Item(f"{name}{number}", name, "held_out", "text", text) for number, text in enumerate(texts))


def corpus(name, texts):
    return Corpus.from_rows({"id": f"{name}{number}", "text": text, "source": name} for number, text in enumerate(texts))


def test_test_texts_that_are_trained_on_are_counted_and_said(caplog):
    long = "a long text " * 40
    suites = [text_suite("x", ["seen  once", long, "new"]), text_suite("y", ["asked"])]
    parts = [
        corpus("x", ["other"]),
        Examples.from_rows([{"prompt": "seen once", "completion": "!"}, {"prompt": long + "on", "completion": "!"}]),
    ]
    with caplog.at_level(logging.WARNING):
        assert overlaps(["x", "y"], suites, parts) == {"x in y": 2}
    assert "2 items of 'x' occur in the training data of 'y'" in caplog.text
    chat = Examples.from_rows([{"messages": [{"role": "user", "content": "asked"}, {"role": "assistant", "content": "x"}]}])
    assert overlaps(["x", "y"], suites, [parts[0], chat]) == {"y in y": 1}


def test_suites_of_different_scales_are_not_averaged():
    question = items_table([Item("q", "q", "general", "choice", "Which?", ["a", "b"], 0)])
    assert metric_of([text_suite("x", ["a"])]) == "bits per byte"
    with pytest.raises(ValueError, match=r"suites measure \['accuracy', 'bits per byte'\]"):
        metric_of([text_suite("x", ["a"]), question])


def test_suites_of_one_name_are_numbered():
    same = [text_suite("held-out text", [text]) for text in "ab"]
    assert names_of(same) == ["held-out text 1", "held-out text 2"]
    assert names_of([text_suite("x", ["a"]), same[0]], taken=["x"]) == ["x 1", "held-out text"]


SMALL = Training(
    epochs=1, learning_rate=3e-3, adapter_learning_rate=1e-2, sequence_length=64, batch_tokens=128, adapter=Adapter(rank=2),
    precision="float32",
)  # fmt: skip


def world(folder):
    texts = {"x": "abcabc", "y": "fedfed"}
    tasks = [corpus(name, [text * (2 + number % 3) for number in range(24)]) for name, text in texts.items()]
    suites = [text_suite(name, [text * 5]) for name, text in texts.items()]
    return make_tiny(folder, layers=1, hidden_size=32), tasks, suites


@pytest.fixture(autouse=True, scope="module")
def quick_collections():
    """Each stage collects garbage; what the libraries made when imported is not looked at again each time."""
    gc.freeze()
    yield
    gc.unfreeze()


def test_a_study_of_all_strategies_in_two_orders(tmp_path):
    model, tasks, suites = world(tmp_path / "model")
    found = continual_learning(
        model, tasks, suites, [text_suite("general", ["the question"])], strategies=("replay", "ewc", "adapters"), orders=2,
        training=SMALL, replay=Replay(ratio=0.5), elastic=Elastic(strength=10.0, fisher_rows=4), workdir=tmp_path / "work",
    )  # fmt: skip
    assert (found.metric, found.tasks, found.general) == ("minus bits per byte", ["x", "y"], ["general"])
    by = {(one.strategy, "".join(one.order)): one for one in found.outcomes}
    assert set(by) == {(name, order) for name in ("sequential", "replay", "ewc", "adapters") for order in ("xy", "yx")}
    start = by["sequential", "xy"].matrix[0]
    for (strategy, order), one in by.items():
        assert one.matrix[0] == (start if order == "xy" else [start[1], start[0], start[2]])
        assert len(one.matrix) == 3
        if strategy != "adapters":  # every strategy begins alike, and so does the model of the first task alone
            assert one.matrix[1] == by["sequential", order].matrix[1]
            assert one.matrix[1][0] == found.individual["xy".index(order[0])]
    assert by["ewc", "xy"].matrix[2] != by["sequential", "xy"].matrix[2] != by["replay", "xy"].matrix[2]
    apart = by["adapters", "xy"]
    assert apart.matrix[1][0] == apart.matrix[2][0] == by["adapters", "yx"].matrix[2][1]
    assert (apart.transfer.backward, apart.transfer.forgetting, apart.transfer.forward) == (0.0, 0.0, 0.0)
    plain, replayed = by["sequential", "xy"], by["replay", "xy"]
    assert plain.trained_tokens == found.joint_tokens == by["ewc", "xy"].trained_tokens
    assert replayed.trained_tokens - replayed.replayed_tokens == plain.trained_tokens
    assert replayed.replayed_tokens == pytest.approx(0.25 * plain.trained_tokens, rel=0.1)  # half of the second stage
    num_weights = sum(weight.numel() for weight in model.load().parameters())
    assert (plain.extra_bytes, by["ewc", "xy"].extra_bytes) == (0, 8 * num_weights)
    assert all(after > before for after, before in zip(found.joint, start[:2], strict=True))
    assert found.cheapest is None
    json.dumps(found.overlaps)
    assert not list((tmp_path / "work").rglob("alone/*/model"))


def test_a_killed_study_goes_on_and_ends_with_the_same_numbers(tmp_path, monkeypatch):
    model, tasks, suites = world(tmp_path / "model")
    options = {"strategies": ("ewc",), "baselines": False, "training": SMALL, "elastic": Elastic(fisher_rows=4)}
    whole = continual_learning(model, tasks, suites, **options)
    assert (whole.individual, whole.joint, whole.summaries[0].intransigence) == ([], [], None)
    trained, real = [], running.sequential.__globals__["fit"]

    def dying(*arguments, **settings):
        trained.append(settings["workdir"])
        if len(trained) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **settings)

    monkeypatch.setitem(running.sequential.__globals__, "fit", dying)
    with pytest.raises(KeyboardInterrupt):
        continual_learning(model, tasks, suites, workdir=tmp_path / "work", **options)
    again = continual_learning(model, tasks, suites, workdir=tmp_path / "work", **options)
    assert again == whole
    with pytest.raises(ValueError, match=r"another study \(elastic differ\)"):
        continual_learning(model, tasks, suites, workdir=tmp_path / "work", **options | {"elastic": Elastic(fisher_rows=5)})
    assert [folder.relative_to(tmp_path / "work").parts[0] for folder in trained] == ["alone", "sequential", "ewc", "ewc"]


def test_replay_within_the_budget_takes_no_more_steps_and_rehearses_from_the_first_stage(tmp_path):
    model, tasks, suites = world(tmp_path / "model")
    found = continual_learning(
        model, tasks, suites, rehearsal=corpus("g", ["hello there"] * 3), strategies=("replay", "l2sp", "lora"), baselines=False,
        training=SMALL, replay=Replay(ratio=1.0, budget="total"),
    )  # fmt: skip
    plain, replayed, held, low_rank = found.summaries
    assert replayed.trained_tokens == pytest.approx(plain.trained_tokens, rel=0.15)  # whole steps of rows that differ in length
    assert replayed.replayed_tokens == pytest.approx(0.5 * plain.trained_tokens, rel=0.2)
    assert held.trained_tokens == low_rank.trained_tokens == plain.trained_tokens
    assert held.extra_bytes == 4 * sum(weight.numel() for weight in model.load().parameters())
    by = {one.strategy: one.matrix for one in found.outcomes}
    assert by["l2sp"][1] == by["sequential"][1]
    assert by["l2sp"][2] != by["sequential"][2]
    assert by["lora"][1] != by["sequential"][1] != by["replay"][1]


def test_what_makes_no_study_is_refused(tmp_path, monkeypatch):
    model, tasks, suites = world(tmp_path / "model")
    with pytest.raises(ValueError, match="2 tasks and 1 suites"):
        continual_learning(model, tasks, suites[:1])
    with pytest.raises(ValueError, match=r"strategies=\['magic'\] are none"):
        continual_learning(model, tasks, suites, strategies=("replay", "magic"))
    with pytest.raises(ValueError, match="orders=3: 2 tasks have 1 to 2"):
        continual_learning(model, tasks, suites, orders=3)
    with pytest.raises(ValueError, match="holds nothing to learn"):
        continual_learning(model, [tasks[0], corpus("z", [""])], suites)
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 1000}))
    with pytest.raises(ValueError, match="2 fp32 copies of the weights"):
        continual_learning(model, tasks, suites, strategies=("ewc",))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="without a launcher"):
        continual_learning(model, tasks, suites)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Replay(ratio=0), "ratio=0"),
        (lambda: Replay(buffer_rows=0), "buffer_rows=0"),
        (lambda: Elastic(strength=-1), "strength=-1"),
        (lambda: Elastic(l2sp=math.inf), "l2sp=inf"),
        (lambda: Elastic(gamma=2), "gamma=2"),
        (lambda: Elastic(fisher_rows=0), "fisher_rows=0"),
        (lambda: Training(batch_tokens=0), "batch_tokens=0"),
        (lambda: Reservoir(0, seed=0), "buffer of 0"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_recipe_may_give_lists_of_either_table_and_settings_by_group():
    signature = signature_of(continual_learning)
    assert accepts(element(signature.flows["tasks"]), Corpus)
    assert accepts(element(signature.flows["tasks"]), Examples)
    given = {"epochs": 2, "adapter": {"rank": 4}}
    read = check_value(signature.settings["training"], given, where="line 1", name="training")
    assert read == Training(epochs=2, adapter=Adapter(rank=4))
    assert check_value(signature.settings["strategies"], ["replay"], where="line 1", name="strategies") == ("replay",)
