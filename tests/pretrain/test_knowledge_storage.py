import random

import pytest
import torch
from scipy import stats

from metier.artifacts import Corpus, Table
from metier.models.source import open_model
from metier.pretrain.knowledge_storage import determined, knowledge_storage
from metier.pretrain.knowledge_storage.biographies import biographies
from metier.pretrain.knowledge_storage.mentions import Phrases, find_mentions
from metier.pretrain.knowledge_storage.people import ATTRIBUTES
from metier.pretrain.knowledge_storage.probes import Asked, Probe, Reader, Training, probe
from metier.pretrain.knowledge_storage.reading import classes_of, name_text, told_texts, wilson


def test_a_phrase_within_another_is_not_found_in_it():
    phrases = Phrases(["New York", "New York, NY", "York", "St. Louis", "Ann Lee"])
    text = "Ann Lee left St. Louis for New York, NY. New Yorkers, York and Ann Leeds."
    assert [(text[start : start + len(phrase)]) for start, phrase in phrases.find(text)] == [
        "Ann Lee",
        "St. Louis",
        "New York, NY",
        "York",
    ]
    with pytest.raises(ValueError, match="holds no word"):
        Phrases(["..."])


FACTS = {("Ann Lee", "city"): "York", ("Ann Lee", "year"): "1984", ("Bo Ray", "city"): "York", ("Bo Ray", "year"): "1990"}


def test_mentions_by_hand():
    documents = [
        {"id": "1", "text": "Ann Lee was born in York. Later, in 1984, she left."},
        {"id": "2", "text": "In 1984 Ann Lee left her home town of York."},
        {"id": "3", "text": "Bo Ray was born in York."},
        {"id": "4", "text": "York in 1990 was quiet."},
    ]
    found = find_mentions(documents, FACTS)
    city = found["Ann Lee", "city"]
    assert (city.documents, city.places, city.named) == (["1", "2"], {0, 1}, 2)
    assert [sorted(words) for words in city.wordings] == [["born", "in", "was"], ["her", "home", "left", "of", "town"]]
    assert found["Bo Ray", "city"].documents == ["3"] and found["Bo Ray", "year"].documents == []


def test_the_audit_names_what_is_told_once_and_passes_what_is_told_in_many_ways():
    shares = {}
    for form in ("single", "single+permute5", "multi5+permute"):
        made = biographies(people=30, augmentation=form, seed=0)
        found = knowledge_storage(made.corpus, made.facts)
        shares[form] = found.summary.at_risk / found.summary.facts
        rows = list(found.documents.rows())
        assert found.summary.to_paraphrase == sum(row["facts_at_risk"] > 0 for row in rows)
        assert sum(row["at_risk"] for row in found.facts.rows()) == found.summary.at_risk
        assert found.summary.determined.get("company_city") == ["employer"] or found.summary.determined == {}
    assert shares["single"] == 1.0 and shares["multi5+permute"] < 0.1 < shares["single+permute5"]


def test_facts_that_no_document_holds_are_said_and_no_document_is_blamed():
    corpus = Corpus.from_rows([{"id": "1", "text": "Nothing here.", "source": "s"}])
    found = knowledge_storage(corpus, table(FACTS))
    assert (found.summary.unmentioned, found.summary.at_risk, found.summary.to_paraphrase) == (4, 0, 0)
    assert {row["reason"] for row in found.facts.rows()} == {"not mentioned"}


def table(facts):
    return Table.from_rows([{"entity": entity, "attribute": name, "value": value} for (entity, name), value in facts.items()])


def test_contradicting_and_missing_facts_are_refused():
    corpus = Corpus.from_rows([{"id": "1", "text": "Ann Lee", "source": "s"}])
    twice = Table.from_rows([{"entity": "A", "attribute": "b", "value": value} for value in ("c", "d")])
    for facts, message in ((twice, "two values of b"), (Table.from_rows([{"entity": "A", "attribute": "b"}]), "without value")):
        with pytest.raises(ValueError, match=message):
            knowledge_storage(corpus, facts)
    with pytest.raises(ValueError, match="min_wordings=0"):
        knowledge_storage(corpus, table(FACTS), min_wordings=0)


def test_an_attribute_that_follows_from_another_is_found():
    facts = {(f"P{n}", "firm"): f"F{n % 3}" for n in range(9)} | {(f"P{n}", "seat"): "X" if n % 3 else "Y" for n in range(9)}
    assert determined(facts) == {"seat": ["firm"]}


# A place's own token is a planted code: it can be read off its state. What comes later cannot, for attention is causal.
def planted(people, classes, seed=0):
    generator = random.Random(seed)
    labels = [n % classes for n in range(people)]
    texts = [
        Asked([*(generator.randrange(200, 400) for _ in range(2)), 150 + label], [1, 2], f"P{n}")
        for n, label in enumerate(labels)
    ]
    return texts, labels


@pytest.mark.parametrize(("rank", "norm"), [(0, "layer"), (0, "batch"), (2, "layer")])
def test_a_planted_code_is_read_and_only_where_it_stands(rank, norm):
    people = 240 if rank else 600
    texts, labels = planted(people, 4)
    reader = Reader(open_model("tiny").load(dtype=torch.float32))
    training = Training(rank, 150 if rank else 400, 50, learning_rate=1e-2, weight_decay=0.0)
    found = probe(reader, texts, labels, training, norm=norm, seed=0)
    chance = 0.25 + 4 * (0.25 * 0.75 / (people // 2)) ** 0.5
    assert found.asked == people // 2 and found.majority == pytest.approx(0.25, abs=0.1)
    assert found.accuracy[1] >= (0.9 if rank else 0.98)  # an update of the embedding learns more slowly
    assert found.accuracy[0] < chance
    shuffled = random.Random(1).sample(labels, len(labels))
    assert probe(reader, texts, shuffled, training, norm=norm, seed=0).accuracy[1] < chance


def test_only_the_probe_learns_and_its_parameters_are_as_many_as_the_paper_says():
    network = open_model("tiny").load(dtype=torch.float32)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    texts, labels = planted(24, 3)
    probe(Reader(network), texts, labels, Training(2, 3, 8), norm="layer", seed=0)
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())
    assert all(weight.grad is None for weight in network.parameters())
    vocabulary, hidden = network.get_input_embeddings().weight.shape
    made = Probe(network, 2, 1, 3, "layer", torch.Generator().manual_seed(0))
    assert sum(weight.numel() for weight in made.parameters()) == 2 * (vocabulary + hidden) + 2 * hidden + 3 * (hidden + 1)


def test_probes_refuse_what_says_nothing():
    reader = Reader(open_model("tiny").load(dtype=torch.float32))
    texts, labels = planted(24, 3)
    for given_texts, given_labels, message in (
        (texts, [0] * 24, "all labels are the same"),
        (texts, list(range(24)), "24 classes"),
        (texts[:3], labels[:3], "3 people"),
        ([Asked([1, 2], [2, 0], text.group) for text in texts], labels, "not in its 2 tokens"),
    ):
        with pytest.raises(ValueError, match=message):
            probe(reader, given_texts, given_labels, Training(0, 2, 4), norm="layer", seed=0)
    with pytest.raises(ValueError, match="learns nothing"):
        Training(rank=-1)


def test_places_are_just_before_the_values():
    made = biographies(people=8, augmentation="single", seed=2)
    facts = {(row["entity"], row["attribute"]): row["value"] for row in made.facts.rows()}
    tokenizer = open_model("tiny").tokenizer()
    for text in told_texts(list(made.corpus.rows()), facts, ATTRIBUTES, tokenizer, 512):
        for name, place in zip(ATTRIBUTES, text.places, strict=True):
            value = facts[text.group, name]
            assert tokenizer.decode(text.ids[place + 1 :]).lstrip().startswith(value)
    name = name_text("Ann Lee", tokenizer)
    assert name.ids[0] == tokenizer.bos_token_id and name.ids[-1] == tokenizer.eos_token_id and name.places == [len(name.ids) - 1]


def test_what_can_be_asked_depends_on_how_many_people_there_are():
    tokenizer = open_model("tiny").tokenizer()
    assert classes_of(["a", "b"] * 4, tokenizer)[:2] == ("value", [0, 1] * 4)
    many = [f"{'xy'[n % 2]} {n}" for n in range(16)]
    assert classes_of(many, tokenizer)[0] == "first_token"
    assert classes_of([f"{chr(97 + n)}" for n in range(16)], tokenizer)[0] == "nothing"
    assert classes_of(["a"] * 8, tokenizer)[2] == "all 8 have the same value"


@pytest.mark.parametrize(("correct", "asked"), [(0, 10), (7, 20), (50, 50)])
def test_intervals_are_wilsons(correct, asked):
    reference = stats.binomtest(correct, asked).proportion_ci(method="wilson")
    assert wilson(correct, asked) == pytest.approx((reference.low, reference.high), abs=1e-6)


def test_a_model_that_has_read_nothing_is_probed_and_near_the_majority():
    made = biographies(people=40, augmentation="single", seed=0)
    facts = [row | {"value": row["value"][:3]} for row in made.facts.rows() if row["attribute"] == "birth_date"]
    facts += [{"entity": row["entity"], "attribute": "city", "value": "came"} for row in facts]
    corpus = Corpus.from_rows(
        [{"id": row["entity"], "text": f"{row['entity']} came in {row['value']}.", "source": "s"} for row in facts[:40]]
    )
    summary = knowledge_storage(corpus, Table.from_rows(facts), open_model("tiny"), p_rank=0, q_rank=0, probe_steps=20).summary
    month, city = summary.probed
    assert city.target == "nothing" and city.reason == "all 40 have the same value"
    assert month.target == "nothing" or (month.people == 40 and set(month.before) == {"birth_date", "city"})
