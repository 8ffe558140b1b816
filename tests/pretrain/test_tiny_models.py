"""Tiny encoders and their committee, against transformers' own classifier, counts by hand and each other."""

import random

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, BertForMaskedLM, BertForSequenceClassification, pipeline

from metier.artifacts import Corpus, Model
from metier.engines.train.segments import use_segments
from metier.pretrain.from_scratch import train_tokenizer
from metier.pretrain.tiny_models import tiny_models
from metier.pretrain.tiny_models.classifier import Classes, documents, plain, probabilities
from metier.pretrain.tiny_models.committee import committee_of, mean_logits
from metier.pretrain.tiny_models.measured import agreement, difference, overlap

LABELS = ["x", "y", "z"]
TOPICS = {name: [f"{name}{word}" for word in "ana bel cor dun eth fam".split()] for name in LABELS}
COMMON = "the of and to in is".split()


def document(generator: random.Random, topic: str) -> str:
    return " ".join(generator.choice(TOPICS[topic] if generator.random() < 0.5 else COMMON) for _ in range(24))


def corpus_of(count: int, seed: int) -> Corpus:
    generator = random.Random(seed)
    topics = [LABELS[number % 3] for number in range(count)]
    return Corpus.from_rows(
        {"id": f"{seed}-{number}", "text": document(generator, topic), "source": topic, "label": topic}
        for number, topic in enumerate(topics)
    )


@pytest.fixture(scope="module")
def words():
    return train_tokenizer((row["text"] for row in corpus_of(30, 9).rows()), 300, "masked")


def classifier(words, seed: int, **config) -> BertForSequenceClassification:
    torch.manual_seed(seed)
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
    }
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {name: number for number, name in enumerate(LABELS)}}
    return BertForSequenceClassification(
        BertConfig(vocab_size=len(words), pad_token_id=words.pad_token_id, initializer_range=0.3, **(sizes | names | config))
    ).eval()


def test_packed_documents_lose_what_transformers_loses_on_each_alone(words, tmp_path):
    torch.manual_seed(0)
    config = classifier(words, 0).config
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    masked = Model.of(BertForMaskedLM(config), words, tmp_path / "masked")
    objective = Classes(tuple(LABELS), seed=3)
    network = objective.load(masked, torch.float32)
    sequences = documents(list(corpus_of(5, 1).rows()), "label", LABELS, words, 32)
    reference = BertForSequenceClassification(network.config).eval()
    reference.load_state_dict(network.state_dict())
    expected = [
        torch.nn.functional.cross_entropy(
            reference(input_ids=torch.tensor([one.input_ids])).logits, torch.tensor(one.labels[:1]), reduction="none"
        )
        for one in sequences
    ]
    use_segments(network)
    objective.prepare(network)
    batch = objective.batch([sequences[:3], sequences[3:]], [0, 1], ["documents"])
    batch.pop("sources")
    found = network(**batch)
    assert found.nll.tolist() == pytest.approx(torch.cat(expected).tolist(), rel=1e-4)
    assert float(found.loss.detach()) == pytest.approx(float(torch.cat(expected).sum().detach()), rel=1e-4)
    assert torch.equal(objective.load(masked, torch.float32).classifier.weight, network.classifier.weight), (
        "the same seed, the same head"
    )


def test_a_document_is_cut_between_its_borders_and_its_class_stands_first(words):
    (one,) = documents([{"text": "the of and " * 40, "label": "y"}], "label", LABELS, words, 16)
    assert len(one) == 16 and one.labels == [1] + [-100] * 15
    assert (one.input_ids[0], one.input_ids[-1]) == (words.bos_token_id, words.eos_token_id)


def test_padding_changes_no_probability(words):
    network = classifier(words, 1)
    sequences = documents(
        [{"text": text, "label": "x"} for text in ("the", "the of and to in is the of")], "label", LABELS, words, 32
    )
    together = probabilities(network, sequences, words.pad_token_id)
    alone = torch.cat([probabilities(network, [one], words.pad_token_id) for one in sequences])
    assert torch.allclose(together, alone, atol=1e-6)
    assert torch.allclose(together.sum(-1), torch.ones(2))


@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_a_committee_is_the_mean_of_its_members_and_opens_again(words, tmp_path, average):
    members = [classifier(words, seed) for seed in range(3)]
    ids = torch.randint(3, len(words), (4, 10), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    logits = torch.stack([member(input_ids=ids).logits for member in members])
    expected = logits.softmax(-1).mean(0) if average == "probabilities" else logits.mean(0).softmax(-1)
    committee = committee_of(members, average)
    assert torch.allclose(committee(input_ids=ids, attention_mask=mask).logits.softmax(-1), expected, atol=1e-6)
    Model.of(committee, words, tmp_path)
    opened = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert torch.allclose(opened(input_ids=ids, attention_mask=mask).logits.softmax(-1), expected, atol=1e-6)
    answer = pipeline("text-classification", model=opened, tokenizer=words)("the of and")
    assert answer[0]["label"] in LABELS


def test_the_mean_of_tiny_probabilities_keeps_its_digits():
    logits = torch.tensor([[[0.0, -200.0]], [[0.0, -210.0]]])
    assert float(mean_logits(logits, "probabilities")[0, 1]) == pytest.approx(-200.0 - 0.693147 + 4.54e-5, abs=1e-3)


def test_members_that_do_not_fit_together_are_refused(words):
    first = classifier(words, 0)
    other = classifier(words, 0, id2label={0: "y", 1: "x", 2: "z"}, label2id={"y": 0, "x": 1, "z": 2})
    with pytest.raises(ValueError, match="map them first"):
        committee_of([first, other], "logits")
    more = BertForSequenceClassification(BertConfig(**(first.config.to_dict() | {"vocab_size": 999})))
    with pytest.raises(ValueError, match="one tokenizer"):
        committee_of([first, more], "logits")
    with pytest.raises(ValueError, match="needs a member"):
        committee_of([], "logits")


def test_agreement_overlap_and_differences_are_those_counted_by_hand(words):
    chosen = torch.tensor([[0, 1, 2, 2], [0, 1, 1, 0]])
    right = torch.tensor([[True, False, True, False], [True, False, False, False]])
    assert agreement(chosen, right) == (0.5, 0.5)
    assert agreement(chosen[:1], right[:1]) == (0.5, 0.0)
    assert overlap(["the of"], ["the of"], words) == 1.0
    assert overlap(["0"], ["1 1 1"], words) < 1.0
    assert overlap(["0"], ["1"], words) == 0.0
    with pytest.raises(ValueError, match="no token"):
        overlap(["the"], [""], words)
    found = difference({"deep": torch.ones(40, dtype=torch.bool), "committee": torch.arange(40) >= 10}, "deep", "committee", 0)
    assert found.value == -0.25 and found.p == pytest.approx(2 * 0.5**10) and found.high < 0


def test_pretraining_tuning_and_committee_end_to_end_and_a_second_call_finds_its_work(tmp_path):
    given = {"layers": (2, 1), "hidden_size": 32, "heads": 2, "members": 2, "vocabulary": 300, "epochs": (2.0, 6.0)}
    given |= {"learning_rate": 3e-3, "sequence_length": 32, "workdir": tmp_path}
    flows = corpus_of(150, 0), corpus_of(60, 1), corpus_of(45, 2)
    found = tiny_models(*flows, **given)
    accuracies = {one.arm: one for one in found.findings.accuracies}
    assert {name: one.models for name, one in accuracies.items()} == {
        "deep": 1,
        "deep, not pretrained": 1,
        "members": 2,
        "committee": 2,
        "one pretraining": 2,
    }
    assert accuracies["deep"].value > 0.6, "three classes whose words differ"
    assert found.findings.gain.value == pytest.approx(accuracies["deep"].value - accuracies["deep, not pretrained"].value)
    assert found.findings.oracle >= accuracies["members"].value
    assert found.findings.labels == {"x": 20, "y": 20, "z": 20}
    deep, committee = found.findings.latencies
    assert (deep.layers, committee.layers, committee.models) == (2, 1, 2) and committee.in_turn > committee.critical_path > 0
    opened = plain(found.committee)
    sequences = documents(list(flows[2].rows()), "label", LABELS, found.committee.tokenizer(), 32)
    told = probabilities(opened, sequences, found.committee.tokenizer().pad_token_id).argmax(-1).tolist()
    assert sum(one.labels[0] == choice for one, choice in zip(sequences, told, strict=True)) / 45 == pytest.approx(
        accuracies["committee"].value
    )
    again = tiny_models(*flows, **given)
    assert again.findings.accuracies == found.findings.accuracies


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"train": corpus_of(3, 1), "test": corpus_of(0, 1)}, "0 to test"),
        ({"label": "kind"}, "no column 'kind'"),
        ({"train": corpus_of(1, 1)}, "nothing to tell apart"),
        ({"train": corpus_of(2, 1)}, r"classes \['z'\]"),
        ({"members": 1}, "members=1"),
        ({"epochs": (1.0, 0.0)}, "epochs"),
    ],
)
def test_bad_input_is_refused_before_anything_is_trained(changed, said):
    given = {"corpus": corpus_of(3, 0), "train": corpus_of(6, 1), "test": corpus_of(6, 2)} | changed
    with pytest.raises(ValueError, match=said):
        tiny_models(**given)


def test_a_classifier_begins_with_the_encoder_that_was_pretrained(tmp_path):
    config = BertConfig(vocab_size=512, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    masked = BertForMaskedLM(config)
    masked.save_pretrained(tmp_path)
    loaded = Classes(("a", "b"), seed=0).load(Model.open(tmp_path), torch.float32).state_dict()
    encoder = {name: weight for name, weight in masked.state_dict().items() if name.startswith("bert.")}
    assert len(encoder) > 30
    assert all(torch.equal(loaded[name], weight) for name, weight in encoder.items())
