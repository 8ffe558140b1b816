"""True and false statements as prompts that ask for a verdict, and pairs of them whose tokens line up."""

from __future__ import annotations

import logging
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

QUESTION = " This statement is:"
ANSWERS = ((" TRUE", " FALSE"), (" True", " False"), (" true", " false"), (" yes", " no"), (" right", " wrong"))
MAX_FRAMES = 50  # tried for one set; statements of one form have a few
_LAST_WORD = re.compile(r"(\w+)\W*$")


@dataclass(frozen=True)
class Statement:
    """A sentence, whether it is true, and the set it comes from."""

    text: str
    is_true: bool
    source: str


@dataclass(frozen=True)
class Answers:
    """The two words of a verdict, and the tokens that are compared."""

    true_word: str
    false_word: str
    true_token: int
    false_token: int


@dataclass(frozen=True)
class Prompt:
    """A statement between examples and question, in tokens.

    ids: all of it; begin: where the statement begins; period: the token with the statement's last character; word: the tokens that
    hold its last word, first and after the last
    """

    ids: list[int]
    begin: int
    period: int
    word: tuple[int, int]


@dataclass(frozen=True)
class Pairs:
    """Prompts that follow one prefix, a true and a false one of the same length with the same last word.

    prefix: the tokens of the examples; true_ids, false_ids: what follows, S tokens each; columns: what each of the S tokens is: subject
    (where the two differ), object (the last word) or template; skipped: statements left out, by reason
    """

    prefix: list[int]
    true_ids: list[list[int]]
    false_ids: list[list[int]]
    columns: list[str]
    skipped: dict[str, int]


def answers_of(tokenizer: PreTrainedTokenizerBase) -> Answers:
    """The first pair of ANSWERS whose words are one token each, or else whose first tokens differ, which is logged.

    Raises ValueError where all pairs begin with the same token.
    """
    usable = None
    for true_word, false_word in ANSWERS:
        true_ids, false_ids = (_after(tokenizer, QUESTION, word) for word in (true_word, false_word))
        if true_ids[0] == false_ids[0]:
            continue
        found = Answers(true_word, false_word, true_ids[0], false_ids[0])
        if len(true_ids) == len(false_ids) == 1:
            return found
        usable = usable or found
    if usable is None:
        raise ValueError(f"the tokenizer {tokenizer.name_or_path!r} begins the two words of each pair of {ANSWERS} alike")
    logger.warning(
        "verdicts are compared by the first tokens of %r and %r, which are several", usable.true_word, usable.false_word
    )
    return usable


def _after(tokenizer: PreTrainedTokenizerBase, before: str, text: str) -> list[int]:
    begin = tokenizer(before, add_special_tokens=False)["input_ids"]
    return list(tokenizer(before + text, add_special_tokens=False)["input_ids"][len(begin) :])


def examples_of(statements: Sequence[Statement], num_examples: int, seed: int) -> list[Statement]:
    """As many true as false statements, drawn by `seed`. Raises ValueError where there are too few of either."""
    generator, half = random.Random(seed), num_examples // 2
    drawn = []
    for is_true in (True, False):
        of_kind = [statement for statement in statements if statement.is_true == is_true]
        if len(of_kind) < half:
            raise ValueError(
                f"{len(of_kind)} statements are {is_true}, and the examples need {half}: give more, or fewer examples"
            )
        drawn += generator.sample(of_kind, half)
    generator.shuffle(drawn)
    return drawn


def examples_text(examples: Sequence[Statement], answers: Answers) -> str:
    """One line an example, with its verdict."""
    return "".join(
        f"{example.text}{QUESTION}{answers.true_word if example.is_true else answers.false_word}\n" for example in examples
    )


def encode(tokenizer: PreTrainedTokenizerBase, before: str, statement: str) -> Prompt:
    """The prompt `before`, statement, question. Tokens are found by their characters, so that a start token moves nothing.

    Raises ValueError for a tokenizer that does not say which characters a token stands for.
    """
    if not tokenizer.is_fast:
        raise ValueError(f"the tokenizer {tokenizer.name_or_path!r} has no offsets: save it as a fast one (tokenizer.json)")
    encoded = tokenizer(before + statement + QUESTION, return_offsets_mapping=True)
    ids, spans = encoded["input_ids"], encoded["offset_mapping"]
    end = len(before) + len(statement.rstrip())
    word = _LAST_WORD.search(statement.rstrip())
    start = len(before) + (word.start(1) if word is not None else 0)
    stop = len(before) + (word.end(1) if word is not None else len(statement))
    real = [(number, span) for number, span in enumerate(spans) if span[1] > span[0]]
    inside = [number for number, span in real if span[1] > start and span[0] < stop]
    return Prompt(
        ids=list(ids),
        begin=next(number for number, span in real if span[1] > len(before)),
        period=next(number for number, span in real if span[1] >= end),
        word=(inside[0], inside[-1] + 1),
    )


@dataclass(frozen=True)
class Frame:
    """What all statements of a map have in common, so that a place means the same in each.

    prefix: the tokens before the statement; length: tokens from there on; subject, word: first and after the last of the tokens that
    may differ, and of those of the last word; template: all other tokens
    """

    prefix: tuple[int, ...]
    length: int
    subject: tuple[int, int]
    word: tuple[int, int]
    template: tuple[int, ...]

    @classmethod
    def of(cls, prompt: Prompt, subject: tuple[int, int]) -> Frame:
        word = (prompt.word[0] - prompt.begin, prompt.word[1] - prompt.begin)
        ids = prompt.ids[prompt.begin :]
        template = [token for place, token in enumerate(ids) if not (_within(place, subject) or _within(place, word))]
        return cls(tuple(prompt.ids[: prompt.begin]), len(ids), subject, word, tuple(template))

    def fits(self, prompt: Prompt) -> bool:
        return len(prompt.ids) - prompt.begin == self.length and Frame.of(prompt, self.subject) == self

    def columns(self) -> list[str]:
        return [
            "subject" if _within(place, self.subject) else "object" if _within(place, self.word) else "template"
            for place in range(self.length)
        ]


def _within(place: int, span: tuple[int, int]) -> bool:
    return span[0] <= place < span[1]


def pair(
    tokenizer: PreTrainedTokenizerBase,
    statements: Sequence[Statement],
    examples: Sequence[Statement],
    answers: Answers,
    *,
    num_pairs: int,
    min_pairs: int,
    seed: int,
) -> Pairs:
    """At most `num_pairs` pairs of the frame that has most, of those with equally many the one whose subject is shortest.

    Every statement is in one pair at most; those of the examples are in none. Raises ValueError, with the count of each frame, for
    fewer than `min_pairs`.
    """
    before, shown = examples_text(examples, answers), {example.text for example in examples}
    asked = [statement for statement in statements if statement.text not in shown]
    random.Random(seed).shuffle(asked)
    buckets: Buckets = defaultdict(lambda: ([], []))
    for statement in asked:
        prompt, word = encode(tokenizer, before, statement.text), _LAST_WORD.search(statement.text)
        buckets[word[1] if word is not None else "", len(prompt.ids)][0 if statement.is_true else 1].append(prompt)
    lonely = sum(len(true) + len(false) for true, false in buckets.values() if not (true and false))
    matched = {frame: _matched(frame, buckets) for frame in _frames(buckets)}
    frame = max(matched, key=lambda frame: (len(matched[frame]), frame.subject[0] - frame.subject[1]), default=None)
    if frame is None or len(matched[frame]) < min_pairs:
        sizes = [f"{len(found)} of {frame.length} tokens" for frame, found in matched.items()]
        raise ValueError(
            f"{len(matched[frame]) if frame is not None else 0} pairs of a true and a false statement line up token by token, and a map needs "
            f"{min_pairs}. Of {len(asked)} statements {lonely} have no partner with the same last word and length; pairs by frame: "
            f"{', '.join(sizes[:5]) or 'none'}. Give more statements of one form that differ in one place, such as 'The city of X is in Y.'"
        )
    found = matched[frame]
    random.Random(seed).shuffle(found)
    return Pairs(
        prefix=list(frame.prefix),
        true_ids=[true.ids[true.begin :] for true, _ in found[:num_pairs]],
        false_ids=[false.ids[false.begin :] for _, false in found[:num_pairs]],
        columns=frame.columns(),
        skipped={
            "no partner of the same last word and length": lonely,
            "another frame, or no partner left": len(asked) - lonely - 2 * len(found),
            "beyond num_pairs": 2 * max(0, len(found) - num_pairs),
        },
    )


Buckets = dict[tuple[str, int], tuple[list[Prompt], list[Prompt]]]  # by last word and length: true, false


def _frames(buckets: Buckets) -> list[Frame]:
    """The frames that the most combinations of a true and a false statement have, at most MAX_FRAMES."""
    counts: Counter[Frame] = Counter()
    for true, false in buckets.values():
        for one in true:
            for other in false:
                a, b = one.ids[one.begin :], other.ids[other.begin :]
                differing = [place for place, (x, y) in enumerate(zip(a, b, strict=False)) if x != y]
                if differing and len(a) == len(b):
                    counts[Frame.of(one, (differing[0], differing[-1] + 1))] += 1
    return [frame for frame, _ in counts.most_common(MAX_FRAMES)]


def _matched(frame: Frame, buckets: Buckets) -> list[tuple[Prompt, Prompt]]:
    """Pairs that share the last word, both of the frame."""
    found = []
    for true, false in buckets.values():
        found += list(zip(filter(frame.fits, true), filter(frame.fits, false), strict=False))
    return found
