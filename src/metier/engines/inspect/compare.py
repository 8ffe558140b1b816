"""The tables of a comparison: what two models share inside, each likeness with its interval and with what chance or noise would give."""
# N pairs, statements or prompts, L blocks, S tokens after the examples, D hidden size, R replicates

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from metier.engines.inspect.directions import bootstrap_weights, calls_right, cosine, fit_probe, folds, resampled_differences
from metier.engines.inspect.examine import Crossed, Own, Rates
from metier.engines.inspect.neurons import Neurons, overlap
from metier.engines.inspect.questions import Asked
from metier.engines.inspect.refusal import cosines
from metier.engines.inspect.tracing import binned, similarity
from metier.engines.inspect.truth import indirect_effect
from metier.engines.stats.bootstrap import ratio
from metier.engines.stats.exact import binomial_interval

REPLICATES = 1000
BOTH = "before and after"

Row = dict[str, Any]
Owns = Mapping[str, Own]
Crosses = Mapping[str, Crossed]


def summary_rows(asked: Mapping[str, Asked], found: Owns, crossed: Crosses, different: str | None, seed: int) -> list[Row]:
    """One row a number: part, measure, of, value, low, high, num, note. `different`: why nothing is compared; None where all is."""
    rows = [
        *_knowledge(asked, found, crossed, seed),
        *_truth(asked, found, crossed, seed),
        *_refusal(asked, found, crossed, seed),
    ]
    rows += _confidence(found)
    if different is not None:
        rows.append(_row("comparison", "not made", BOTH, None, note=different))
    return rows


def map_rows(asked: Mapping[str, Asked], found: Owns, crossed: Crosses) -> list[Row]:
    """One row a cell of every map, of each model's own states and of the other's."""
    rows = []
    for donor, receiver, map_NLS in _maps(found, crossed):
        map_LS, columns = map_NLS.mean(axis=0), asked[receiver].pairs.columns
        bins_LS = binned(map_LS)
        for layer, token in np.ndindex(map_LS.shape):
            rows.append(
                {
                    "donor": donor,
                    "receiver": receiver,
                    "layer": layer,
                    "token": token - len(columns),
                    "column": columns[token],
                    "effect": float(map_LS[layer, token]),
                    "binned": float(bins_LS[layer, token]),
                }
            )
    return rows


def refusal_rows(found: Owns, different: str | None) -> list[Row]:
    """One row a layer and place: the cosine of the two directions, beside what two halves of each model's own prompts reach."""
    ours, theirs = found["before"].refusal, found["after"].refusal
    if ours is None or theirs is None or different is not None:
        return []
    cosine_LP = cosines(ours.grid.directions, theirs.grid.directions)
    return [
        {
            "layer": layer,
            "place": place - cosine_LP.shape[1],
            "cosine": float(cosine_LP[layer, place]),
            "reliability_before": float(ours.grid.reliability[layer, place]),
            "reliability_after": float(theirs.grid.reliability[layer, place]),
        }
        for layer, place in np.ndindex(cosine_LP.shape)
    ]


def neuron_rows(found: Owns) -> list[Row]:
    """One row an entropy neuron and model, the most neutral first."""
    chosen = {name: set(own.neurons.chosen) for name, own in found.items() if isinstance(own.neurons, Neurons)}
    shared = set.intersection(*chosen.values()) if len(chosen) == len(found) else set()
    return [
        {
            "model": name,
            "neuron": neuron,
            "norm": float(own.neurons.norm[neuron]),
            "logit_variance": float(own.neurons.logit_variance[neuron]),
            "shared": neuron in shared,
        }
        for name, own in found.items()
        if isinstance(own.neurons, Neurons)
        for neuron in own.neurons.chosen
    ]


def _row(
    part: str,
    measure: str,
    of: str,
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    num: int | None = None,
    note: str = "",
) -> Row:
    return {
        "part": part,
        "measure": measure,
        "of": of,
        "value": None if value is None else float(value),
        "low": low,
        "high": high,
        "num": num,
        "note": note,
    }


def _drawn(part: str, measure: str, of: str, value: float, replicates_R: np.ndarray, num: int, note: str = "") -> Row:
    low, high = np.quantile(replicates_R, [0.025, 0.975])
    return _row(part, measure, of, value, float(low), float(high), num, note)


def _maps(found: Owns, crossed: Crosses) -> Iterator[tuple[str, str, np.ndarray]]:
    """(donor, receiver, margins) of every map there is."""
    for name, own in found.items():
        if own.map is not None:
            yield name, name, own.map
    for name, cross in crossed.items():
        if cross.map is not None:
            yield _other(name), name, cross.map


def _other(name: str) -> str:
    return "before" if name == "after" else "after"


def _knowledge(asked: Mapping[str, Asked], found: Owns, crossed: Crosses, seed: int) -> Iterator[Row]:
    for name, own in found.items():
        num = 2 * len(own.margins.true)
        share = binomial_interval(own.margins.num_right(), num)
        answers, skipped = asked[name].answers, asked[name].pairs.skipped
        note = f"{answers.true_word!r} or {answers.false_word!r}; statements left out: {skipped}"
        yield _row("knowledge", "accuracy", name, share.value, share.low, share.high, num, note)
        if own.map is None:
            yield _row("knowledge", "map not made", name, None, note=f"right too seldom: {share.value:.0%}")
    maps = {(donor, receiver): map_NLS for donor, receiver, map_NLS in _maps(found, crossed)}
    own_ones = (("before", "before"), ("after", "after"))
    if crossed and all(key in maps for key in own_ones):
        columns = asked["after"].pairs.columns
        yield from _likeness(maps["before", "before"], maps["after", "after"], BOTH, columns, seed)
        for receiver in ("before", "after"):
            of = f"{_other(receiver)} in {receiver}, and {receiver} in itself"
            yield from _likeness(maps[_other(receiver), receiver], maps[receiver, receiver], of, columns, seed)


def _likeness(one_NLS: np.ndarray, other_NLS: np.ndarray, of: str, columns: list[str], seed: int) -> Iterator[Row]:
    """How alike two mean maps are, and how alike one is to the other with its layers and tokens shuffled."""
    num = len(one_NLS)
    known_S = np.array([column in ("subject", "object") for column in columns])
    counts_RN = bootstrap_weights(np.zeros(num), REPLICATES, seed)
    ones_RLS, others_RLS = (np.tensordot(counts_RN / num, maps, axes=1) for maps in (one_NLS, other_NLS))
    drawn = [_measures(one, other, known_S) for one, other in zip(ones_RLS, others_RLS, strict=True)]
    for measure, value in _measures(one_NLS.mean(axis=0), other_NLS.mean(axis=0), known_S).items():
        yield _drawn("knowledge", measure, of, value, np.array([found[measure] for found in drawn]), num)
    generator, (layers, tokens) = np.random.default_rng(seed), one_NLS.shape[1:]
    mean_LS = other_NLS.mean(axis=0)
    shuffled_R = np.array(
        [
            similarity(one_NLS.mean(axis=0), mean_LS[generator.permutation(layers)][:, generator.permutation(tokens)])
            for _ in range(REPLICATES)
        ]
    )
    yield _drawn(
        "knowledge", "map_r_shuffled", of, float(shuffled_R.mean()), shuffled_R, REPLICATES, "layers and tokens permuted"
    )


def _measures(one_LS: np.ndarray, other_LS: np.ndarray, known_S: np.ndarray) -> dict[str, float]:
    ones_LS, others_LS = binned(one_LS), binned(other_LS)
    difference_LS = np.abs(ones_LS - others_LS)
    return {
        "map_r_raw": similarity(one_LS, other_LS),
        "map_r_binned": similarity(ones_LS, others_LS),
        "max_diff_all": float(difference_LS.max()),
        "max_diff_knowledge": float(difference_LS[:, known_S].max()),
    }


def _truth(asked: Mapping[str, Asked], found: Owns, crossed: Crosses, seed: int) -> Iterator[Row]:
    statements = asked["after"].statements
    labels_N = np.array([statement.is_true for statement in statements])
    groups = [statement.source for statement in statements]
    trained_N = asked["after"].trained
    counts_RN = bootstrap_weights(labels_N[trained_N], REPLICATES, seed)
    drawn = {name: resampled_differences(own.states[trained_N], labels_N[trained_N], counts_RN) for name, own in found.items()}
    for name, own in found.items():
        likeness_R = np.array([cosine(one, own.direction) for one in drawn[name]])
        note = "of the direction with that of resampled statements: what a likeness could reach"
        yield _drawn("truth", "cosine_resampled", name, float(likeness_R.mean()), likeness_R, int(trained_N.sum()), note)
    if crossed:
        both = (found["before"].direction, found["after"].direction)
        drawn_R = np.array([cosine(one, other) for one, other in zip(drawn["before"], drawn["after"], strict=True)])
        yield _drawn("truth", "cosine", BOTH, cosine(*both), drawn_R, int(trained_N.sum()))
    for name in found:
        for donor in ("before", "after") if crossed else (name,):
            right_N = _transfer(found[donor].states, found[name].states, labels_N, groups, seed)
            value = ratio(right_N, np.ones(len(right_N)), seed=seed, replicates=REPLICATES)
            yield _row("truth", "accuracy", f"{donor} in {name}", value.value, value.low, value.high, len(right_N))
    yield from _effects(asked, found, crossed, seed)


def _transfer(donor_ND: np.ndarray, own_ND: np.ndarray, labels_N: np.ndarray, groups: list[str], seed: int) -> np.ndarray:
    """Whether the probe of the donor's states is right on the other states of what was held out, in every fold, (N,) of 0 and 1."""
    right_N = np.zeros(len(labels_N))
    for held_N in folds(groups, seed):
        probe = fit_probe(donor_ND[~held_N], labels_N[~held_N])
        right_N[held_N] = calls_right(probe, own_ND[held_N], labels_N[held_N])
    return right_N


def _effects(asked: Mapping[str, Asked], found: Owns, crossed: Crosses, seed: int) -> Iterator[Row]:
    labels_N = np.array([statement.is_true for statement in asked["after"].tried])
    counts_RN = bootstrap_weights(labels_N, REPLICATES, seed)
    for name, own in found.items():
        moved = {name: own.moved} | ({_other(name): crossed[name].moved} if name in crossed else {})
        for donor in sorted(moved, reverse=True):
            moved_N = moved[donor]
            if own.plain is not None and moved_N is not None:
                value = indirect_effect(own.plain, moved_N, labels_N)[0]
                drawn_R = indirect_effect(own.plain, moved_N, labels_N, counts_RN)
                yield _drawn("truth", "indirect_effect", f"{donor} in {name}", float(value), drawn_R, len(labels_N))


def _refusal(asked: Mapping[str, Asked], found: Owns, crossed: Crosses, seed: int) -> Iterator[Row]:
    ours, theirs = found["before"].refusal, found["after"].refusal
    if ours is None or theirs is None:
        return
    for name, refusal in (("before", ours), ("after", theirs)):
        value = float(refusal.grid.reliability[refusal.layer, -1])
        yield _row("refusal", "reliability", name, value, num=len(refusal.states), note="cosine of two halves of the prompts")
    if crossed:
        counts_RN = bootstrap_weights(asked["after"].labels, REPLICATES, seed)
        drawn = [resampled_differences(refusal.states, asked["after"].labels, counts_RN) for refusal in (ours, theirs)]
        drawn_R = np.array([cosine(one, other) for one, other in zip(*drawn, strict=True)])
        yield _drawn("refusal", "cosine", BOTH, cosine(ours.direction, theirs.direction), drawn_R, len(ours.states))
    for name, refusal in (("before", ours), ("after", theirs)):
        yield _rate("rate, harmful", name, refusal.harmful)
        yield _rate("rate, harmless", name, refusal.harmless)
        rates: dict[str, Rates | None] = {name: refusal.own}
        if name in crossed:
            rates[_other(name)] = crossed[name].rates
        for donor in sorted(rates, reverse=True):
            if (rate := rates[donor]) is not None:
                yield _rate("rate, harmful, ablated", f"{donor} in {name}", rate.ablation)
                yield _rate("rate, harmless, added", f"{donor} in {name}", rate.addition)


def _rate(measure: str, of: str, refused_N: np.ndarray) -> Row:
    share = binomial_interval(int(refused_N.sum()), len(refused_N))
    return _row("refusal", measure, of, share.value, share.low, share.high, len(refused_N))


def _confidence(found: Owns) -> Iterator[Row]:
    neurons = [own.neurons for own in found.values()]
    for name, own in found.items():
        if isinstance(own.neurons, str):
            yield _row("confidence", "neurons not found", name, None, note=own.neurons)
    one, other = neurons
    if isinstance(one, Neurons) and isinstance(other, Neurons) and len(one.norm) == len(other.norm):
        kept = int(one.logit_variance.isfinite().sum())
        chance = len(one.chosen) / (2 * kept - len(one.chosen))
        note = f"two random sets among those of large norm would share a part of {chance:.3f}"
        yield _row("confidence", "neuron_iou", BOTH, overlap(one, other), num=len(one.chosen), note=note)
        for neuron in sorted(set(one.chosen) & set(other.chosen)):
            for name, of_model in (("before", one), ("after", other)):
                share = float(of_model.norm[neuron] / of_model.logit_variance[neuron].log())
                yield _row("confidence", "norm_per_log_variance", f"{name}, neuron {neuron}", share)
