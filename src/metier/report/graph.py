"""The lineage as a picture: stages in layers, inputs above what was made from them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metier.core.lineage import StageRecord

SLOT, BEND, ROW, BOX = 92.0, 16.0, 54.0, 26.0  # widths of a stage and of a passing line, height of a layer and of a box


@dataclass(frozen=True)
class Node:
    """A stage's box: its middle, and the number it has in the list below the picture."""

    number: int
    name: str
    kind: str
    x: float
    y: float


@dataclass(frozen=True)
class Graph:
    """Boxes of `box_width` by `box_height` and lines (SVG paths), in a picture of `width` by `height`."""

    nodes: list[Node]
    edges: list[str]
    width: float
    height: float
    widest: int
    box_width: float = SLOT - 10
    box_height: float = BOX


def graph(records: Sequence[StageRecord]) -> Graph:
    """The picture of stages that are given with ancestors first.

    Each stage stands as low as what is made from it allows, so that lines stay short; a line past a layer has a place in it, and
    places are ordered by the mean place of their neighbours above, then below, which takes out most crossings.
    """
    number = {record.folder: index for index, record in enumerate(records)}
    parents = {
        index: sorted({number[folder] for folder in _inputs(record) if folder in number}) for index, record in enumerate(records)
    }
    layer = _layers(parents)
    layers, chains = _with_bends(parents, layer)
    _untangle(layers, chains)
    x, width = _places(layers, len(records))
    nodes = [
        Node(index + 1, record.name, kind(record), x[index], ROW * layer[index] + BOX / 2 + 1)
        for index, record in enumerate(records)
    ]
    depth = {place: level for level, row in enumerate(layers) for place in row}
    edges = [_path([(x[place], ROW * depth[place] + BOX / 2 + 1) for place in chain]) for chain in chains]
    widest = max((sum(place < len(records) for place in row) for row in layers), default=0)
    return Graph(nodes, edges, width, ROW * max(len(layers) - 1, 0) + BOX + 2, widest)


def kind(record: StageRecord) -> str:
    """What a stage made: the kind of its result, or of the fields of it."""
    result = record.facts["result"]
    return str(result["type"]) if "type" in result else ", ".join(dict.fromkeys(result["fields"].values()))


def _inputs(record: StageRecord) -> list[Path]:
    return [record.folder.parent / name for name in record.facts["input_folders"].values()]


def _layers(parents: dict[int, list[int]]) -> dict[int, int]:
    earliest: dict[int, int] = {}
    for index in sorted(parents):
        earliest[index] = max((earliest[parent] + 1 for parent in parents[index]), default=0)
    layer: dict[int, int] = {}
    for index in sorted(parents, reverse=True):
        children = [child for child, above in parents.items() if index in above]
        layer[index] = min((layer[child] - 1 for child in children), default=earliest[index])
    return layer


def _with_bends(parents: dict[int, list[int]], layer: dict[int, int]) -> tuple[list[list[int]], list[list[int]]]:
    """The places of each layer, and each edge as the chain of places it runs through; places beyond the stages are bends."""
    layers: list[list[int]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for index, level in layer.items():
        layers[level].append(index)
    for row in layers:
        row.sort()
    chains, fresh = [], len(layer)
    for index in sorted(parents):
        for parent in parents[index]:
            bends = range(layer[parent] + 1, layer[index])
            chains.append([parent, *range(fresh, fresh + len(bends)), index])
            for place, level in enumerate(bends, start=fresh):
                layers[level].append(place)
            fresh += len(bends)
    return layers, chains


def _untangle(layers: list[list[int]], chains: list[list[int]]) -> None:
    above: dict[int, list[int]] = {}
    below: dict[int, list[int]] = {}
    for chain in chains:
        for upper, lower in itertools.pairwise(chain):
            above.setdefault(lower, []).append(upper)
            below.setdefault(upper, []).append(lower)
    for _ in range(4):
        for order, neighbours in ((layers, above), (layers[::-1], below)):
            for fixed, row in itertools.pairwise(order):
                at = {place: (index + 0.5) / len(fixed) for index, place in enumerate(fixed)}
                now = {place: (index + 0.5) / len(row) for index, place in enumerate(row)}
                row.sort(key=lambda place: _mean([at[one] for one in neighbours.get(place, [])], now[place]))


def _mean(numbers: list[float], otherwise: float) -> float:
    return sum(numbers) / len(numbers) if numbers else otherwise


def _places(layers: list[list[int]], num_stages: int) -> tuple[dict[int, float], float]:
    widths = [sum(SLOT if place < num_stages else BEND for place in row) for row in layers]
    width = max(widths, default=SLOT)
    x: dict[int, float] = {}
    for row, own in zip(layers, widths, strict=True):
        left = (width - own) / 2
        for place in row:
            step = SLOT if place < num_stages else BEND
            x[place] = left + step / 2
            left += step
    return x, width


def _path(points: list[tuple[float, float]]) -> str:
    """From the lower side of the first box to the upper side of the last, straight down where it passes between boxes."""
    x, y = points[0]
    path = f"M{x:g},{y + BOX / 2:g}"
    for next_x, next_y in points[1:]:
        top, bottom, bend = y + BOX / 2, next_y - BOX / 2, (next_y - y - BOX) / 2
        path += f"C{x:g},{top + bend:g} {next_x:g},{bottom - bend:g} {next_x:g},{bottom:g}"
        if (next_x, next_y) != points[-1]:
            path += f"V{next_y + BOX / 2:g}"
        x, y = next_x, next_y
    return path
