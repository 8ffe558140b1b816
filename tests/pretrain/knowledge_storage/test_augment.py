import pytest

from metier.artifacts import Corpus, Table
from metier.engines.generate.verify import Rules
from metier.models.language_model import Completion
from metier.pretrain.knowledge_storage.augment import augment

FACTS = {("Ann Lee", "city"): "York", ("Ann Lee", "year"): "1984", ("Bo Ray", "city"): "York", ("Bo Ray", "year"): "1990"}


def table(facts):
    return Table.from_rows([{"entity": entity, "attribute": name, "value": value} for (entity, name), value in facts.items()])


class Shuffler:
    """Tells sentences in another order, and forgets a fact in its first answers."""

    name = "shuffler"

    def __init__(self, forgets=0):
        self.forgets, self.prompts = forgets, []

    def generate(self, prompts, **_):
        answers = []
        for prompt in prompts:
            self.prompts.append(prompt[0]["content"])
            passage = prompt[0]["content"].split("<passage>\n")[1].split("\n</passage>")[0]
            sentences = [part.strip() for part in passage.split(". ")]
            kept = sentences[1:] if len(self.prompts) <= self.forgets else sentences[::-1]
            answers.append(Completion("<rewrite>\n" + ". ".join(part.rstrip(".") for part in kept) + ".", num_tokens=20))
        return answers


DOCUMENT = {"id": "1", "text": "Ann Lee was born in York. She left the old town in 1984.", "source": "s"}
ANY = Rules(length=None, min_kept=0.0, min_related=0.0, copy_limit=1.0, language=False)


def test_rewrites_hold_every_fact_and_what_failed_is_counted():
    corpus = Corpus.from_rows(
        [DOCUMENT | {"facts_at_risk": 2}, {"id": "2", "text": "Ann Lee, York.", "source": "s", "facts_at_risk": 0}]
    )
    writer = Shuffler(forgets=3)
    made = augment(corpus, table(FACTS), writer, copies=2, tries=2, rules=ANY)
    rows = list(made.rows())
    assert [row["id"] for row in rows] == ["1", "1#told-2", "2"]
    assert rows[1]["text"] == "She left the old town in 1984. Ann Lee was born in York."
    assert made.funnel().dropped == {"augment: lost fact": 1} and len(set(writer.prompts)) == 4
    assert all("York" in prompt.split("<passage>")[0] and "1984" in prompt.split("<passage>")[0] for prompt in writer.prompts)


def test_nothing_to_tell_again_is_said():
    with pytest.raises(ValueError, match="no document holds a fact at risk"):
        augment(Corpus.from_rows([DOCUMENT | {"facts_at_risk": 0}]), table(FACTS), Shuffler())
    with pytest.raises(ValueError, match="copies=0"):
        augment(Corpus.from_rows([DOCUMENT]), table(FACTS), Shuffler(), copies=0)
