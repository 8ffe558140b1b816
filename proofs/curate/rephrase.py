"""What is kept is what was asked for, all else is counted by its fault, and the plan says what will be asked.

Passages: generated documents in six scripts are taken apart and put together again. Answers: good rewrites, made by a grammar that swaps words
and clauses, are decorated as models do it (markers, greetings, quotes, fences, notes), and spoiled in nine ways; the checks see neither the
decoration's nor the fault's name. Run: a writer that spoils a third of its answers rewrites a corpus through the method, twice, with a
cache in between.

Contradicted if a passage is over the limit, or text is lost, or two neighbours would fit into one; if a decorated rewrite is not brought back
to its letters or a good one is refused; if a spoiled one passes; if the rows of a run are not documents, rewrites and
faults as they were made; if calls differ from the plan's, a second run asks again, or a budget one token short lets a call through.
Faults that the checks do not look for (a wrong word, a lost "not") are not counted: no check here reads. That training on rewrites gains
anything is not tested here: it needs a writer and a model of a size that no proof can run.
"""

from __future__ import annotations

import random
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from metier.artifacts import Corpus
from metier.core.evidence import Check, Evidence, exact
from metier.curate.rephrase import rephrase
from metier.curate.rephrase.passages import split_passages
from metier.curate.rephrase.styles import OPENING
from metier.engines.generate.asking import AskedModel
from metier.engines.generate.backend import Sampling
from metier.engines.generate.cache import AnswerCache
from metier.engines.generate.synthesis import Budget, TokenCounter
from metier.engines.generate.verify import Rules, core, fault
from metier.models.language_model import Completion, Prompt, Score

WORDS = TokenCounter("words", lambda text: len(text.split()))
LETTERS = TokenCounter("characters", len)
RULES = Rules(length=(0.5, 1.5))
SCRIPTS = ("abcdefghij", "абвгдежзик", "αβγδεζηθικ", "अआइईउऊएऐओऔ", "的一是不了人我在有他", "กขคงจฉชซฌญ")
PLACES = "Delft Leiden Uppsala Bologna Coimbra Heidelberg Oxford Padua Vilnius Cracow".split()
THINGS = "reactor turbine telescope archive library hospital laboratory workshop observatory botanical-garden".split()
CLAUSES = (  # the same said twice, with a place, a thing, a year and an amount
    (
        "The {thing} in {place} was opened in {year} and still employs {amount} people of the neighbourhood.",
        "Opened in {year}, a {thing} at {place} gives work to {amount} neighbours even today, people say.",
    ),
    (
        "Visitors who come to {place} every summer admire its old {thing}, which was restored in {year} by {amount} volunteers.",
        "Restored by {amount} volunteers in {year}, an old {thing} is admired each summer by visitors of {place}.",
    ),
    (
        "Because the roof of the {thing} leaked, the council of {place} spent {amount} thousand on repairs during {year}.",
        "During {year} repairs for {amount} thousand were paid by a council at {place}, since rain leaked through the {thing}'s roof.",
    ),
)


def prove(quick: bool) -> Evidence:
    """300 documents, 90 answers and 20 documents of a run when quick; else 5,000, 3,000 and 600."""
    documents, answers, run = (300, 90, 20) if quick else (5000, 3000, 600)
    return exact(
        claim="every rewrite that is kept passed the checks, every other is counted by its fault, and the plan says what is asked",
        metric="cases that are otherwise",
        checks=[*_passages(documents), *_answers(answers), *_run(run)],
        notes=f"{documents} documents in six scripts, {answers} good and as many spoiled answers, a run over {run} documents",
    )


def _passages(count: int) -> list[Check]:
    wrong: Counter[str] = Counter()
    for number in range(count):
        generator = random.Random(f"passages {number}")
        text, limit = _wild_text(generator, SCRIPTS[number % len(SCRIPTS)]), generator.randint(20, 120)
        found = split_passages(text, max_tokens=limit, counter=LETTERS)
        bounds = [0, *(edge for passage in found for edge in (passage.start, passage.end)), len(text)]
        gaps = [text[start:end] for start, end in zip(bounds[::2], bounds[1::2], strict=True)]
        wrong["text that is lost"] += bool("".join(gaps).strip()) or bounds != sorted(bounds)
        wrong["passages over the limit"] += sum(passage.end - passage.start > limit for passage in found)
        wrong["neighbours that would fit"] += sum(other.end - one.start <= limit for one, other in pairwise(found))
    return [Check(f"passages: {name}", wrong[name], 0.5) for name in sorted(wrong)]


def _wild_text(generator: random.Random, letters: str) -> str:
    ends, lines = [". ", "! ", "? ", "。", " ", "; "], []
    for _ in range(generator.randint(0, 12)):
        words = [
            "".join(generator.choices(letters, k=int(generator.paretovariate(0.8)) % 200 + 1))
            for _ in range(generator.randint(0, 40))
        ]
        lines.append("".join(word + generator.choice(ends) for word in words))
    return generator.choice(["\n", "\n\n", "\r\n", "\n  \t"]).join(lines)


def original_and_rewrite(generator: random.Random) -> tuple[str, str]:
    """A passage of three sentences and the same in other words and another order."""
    pairs = []
    for one, other in generator.sample(CLAUSES, len(CLAUSES)):
        facts = {"thing": generator.choice(THINGS), "place": generator.choice(PLACES), "year": generator.randint(1400, 2020)}
        facts["amount"] = generator.randint(13, 999)
        pairs.append((one.format(**facts), other.format(**facts)))
    return " ".join(one for one, _ in pairs), " ".join(other for _, other in reversed(pairs))


DECORATIONS: list[Callable[[str], str]] = [
    lambda text: text,
    lambda text: f"{OPENING}\n{text}\n",
    lambda text: f"Sure! Here is what you asked for:\n\n{OPENING}{text}",
    lambda text: f"Here is the rewritten passage:\n\n{text}",
    lambda text: f"Certainly!\n\n{text}",
    lambda text: f'"{text}"',
    lambda text: f"```text\n{text}\n```",
    lambda text: f"{text}\n\nNote: I have kept all names and numbers.",
    lambda text: f"Here's the text in simple words:\n“{text}”\n\nI hope this helps! Let me know if you need more.",
    lambda text: f"{OPENING}\n{text}\n\n---\nThis version keeps every fact.",
]

SPOILT: dict[str, Callable[[str, str, random.Random], Completion]] = {
    "unfinished": lambda source, text, generator: Completion(text[: len(text) // 2], 9, "length"),
    "empty": lambda source, text, generator: Completion(generator.choice(["", f"{OPENING} \n", "..."]), 1),
    "refusal": lambda source, text, generator: Completion(f"I'm sorry, but I cannot help with that. {text}", 9),
    "preamble": lambda source, text, generator: Completion(f"{text} As an aside, your request was a pleasure.", 9),
    "language": lambda source, text, generator: Completion(
        "In diesem Jahr wurde das Gebäude eröffnet, und viele Leute aus der Nachbarschaft haben dort seither Arbeit gefunden. " * 2
        + "Besucher kommen jeden Sommer.", 9
    ),
    "repetition": lambda source, text, generator: Completion(f"{text[:150]} {'and so it goes on and on and ' * 6}", 9),
    "length": lambda source, text, generator: Completion(generator.choice([f"{text} {text} {text[::-1]}", text.partition(" ")[0]]), 9),
    "numbers": lambda source, text, generator: Completion(re.sub(r"\d+", lambda found: str(int(found[0]) + 7), text, count=2), 9),
    "names": lambda source, text, generator: Completion(re.sub("|".join(PLACES), "Atlantis", text), 9),
    "copy": lambda source, text, generator: Completion(source, 9),
}  # fmt: skip


def _answers(count: int) -> list[Check]:
    wrong: Counter[str] = Counter()
    for number in range(count):
        generator = random.Random(f"answers {number}")
        source, text = original_and_rewrite(generator)
        decorated = DECORATIONS[number % len(DECORATIONS)](text)
        kept = core(decorated, source, OPENING)
        wrong["decorated rewrites that come back otherwise"] += kept != text
        wrong["good rewrites refused"] += fault(Completion(decorated, 9), kept, source, RULES) is not None
        answer = list(SPOILT.values())[number % len(SPOILT)](source, text, generator)
        spoiled = Completion(DECORATIONS[generator.randrange(3)](answer.text), answer.num_tokens, answer.finish_reason)
        wrong["spoiled rewrites that pass"] += fault(spoiled, core(spoiled.text, source, OPENING), source, RULES) is None
    return [Check(f"answers: {name}", wrong[name], 0.5) for name in sorted(wrong)]


@dataclass
class Rewriter:
    """A writer that knows the rewrites, and spoils each third."""

    rewrites: dict[str, str]
    name: str = "rewriter"
    identity: str = "rewriter"
    asked: list[str] = field(default_factory=list)

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, Completion]]:
        for number, prompt in enumerate(prompts):
            assert not isinstance(prompt, str)
            [source] = re.findall(r"<passage>\n(.*?)\n</passage>", prompt[0]["content"], re.DOTALL)
            self.asked.append(source)
            text = self.rewrites[source]
            yield number, Completion(f"{OPENING}{text + ' 4711' if self.is_spoilt(source) else text}", 30)

    def is_spoilt(self, source: str) -> bool:
        return len(source) % 3 == 0

    def score(self, requests: Sequence[tuple[str, str]]) -> Iterator[tuple[int, Score]]:
        raise NotImplementedError("a rewriter only writes")

    def score_texts(self, texts: Sequence[str]) -> Iterator[tuple[int, Score]]:
        raise NotImplementedError("a rewriter only writes")


def _run(count: int) -> list[Check]:
    pairs = [original_and_rewrite(random.Random(f"run {number}")) for number in range(2 * count)]
    rewriter = Rewriter(dict(pairs))
    sources = [source for source, _ in pairs]
    rows = [
        {"id": str(number), "text": "\n\n".join(sources[2 * number : 2 * number + 2]), "source": "s"} for number in range(count)
    ]
    limit = max(len(source.encode()) for source in sources) // 4 + 1  # a passage fits, two do not

    def rewritten(folder: str, budget: Budget) -> list[dict]:
        writer = AskedModel(rewriter, AnswerCache(Path(folder) / "answers.sqlite"))
        found = rephrase(Corpus.from_rows(rows), writer, max_passage_tokens=limit, styles={"medium": 1}, budget=budget)
        return found.frame().to_pylist()

    spoilt = Counter(number // 2 for number, source in enumerate(sources) if rewriter.is_spoilt(source))
    with tempfile.TemporaryDirectory() as folder:
        try:
            rewritten(folder, Budget(max_tokens=1))
            refused = False
        except ValueError:
            refused = not rewriter.asked
        made = rewritten(folder, Budget())
        calls = Counter(rewriter.asked)
        again = rewritten(folder, Budget())
    kept = [row for row in made if row.get("drop_reason") is None]
    expected = [  # at least half of the characters rewritten, else the rewrite is dropped
        row["id"] for number, row in enumerate(rows) if _share(sources[2 * number : 2 * number + 2], rewriter) >= 0.5
    ]
    texts = {row["id"]: row["text"] for row in made if row["id"].endswith("#rewrite")}
    right = {
        f"{number}#rewrite": "\n\n".join(
            source if rewriter.is_spoilt(source) else rewriter.rewrites[source] for source in sources[2 * number : 2 * number + 2]
        )
        for number in range(count)
        if spoilt[number] < 2
    }
    found = {
        "refusals that were none": float(not refused),
        "calls more or fewer than one a passage": float((calls - Counter(sources) + (Counter(sources) - calls)).total()),
        "calls of the second run": float(len(rewriter.asked) - calls.total()),
        "rows that differ the second time": float(sum(one != other for one, other in zip(made, again, strict=True))),
        "originals lost or changed": float(sum(row["text"] != one["text"] for row, one in zip(rows, (r for r in kept if not r["is_synthetic"]), strict=True))),
        "rewrites kept that should not be, or the reverse": float(len({row["source_id"] for row in kept if row["is_synthetic"]} ^ set(expected))),
        "rewrites with other words": float(sum(texts.get(name) != text for name, text in right.items()) + len(texts.keys() - right.keys())),
        "faults lost": float(abs(sum(row.get("drop_reason") == "rewrite: numbers" for row in made) - spoilt.total())),
    }  # fmt: skip
    return [Check(f"run: {name}", difference, 0.5) for name, difference in found.items()]


def _share(sources: Sequence[str], rewriter: Rewriter) -> float:
    return sum(len(source) for source in sources if not rewriter.is_spoilt(source)) / sum(map(len, sources))
