"""`pretrain.capability_dynamics`: which tasks say something at which checkpoint, which predict which, and whether training is healthy."""

from __future__ import annotations

import logging

from metier.artifacts import Table
from metier.method import method
from metier.pretrain.capability_dynamics.results import Findings

logger = logging.getLogger(__name__)


@method(
    paper="The Fine Line: Navigating Large Language Model Pretraining with Down-streaming Capability Analysis, arXiv 2404.01204",
    claim="tells tasks that show progress from noise, and says when later checkpoints can be foreseen and when not",
)
def capability_dynamics(
    results: Table,
    *,
    from_tokens: float = 0.0,
    early: float = 0.25,
    times_noise: float = 5.0,
    least_rho: float = 0.7,
    domains: dict[str, str] | None = None,
    lags: int = 2,
    least_tasks: int = 2,
    least_checkpoints: int = 2,
    replicates: int = 2000,
    seed: int = 0,
) -> Findings:
    """What the results of many checkpoints say: signal, similarity, predictions, lags, laws, changes by domain, alarms.

    `results` has a row for each checkpoint and task: model, task, value (share of right answers, or percent), tokens_seen (or step and
    tokens_per_step), stderr (or n items); and where known chance (0 without it), domain, params (weights, to tell small from large), loss,
    and setup: whatever makes results incomparable, such as shots, prompt or tokenizer, for only rows of one setup are joined.
    `capability_dynamics.followed` makes it of a training, `capability_dynamics.published` of published ones.

    The paper is prose; the tests are ours. Predictions are compared with persistence and trend because most beat neither: on Pythia the
    other tasks predict half of the tasks and are worse than the last value for the rest. Checkpoints of one training are no independent
    sample: intervals are over items, or over series. Values at the end of a decaying learning rate rise for its sake, too. A dozen series of
    one family are near copies: read intervals over them as of that family.
    Settings:
        from_tokens: checkpoints with fewer tokens are left out: before the first thousand steps or so all tasks are at chance
        early: share of the last checkpoint's tokens up to which predictions are fitted, above 0 and below 1
        times_noise: a task is usable where its gain is more than so many times its noise
        least_rho: and Spearman's correlation with log tokens is above this
        domains: task to domain, such as {piqa: commonsense}; null for the column domain, or one domain for all
        lags: checkpoints by which one domain may lead another, at most; 0 for no test
        least_tasks: usable tasks that must fall at once for an alarm
        least_checkpoints: for so many checkpoints in a row
        replicates: of bootstraps and permutations
    """
    from metier.pretrain.capability_dynamics.curves import by_series, curves_of
    from metier.pretrain.capability_dynamics.health import alarms
    from metier.pretrain.capability_dynamics.lags import domain_lags
    from metier.pretrain.capability_dynamics.law import law_of
    from metier.pretrain.capability_dynamics.prediction import from_other_tasks, from_smaller_models
    from metier.pretrain.capability_dynamics.signal import changes, panel, signal_of

    _check(early, times_noise, least_rho, lags, least_tasks, least_checkpoints, replicates)
    curves, notes = curves_of(results, domains, from_tokens)
    signals = [signal_of(curve, times_noise, least_rho) for curve in curves]
    told = {(one.model, one.setup, one.task) for one in signals if one.verdict in ("usable", "late")}
    usable = [curve for curve in curves if (*curve.series, curve.task) in told]
    by_tasks = from_other_tasks(curves, early, replicates, seed)
    by_models, similarities = from_smaller_models(curves, early, replicates, seed)
    laws = [law for curve in usable if (law := law_of(curve, replicates, seed)) is not None]
    if not by_tasks and not by_models:
        notes.append(
            f"nothing was predicted: that needs 3 checkpoints in the first {early:.0%} of the tokens, and two tasks of a domain or two "
            "models with params"
        )
    keep, drop = panel(signals)
    logger.info("%d curves; worth asking: %s; noise: %s", len(curves), ", ".join(keep) or "none", ", ".join(drop) or "none")
    return Findings(
        signals,
        similarities,
        by_tasks + by_models,
        domain_lags(curves, lags, replicates, seed),
        laws,
        [alarm for members in by_series(usable).values() for alarm in alarms(members, least_tasks, least_checkpoints)],
        changes(curves),
        keep,
        drop,
        notes,
    )


def _check(
    early: float, times_noise: float, least_rho: float, lags: int, least_tasks: int, least_checkpoints: int, replicates: int
) -> None:
    if not 0 < early < 1:
        raise ValueError(f"early={early} leaves nothing to fit or to predict: give a share between 0 and 1, such as 0.25")
    if times_noise < 0 or not -1 <= least_rho <= 1:
        raise ValueError(f"times_noise={times_noise}, least_rho={least_rho}: give 0 or more, and a correlation")
    if lags < 0 or least_tasks < 1 or least_checkpoints < 1 or replicates < 100:
        raise ValueError(
            f"lags={lags}, least_tasks={least_tasks}, least_checkpoints={least_checkpoints}, replicates={replicates}: give at least "
            "0, 1, 1 and 100"
        )
