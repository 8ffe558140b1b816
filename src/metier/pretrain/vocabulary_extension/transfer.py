"""`pretrain.vocabulary_extension.transfer`: how much text a model must read of a new language, with an extended vocabulary or without."""
# P points of a curve

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import optimize

from metier.artifacts import Corpus, Model
from metier.artifacts.files import work_folder
from metier.engines.text.pack import pack
from metier.engines.text.sequences import tokenize_texts
from metier.engines.train.fit import Precision, Schedule, Watch, fit
from metier.method import method

TARGET, OLD = "target", "old"
EXPONENTS = (0.05, 2.0)
FURTHEST = 8  # times the text that was read, beyond which a curve says nothing


@dataclass(frozen=True)
class Point:
    """After `num_bytes` of the new language: bits a byte of held-out text of the new and of the old language (None without any)."""

    num_bytes: float
    target: float
    old: float | None


@dataclass(frozen=True)
class Law:
    """bits(n) = a + b n^-c of a curve's points after reading n > 0 bytes. usable: whether it falls, with c inside 0.05 to 2."""

    a: float
    b: float
    c: float
    usable: bool

    def reaches(self, level: float) -> float:
        """The bytes at which the curve is at `level`; inf where it never gets there."""
        return (self.b / (level - self.a)) ** (1 / self.c) if level > self.a and self.b > 0 else math.inf


@dataclass(frozen=True)
class Arm:
    """fertility: tokens a byte of the new language; law: of the points after the first, None for fewer than three"""

    fertility: float
    points: list[Point]
    law: Law | None


@dataclass(frozen=True)
class Plan:
    """What the curves say.

    bytes_needed: to the goal, by arm, None without a goal or where the curve does not say (not usable, or beyond 8 times the text read)
    saved: share of tokens that the extension saves in training and serving; None without an extended model
    crossing: bytes from which on the extended model is better at equal text, None where it never was in what was read
    repaid: bytes of training text whose saved tokens equal those that the extended model reads more until the goal, 0 where it needs
        no more; None where that is not known
    old_lost: bits a byte that the old language lost, by arm
    """

    arms: dict[str, Arm]
    goal: float | None
    bytes_needed: dict[str, float | None]
    saved: float | None
    crossing: float | None
    repaid: float | None
    old_lost: dict[str, float | None]
    sentence: str


@method(
    paper="LLaMA Beyond English, arXiv 2401.01055, sections 3 and 4",
    claim="bytes to a goal and the crossing of two curves, exact where curves follow a power law",
)
def transfer(
    model: Model,
    corpus: Corpus,
    held_out: Corpus,
    extended: Model | None = None,
    old: Corpus | None = None,
    replay: Corpus | None = None,
    *,
    goal: float | None = None,
    replay_share: float = 0.2,
    points: int = 6,
    learning_rate: float = 1e-4,
    sequence_length: int = 512,
    batch_tokens: int = 4096,
    precision: Precision = "auto",
    checkpoint_seconds: float = 120.0,
    seed: int = 0,
    workdir: Path | None = None,
) -> Plan:
    """A plan from your own curves: the model, and the extended one, read the corpus once and are measured on the way.

    Arms are compared after equal bytes of text, in bits a byte of held-out text, since token perplexities of two vocabularies compare
    nothing. The learning rate is constant after warm-up, so that every point is what a training that ends there would be near. `old` is
    held-out text of the old language, `replay` text of it that is mixed in. One run an arm: repeat with other seeds before a small
    difference decides. Raises ValueError for settings out of range and for corpora without text.
    Settings:
        goal: bits a byte of held-out text that are wanted; null for none
        replay_share: of all bytes read, where there is a replay corpus; 0.1 to 0.3 holds the old language
        points: measurements after the one before training; three or more give a curve
        learning_rate: the peak, of both arms
        sequence_length: tokens of a row
        batch_tokens: tokens of an optimiser step of the model; the extended one reads as many bytes a step
        precision: of the arithmetic
        checkpoint_seconds: how often the state is saved for a resume
    """
    if points < 1 or batch_tokens < 1:
        raise ValueError(f"points={points}, batch_tokens={batch_tokens}: give 1 or more of both")
    if not 0 <= replay_share < 1:
        raise ValueError(f"replay_share={replay_share} is no share: give a number from 0 up to but not 1")
    texts = _texts(corpus, "corpus")
    mixed = _mixed(texts, _texts(replay, "replay") if replay is not None else [], replay_share, seed)
    unseen = {TARGET: _texts(held_out, "held_out")} | ({OLD: _texts(old, "old")} if old is not None else {})
    folder = work_folder(workdir, "transfer")
    arms: dict[str, Arm] = {}
    for name, one in {"as it is": model, "extended": extended}.items():
        if one is None:
            continue
        tokenizer = one.tokenizer()
        fertility = sum(len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) for text in texts) / _size(
            texts
        )
        base = arms["as it is"].fertility if arms else fertility
        length = min(sequence_length, getattr(one.config(), "max_position_embeddings", None) or sequence_length)
        rows = pack(list(tokenize_texts(mixed, tokenizer, longest=length)), sequence_length=length)
        apart = [
            pack(list(tokenize_texts([(text, kind) for text in found], tokenizer, longest=length)), sequence_length=length)
            for kind, found in unseen.items()
        ]
        schedule = Schedule(
            epochs=1.0,
            rows_per_step=max(1, round(batch_tokens * fertility / base / length)),
            learning_rate=learning_rate,
            shape="constant",
        )
        place = folder / name.replace(" ", "-")
        fit(
            one, rows, [row for part in apart for row in part], schedule, adapter=None, precision=precision,
            checkpoint_seconds=checkpoint_seconds, seed=seed, workdir=place, method="pretrain.vocabulary_extension.transfer",
            watch=Watch(evaluations=points, held_out_tokens=1 << 60),
        )  # fmt: skip
        predicted = {
            kind: sum(sequence.num_predicted for row in part for sequence in row)
            for kind, part in zip(unseen, apart, strict=True)
        }
        bits = {kind: predicted[kind] / _size(found) / math.log(2) for kind, found in unseen.items()}
        arms[name] = _arm(place / "metrics.jsonl", fertility, bits, float(_size(texts)))
    return plan(arms, goal)


def plan(arms: dict[str, Arm], goal: float | None) -> Plan:
    """What curves say; arms "as it is" and, where there is one, "extended", with points after equal numbers of bytes."""
    plain, longer = arms["as it is"], arms.get("extended")
    needed = {name: _needed(arm, goal) for name, arm in arms.items()}
    lost = {
        name: arm.points[-1].old - arm.points[0].old if arm.points[-1].old is not None and arm.points[0].old is not None else None
        for name, arm in arms.items()
    }
    saved = 1 - longer.fertility / plain.fertility if longer is not None else None
    crossing = _crossing(plain.points, longer.points) if longer is not None else None
    repaid = None
    mine, theirs = needed.get("extended"), needed["as it is"]
    if saved is not None and longer is not None and mine is not None and theirs is not None:
        extra = mine * longer.fertility - theirs * plain.fertility  # tokens until the goal
        repaid = 0.0 if extra <= 0 else extra / (plain.fertility - longer.fertility) if saved > 0 else None
    return Plan(arms, goal, needed, saved, crossing, repaid, lost, _sentence(plain, longer, saved, crossing))


def fit_law(num_bytes: Sequence[float], bits: Sequence[float]) -> Law:
    """The power law of least squared error with a and b from 0. Raises ValueError below 3 points."""
    n_P, y_P = np.asarray(num_bytes, dtype=np.float64), np.asarray(bits, dtype=np.float64)
    if len(n_P) < 3 or n_P.shape != y_P.shape or (n_P <= 0).any():
        raise ValueError(
            f"{len(n_P)} sizes and {len(y_P)} values give no curve of three parameters: give 3 or more of both, above 0"
        )
    unit = n_P.max()

    def best(exponent: float) -> tuple[float, float, float]:
        (a, b), residual = optimize.nnls(np.stack([np.ones_like(n_P), (n_P / unit) ** -exponent], axis=1), y_P)
        return float(residual), float(a), float(b)

    grid = np.geomspace(*EXPONENTS, 40)
    place = int(np.argmin([best(exponent)[0] for exponent in grid]))
    around = (grid[max(0, place - 1)], grid[min(len(grid) - 1, place + 1)])
    c = float(
        optimize.minimize_scalar(lambda exponent: best(exponent)[0], bounds=around, method="bounded", options={"xatol": 1e-9}).x
    )
    _, a, b = best(c)
    return Law(a, b * unit**c, c, usable=b > 0 and EXPONENTS[0] * 1.01 < c < EXPONENTS[1] * 0.99)


def _needed(arm: Arm, goal: float | None) -> float | None:
    """The first point at the goal or below it, else what the law says."""
    if goal is None:
        return None
    for point in arm.points:
        if point.target <= goal:
            return point.num_bytes
    if arm.law is None or not arm.law.usable:
        return None
    found = arm.law.reaches(goal)
    return found if found <= FURTHEST * arm.points[-1].num_bytes else None


def _crossing(plain: Sequence[Point], longer: Sequence[Point]) -> float | None:
    """Bytes from which on the second is below the first to the end, between points on a straight line."""
    gaps = [theirs.target - mine.target for mine, theirs in zip(plain, longer, strict=True)]
    if gaps[-1] >= 0:
        return None
    last = max((number for number, gap in enumerate(gaps) if gap >= 0), default=None)
    if last is None:
        return 0.0
    share = gaps[last] / (gaps[last] - gaps[last + 1])
    return plain[last].num_bytes + share * (plain[last + 1].num_bytes - plain[last].num_bytes)


def _sentence(plain: Arm, longer: Arm | None, saved: float | None, crossing: float | None) -> str:
    read, end = plain.points[-1].num_bytes, plain.points[-1].target
    if longer is None or saved is None:
        return f"After {read:.3g} bytes the model is at {end:.3f} bits a byte, from {plain.points[0].target:.3f}."
    verdict = (
        f"from {crossing:.3g} bytes on it is ahead at equal text: extend" if crossing is not None
        else "and it was not ahead within them: do not extend at this budget, or read far more"
    )  # fmt: skip
    return (
        f"After {read:.3g} bytes the model is at {end:.3f} bits a byte as it is and at {longer.points[-1].target:.3f} extended, "
        f"which saves {saved:.0%} of the tokens; {verdict}."
    )


def _arm(metrics: Path, fertility: float, bits: dict[str, float], num_bytes: float) -> Arm:
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    measured = {line["step"]: line for line in lines if "held_out" in line}
    steps = max(measured)
    points = [
        Point(
            num_bytes * step / steps,
            line["held_out"][TARGET] * bits[TARGET],
            line["held_out"][OLD] * bits[OLD] if OLD in bits else None,
        )
        for step, line in sorted(measured.items())
    ]
    after = [point for point in points if point.num_bytes > 0]
    law = fit_law([point.num_bytes for point in after], [point.target for point in after]) if len(after) >= 3 else None
    return Arm(fertility, points, law)


def _texts(corpus: Corpus, name: str) -> list[str]:
    found = [row["text"] for row in corpus.rows() if row["text"]]
    if not found:
        raise ValueError(f"{name} holds no text: look at the counts of the stages before")
    return found


def _size(texts: Sequence[str]) -> int:
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


def _mixed(texts: Sequence[str], replayed: Sequence[str], share: float, seed: int) -> list[tuple[str, str]]:
    """All texts of the new language, and of the old one drawn with replacement until it has its share of the bytes."""
    mixed, missing = [(text, TARGET) for text in texts], _size(texts) * share / (1 - share) if replayed else 0.0
    generator = random.Random(seed)
    while missing > 0:
        text = generator.choice(replayed)
        mixed.append((text, OLD))
        missing -= len(text.encode("utf-8", "surrogatepass"))
    return mixed
