"""Plans: exact on curves that are power laws, and made of real trainings."""

import math

import pytest

from metier.artifacts import Corpus
from metier.models.source import open_model
from metier.pretrain.vocabulary_extension import vocabulary_extension
from metier.pretrain.vocabulary_extension.transfer import Arm, Point, fit_law, plan, transfer

SIZES = [1e5, 2e5, 3e5, 4e5, 5e5, 6e5]


def arm(a, b, c, fertility, start=9.0):
    values = [a + b * size**-c for size in SIZES]
    points = [Point(0.0, start, 2.0), *(Point(size, value, 2.5) for size, value in zip(SIZES, values, strict=True))]
    return Arm(fertility, points, fit_law(SIZES, values))


@pytest.mark.parametrize(("a", "b", "c"), [(0.8, 300.0, 0.5), (1.5, 40.0, 0.3)])
def test_the_law_of_a_power_law_is_itself(a, b, c):
    law = fit_law(SIZES, [a + b * size**-c for size in SIZES])
    assert law.usable
    assert (law.a, law.b, law.c) == pytest.approx((a, b, c), rel=1e-3)
    assert law.reaches(a + b * 1e7**-c) == pytest.approx(1e7, rel=1e-2)
    assert law.reaches(a / 2) == math.inf


def test_a_plan_reads_goal_crossing_and_break_even_from_the_curves():
    plain, longer = arm(1.0, 300.0, 0.5, fertility=0.5), arm(0.5, 600.0, 0.5, fertility=0.3, start=10.0)
    found = plan({"as it is": plain, "extended": longer}, goal=1.0 + 300 * 1e6**-0.5)
    # 1 + 300 n^-1/2 = 0.5 + 600 n^-1/2 at n = 600^2; between measured points a straight line stands for the curves.
    assert found.crossing == pytest.approx(3.6e5, rel=0.02)
    assert found.bytes_needed["as it is"] == pytest.approx(1e6, rel=0.01)
    assert found.bytes_needed["extended"] == pytest.approx((600 / 0.8) ** 2, rel=0.08)
    assert found.saved == pytest.approx(0.4)
    assert found.repaid == 0.0 and found.old_lost == {"as it is": 0.5, "extended": 0.5}
    assert "extend" in found.sentence
    worse = plan({"as it is": plain, "extended": arm(1.0, 600.0, 0.5, fertility=0.3)}, goal=1.35)
    assert worse.crossing is None and "do not extend" in worse.sentence
    tokens = worse.bytes_needed["extended"] * 0.3 - worse.bytes_needed["as it is"] * 0.5
    assert worse.repaid == pytest.approx(tokens / 0.2)


def test_a_goal_that_no_curve_reaches_is_not_promised():
    found = plan({"as it is": arm(1.0, 300.0, 0.5, 0.5)}, goal=0.9)
    assert found.bytes_needed == {"as it is": None} and found.saved is None and found.crossing is None
    with pytest.raises(ValueError, match="3 or more"):
        fit_law([1.0, 2.0], [1.0, 0.5])


def test_two_arms_are_measured_after_equal_bytes(tmp_path):
    russian = [f"Модель {number} читает слова и говорит, какое слово будет следующим за ним. " * 3 for number in range(24)]
    english = [f"The model {number} reads words and says which word comes next. " * 3 for number in range(6)]
    base = open_model("tiny")
    texts, unseen, old = (
        Corpus.from_rows([{"id": str(n), "text": text, "source": "s"} for n, text in enumerate(found)])
        for found in (russian[4:], russian[:4], english)
    )
    longer = vocabulary_extension(base, texts, new_tokens=60, workdir=tmp_path / "longer")
    found = transfer(
        base,
        texts,
        unseen,
        longer,
        old,
        old,
        points=3,
        learning_rate=1e-3,
        sequence_length=128,
        batch_tokens=512,
        workdir=tmp_path,
    )
    plain, extended = found.arms["as it is"], found.arms["extended"]
    assert next(point.num_bytes for point in plain.points) == 0
    size = sum(len(text.encode()) for text in russian[4:])
    assert plain.points[-1].num_bytes == extended.points[-1].num_bytes == size
    assert plain.fertility == pytest.approx(sum(len(base.tokenizer()(text)["input_ids"]) for text in russian[4:]) / size)
    # A random model spreads 9 bits over each token, whatever the vocabulary.
    assert plain.points[0].target == pytest.approx(9 * plain.fertility, rel=0.1)
    assert extended.points[0].target == pytest.approx(math.log2(572) * extended.fertility, rel=0.1)
    assert plain.points[-1].target < plain.points[0].target
    assert found.saved > 0.3 and found.old_lost["extended"] is not None


def test_settings_that_cannot_be_right_are_refused():
    empty = Corpus.from_rows([])
    with pytest.raises(ValueError, match="points=0"):
        transfer(open_model("tiny"), empty, empty, points=0)
    with pytest.raises(ValueError, match="replay_share=1"):
        transfer(open_model("tiny"), empty, empty, replay_share=1.0)
    with pytest.raises(ValueError, match="corpus holds no text"):
        transfer(open_model("tiny"), empty, empty)
