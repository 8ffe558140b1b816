from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from metier.core.lineage import StageRecord, lineage
from metier.report.graph import BOX, graph


def records(parents):
    """Stages named by number, each made from those in its list."""
    return [
        StageRecord(Path("/run/stages") / str(i), {"stage": str(i), "input_folders": {str(p): str(p) for p in above}, "result": {"type": "Corpus"}})
        for i, above in enumerate(parents)
    ]  # fmt: skip


@st.composite
def dags(draw):
    return [sorted(draw(st.sets(st.integers(0, i - 1), max_size=4))) if i else [] for i in range(draw(st.integers(1, 14)))]


@given(dags())
def test_inputs_stand_above_and_nothing_overlaps(parents):
    drawn = graph(records(parents))
    y = [node.y for node in drawn.nodes]
    assert all(y[parent] < y[child] for child, above in enumerate(parents) for parent in above)
    assert len(drawn.edges) == sum(map(len, parents))
    boxes = [(node.x, node.y) for node in drawn.nodes]
    assert all(abs(a[0] - b[0]) >= drawn.box_width or abs(a[1] - b[1]) > BOX for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(drawn.box_width / 2 <= x <= drawn.width - drawn.box_width / 2 for x, _ in boxes)
    assert all(BOX / 2 <= y <= drawn.height - BOX / 2 for _, y in boxes)


def test_a_stage_stands_just_above_what_is_made_from_it():
    drawn = graph(records([[], [], [0], [2], [1, 3]]))  # 1 is needed only at the end, by 4
    assert drawn.nodes[1].y == drawn.nodes[3].y


def test_no_stages_no_picture():
    assert graph([]).nodes == []


def test_the_run_is_drawn_whole(finished):
    drawn = graph(lineage(finished.scores.path))
    assert {node.name for node in drawn.nodes} == set(finished.run.folders)
    assert next(node.kind for node in drawn.nodes if node.name == "parts") == "Corpus"
