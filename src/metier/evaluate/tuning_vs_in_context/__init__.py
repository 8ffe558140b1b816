"""Will instruction tuning give more than good examples in the prompt already give? Both measured over the same tasks."""

from __future__ import annotations

import gc
import logging
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from metier.artifacts import Examples, Items, Model, Scores
from metier.evaluate.tuning_vs_in_context import prompts as texts
from metier.evaluate.tuning_vs_in_context.correlation import Correlation, TaskPair, correlate
from metier.evaluate.tuning_vs_in_context.prompts import Control
from metier.method import method
from metier.models.precision import Precision
from metier.progress import task as progress_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

Row = dict[str, Any]
Way = Literal["regular", "sample_generation", "base_sample_generation", "base_gold", "unrelated"]
TUNED: tuple[Way, ...] = ("regular", "sample_generation")
IN_CONTEXT: tuple[Way, ...] = ("base_gold", "base_sample_generation")
FEWEST_TASKS = 3
SAME_PARENT = ("model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")


@dataclass(frozen=True)
class Findings:
    """correlations: by "tuned way ~ in-context way"; where the model wrote no examples of its own for some items also the same
    without those items. pairs: the task scores behind each. failures: for each way how many answers had no header, no examples,
    were empty or no option (all wrong), and from how many prompts examples were dropped because the model's window was too
    small."""

    correlations: dict[str, Correlation]
    pairs: dict[str, list[TaskPair]]
    failures: dict[str, dict[str, int]]


class TuningVsInContext(NamedTuple):
    """scores: a row for each item and way (column `model`); comparisons of its tasks set the base with examples against the
    tuned model."""

    scores: Scores
    findings: Findings


@method(
    paper="The Inherent Limits of Pretrained LLMs: The Unexpected Convergence of Instruction Tuning and In-Context Learning "
    "Capabilities, arXiv 2501.08716",
    claim="what tuning reaches without examples follows, over tasks, what the base reaches with them",
)
def tuning_vs_in_context(
    base: Model,
    tuned: Model,
    items: Items,
    examples: Examples,
    generator: Model | None = None,
    tuning: Examples | None = None,
    unrelated: Model | None = None,
    *,
    num_inner: int = 2,
    control: Control = "none",
    clusters: dict[str, str] | None = None,
    max_new_tokens: int = 250,
    max_sample_tokens: int = 1024,
    permutations: int = 10_000,
    dtype: Precision = "auto",
    seed: int = 42,
) -> TuningVsInContext:
    """The scores of up to four ways to answer the same items, and how those by tuning go with those in context, over tasks.

    regular: `tuned` without examples. base_gold: `base` with examples drawn from `examples` (columns task, prompt, completion;
    prompts of choices list their options as `question_of` does). With a `generator`, tuned to write its own examples
    (prompts.sample_generation makes its training rows), also sample_generation: what it answers, and base_sample_generation:
    what the base makes of the examples it wrote. Decoding is greedy. A tuned model's answer is the line after the header;
    without header it is wrong. A choice is right where the whole line is the option (column `numerator`); column `held` is the
    authors' laxer reading, the longest option that stands in the line. Generated answers are compared whole. The authors'
    BERTScore matching needs an encoder and always finds some option, so it is left out; so are ROUGE and BLEU. Correlations are
    given raw and less chance, given the difficulty seen by an `unrelated` model, with a null of shuffled tasks; families of
    tasks in `clusters` count once. Rows of `tuning` are searched for the items. Raises ValueError for fewer than three
    families, for models of different parents, and for items that the tuning data holds.
    Settings:
        num_inner: examples in a prompt; 2 in the authors' code
        control: of the examples given to the base: none, other_task, corrupted (wrong answers), unanswered
        clusters: family of a task, by task; tasks that are not named stand for themselves
        max_new_tokens: of a plain answer; 250 in the authors' code
        max_sample_tokens: of an answer with examples before it; 1024 in the authors' code
        permutations: shuffles of the tasks; all orders are taken where there are at most seven
        dtype: precision that all models compute in
    """
    rows = list(items.rows())
    families = clusters if clusters is not None else {}
    _check(rows, families, base, [tuned] if generator is None else [tuned, generator])
    if tuning is not None:
        _check_leaks(rows, tuning)
    drawn = _gold(rows, examples, num_inner, control, seed)
    found: dict[Way, list[Row]] = {}
    with progress_of("answering", total=2 + 2 * (generator is not None) + (unrelated is not None), unit="way") as progress:

        def ask(way: Way, model: Model, asked: Sequence[str | None], room: int) -> None:
            found[way] = _answered(way, model, rows, asked, room, dtype, control if way == "base_gold" else "none")
            progress.advance()

        ask("regular", tuned, [texts.regular_prompt(question_of(row)) for row in rows], max_new_tokens)
        ask("base_gold", base, drawn, max_new_tokens)
        if generator is not None:
            ask("sample_generation", generator, [texts.sample_prompt(question_of(row)) for row in rows], max_sample_tokens)
            written = [texts.base_prompt(row["completion"]) for row in found["sample_generation"]]
            ask("base_sample_generation", base, written, max_new_tokens)
        if unrelated is not None:
            ask("unrelated", unrelated, drawn, max_new_tokens)
    return TuningVsInContext(_scores(found, seed), _findings(found, families, permutations, seed))


def question_of(row: Mapping[str, Any]) -> str:
    """An item's text as all ways ask it: its prompt, and its options below."""
    options = "".join(f"\n- {option}" for option in row["options"] or [])
    return f"{row['prompt'].strip()}\nOptions:{options}" if options else str(row["prompt"]).strip()


def _check(rows: Sequence[Row], families: Mapping[str, str], base: Model, tuned: Sequence[Model]) -> None:
    tasks = dict.fromkeys(row["task"] for row in rows)
    unknown = sorted(set(families) - set(tasks))
    if unknown:
        raise ValueError(f"clusters names {unknown[0]!r}, of which there are no items; tasks are {list(tasks)}")
    if len({families.get(name, f"task {name}") for name in tasks}) < FEWEST_TASKS:
        raise ValueError(
            f"{len(tasks)} tasks make no correlation: give items of {FEWEST_TASKS} families or more, 8 for a verdict"
        )
    kinds = sorted({row["kind"] for row in rows} - {"choice", "generate"})
    if kinds:
        raise ValueError(f"items of the kind {kinds[0]!r} have no answer to compare: give choice or generate")
    if marked := [row["id"] for row in rows if texts.HEADER in question_of(row)]:
        raise ValueError(f"item {marked[0]!r} holds {texts.HEADER!r}, which marks the answer: word it otherwise")
    vocabulary, ours = base.tokenizer().get_vocab(), base.config()
    for model in tuned:
        theirs = model.config()
        names = [name for name in SAME_PARENT if getattr(ours, name, None) != getattr(theirs, name, None)]
        if names or model.tokenizer().get_vocab() != vocabulary:
            what = ", ".join(names) or "vocabulary"
            raise ValueError(
                f"{model.path} was not made from {base.path} ({what} differ): compare a tuned model with its own base"
            )


def _check_leaks(rows: Sequence[Row], tuning: Examples) -> None:
    def plain(text: str) -> str:
        return " ".join(text.split()).casefold()

    asked: dict[str, str] = {}
    for row in rows:
        asked |= {plain(row["prompt"]): row["task"], plain(question_of(row)): row["task"]}
    leaked: Counter[str] = Counter()
    names = {row["task"] for row in rows}
    for row in tuning.rows():
        if row.get("task") in names:
            leaked[row["task"]] += 1
        elif isinstance(prompt := row.get("prompt"), str):
            inner = prompt.partition("\n\n")[2].removesuffix(" [/INST]\n") if prompt.startswith("[INST] ") else prompt
            if plain(inner) in asked:
                leaked[asked[plain(inner)]] += 1
    if leaked:
        told = ", ".join(f"{name} ({count} rows)" for name, count in leaked.most_common())
        raise ValueError(f"the tuning data holds the test tasks {told}: leave these tasks out of one of the two")


def _gold(rows: Sequence[Row], examples: Examples, number: int, control: Control, seed: int) -> list[str | None]:
    if number < 1:
        raise ValueError(f"num_inner={number} gives no examples, and then nothing is learnt in context: give 1 or more")
    pool: dict[str, list[Row]] = defaultdict(list)
    for row in examples.rows():
        pool[row["task"]].append(row)
    return [
        texts.in_context_prompt(
            texts.drawn_examples(pool, row["task"], question_of(row), number, control, random.Random(f"{seed} {row['id']}")),
            question_of(row),
        )
        for row in rows
    ]


def _answered(
    way: Way, model: Model, rows: Sequence[Row], asked: Sequence[str | None], room: int, dtype: Precision, control: Control
) -> list[Row]:
    """A row for each item; None among `asked` stands for a prompt that could not be made, which is counted and wrong."""
    from metier.engines.generate.open import open_language_model

    tokenizer, window = model.tokenizer(), int(getattr(model.config(), "max_position_embeddings", None) or 2048)
    fitted = [_fitted(prompt, question_of(row), tokenizer, window - room) for row, prompt in zip(rows, asked, strict=True)]
    tuned = way in TUNED
    language_model = open_language_model(model, dtype=dtype)
    wanted = [place for place, (prompt, _) in enumerate(fitted) if prompt is not None]
    completions = dict(
        zip(
            wanted,
            language_model.generate(
                [str(fitted[place][0]) for place in wanted], max_new_tokens=room, stop=[] if tuned else ["\n"]
            ),
            strict=True,
        )
    )
    del language_model
    gc.collect()  # cycles hold a network; without this two of them would be in memory
    made = []
    for place, (row, (prompt, dropped)) in enumerate(zip(rows, fitted, strict=True)):
        completion = completions.get(place)
        if completion is not None and completion.error is not None:
            raise RuntimeError(f"{way}: item {row['id']!r} was not answered: {completion.error}")
        text = completion.text if completion is not None else ""
        base_row = {name: row[name] for name in ("task", "role", "kind", "options", "gold", "answer", "source")}
        made.append(
            {
                "item": row["id"],
                "model": way,
                "metric": "accuracy" if row["kind"] == "choice" else "exact match",
                "control": control,
            }
            | base_row
            | {"prompt": prompt, "completion": text, "denominator": 1.0, "dropped_examples": dropped}
            | (_judged(row, text, way) if prompt is not None else {"numerator": 0.0, "held": 0.0, "failure": "no examples"})
        )
    return made


def _fitted(prompt: str | None, question: str, tokenizer: PreTrainedTokenizerBase, room: int) -> tuple[str | None, int]:
    """The prompt with as many of its last examples as leave room for the answer, and how many were dropped."""
    dropped = 0
    while prompt is not None and texts.num_examples(prompt) and len(tokenizer(prompt)["input_ids"]) > room:
        prompt, dropped = texts.without_first_example(prompt, question), dropped + 1
    return prompt, dropped


def _judged(row: Row, text: str, way: Way) -> Row:
    from metier.evaluate.measure import normalised

    line = texts.tuned_answer(text) if way in TUNED else texts.first_line(text)
    failure = "no header" if line is None else "empty" if not line else None
    if way == "sample_generation" and texts.base_prompt(text) is None and failure is None:
        failure = "no examples"
    if not line:
        return {"numerator": 0.0, "held": 0.0, "failure": failure}
    if row["kind"] == "generate":
        right = float(normalised(line) == normalised(row["answer"]))
        return {"numerator": right, "held": right, "failure": failure}
    chosen = texts.option_meant(line, row["options"])
    held = chosen if chosen is not None else texts.option_held(line, row["options"])
    unread = "no option" if chosen is None and failure is None else failure
    return {"numerator": float(chosen == row["gold"]), "held": float(held == row["gold"]), "failure": unread, "chosen": chosen}


def _scores(found: Mapping[Way, Sequence[Row]], seed: int) -> Scores:
    from metier.evaluate.head_to_head import compare

    table = Scores.from_rows([row for rows in found.values() for row in rows])
    return Scores(table.frame(), comparisons=compare(found["base_gold"], found["regular"], seed=seed))


def _findings(found: Mapping[Way, Sequence[Row]], families: Mapping[str, str], permutations: int, seed: int) -> Findings:
    correlations: dict[str, Correlation] = {}
    pairs: dict[str, list[TaskPair]] = {}
    wrote = {row["item"] for row in found.get("sample_generation", ()) if row["failure"] not in ("no examples", "no header")}
    for tuned in TUNED:
        for in_context in IN_CONTEXT:
            if tuned not in found or in_context not in found:
                continue
            name = f"{tuned} ~ {in_context}"
            pairs[name] = _pairs(found, tuned, in_context, families, None)
            if "sample_generation" in name and len(wrote) < len(found[tuned]):
                pairs[f"{name}, where examples were written"] = _pairs(found, tuned, in_context, families, wrote)
    for name, tasks in pairs.items():
        if len({pair.cluster if pair.cluster is not None else f"task {pair.task}" for pair in tasks}) < FEWEST_TASKS:
            logger.warning("%s: %d tasks are left, too few to correlate", name, len(tasks))
            continue
        correlations[name] = correlate(tasks, permutations=permutations, seed=seed)
    failures: dict[str, dict[str, int]] = {}
    for way, rows in found.items():
        counts = Counter(row["failure"] for row in rows if row["failure"] is not None)
        failures[way] = dict(counts) | {"examples dropped": sum(row["dropped_examples"] > 0 for row in rows)}
    return Findings(correlations, pairs, failures)


def _pairs(
    found: Mapping[Way, Sequence[Row]], tuned: Way, in_context: Way, families: Mapping[str, str], kept: set[str] | None
) -> list[TaskPair]:
    def by_task(way: Way) -> dict[str, list[Row]]:
        tasks: dict[str, list[Row]] = defaultdict(list)
        for row in found.get(way, ()):
            if kept is None or row["item"] in kept:
                tasks[row["task"]].append(row)
        return tasks

    def score(rows: Sequence[Row]) -> float:
        return float(sum(row["numerator"] for row in rows)) / len(rows)

    ours, theirs, others = by_task(tuned), by_task(in_context), by_task("unrelated")
    return [
        TaskPair(
            task=name,
            tuned=score(rows),
            in_context=score(theirs[name]),
            chance=sum(1 / len(row["options"]) for row in rows if row["kind"] == "choice") / len(rows),
            difficulty=score(others[name]) if others else None,
            cluster=families.get(name),
        )
        for name, rows in ours.items()
    ]
