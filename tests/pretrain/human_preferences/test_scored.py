"""Scores of segments by rules and by a real classifier."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from metier.artifacts import Corpus, Model
from metier.models.source import open_model
from metier.pretrain.human_preferences.scored import personal_data, python_style, scored


def lengths(texts):
    return [len(text) for text in texts]


def short(texts):
    return [1.0]


def broken(texts):
    return [float("nan") for _ in texts]


RULE = f"{__name__}:lengths"


def corpus(*texts):
    return Corpus.from_rows([{"id": str(number), "text": text, "source": "s"} for number, text in enumerate(texts)])


@pytest.fixture
def rules(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "rules_of_a_test", sys.modules[__name__])
    return "rules_of_a_test"


def test_rules_count_what_they_name():
    assert python_style(["x = 1", "x = [1,2]", "if x == None: pass", "a = 1; b = 2", "x" * 80, "\tx  "]) == pytest.approx(
        [0, 1 / 9, 1 / 18, 1 / 12, 1 / 80, 2 / 4]
    )
    texts = [
        "Write to a.b@example.org.",
        "Call +44 20 7946 0958 now",
        "at 10.0.0.1",
        "IBAN DE89 3704 0044 0532 0130 00",
        "pi is 3.14159",
        "",
    ]
    assert [score > 0 for score in personal_data(texts)] == [True, True, True, True, False, False]


def test_segments_have_their_scores_and_join_to_the_text(rules):
    texts = ["One. Three is it? Two.", "", "Four"]
    rows = list(scored(corpus(*texts), rule=f"{rules}:lengths").rows())
    for row, text in zip(rows, texts, strict=True):
        assert "".join(row["segments"]) == text
        assert row["scores"] == [len(segment) for segment in row["segments"]]
    assert rows[0]["avg_score"] == pytest.approx(22 / 3) and rows[1]["avg_score"] is None
    better = list(scored(corpus(*texts), rule=f"{rules}:lengths", higher_is="better").rows())
    assert [row["scores"] for row in better] == [[-score for score in row["scores"]] for row in rows]
    standard = [
        score for row in scored(corpus(*texts), rule=f"{rules}:lengths", standardise=True).rows() for score in row["scores"]
    ]
    assert torch.tensor(standard).mean() == pytest.approx(0, abs=1e-6)
    assert torch.tensor(standard).std(correction=0) == pytest.approx(1, rel=1e-5)
    assert len(next(iter(scored(corpus("a\nb\n"), rule=f"{rules}:lengths", segments="lines").rows()))["segments"]) == 2


@pytest.mark.parametrize("labels", [1, 3])
def test_a_reward_model_is_asked_as_its_own_forward_answers(labels, tmp_path):
    tokenizer = open_model("tiny").tokenizer()
    config = LlamaConfig(
        vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, num_labels=labels,
        max_position_embeddings=64, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    network = LlamaForSequenceClassification(config).eval()
    torch.nn.init.normal_(network.score.weight)
    judge = Model.of(network, tokenizer, tmp_path)
    [row] = scored(corpus("The first. A second, longer one."), judge, label=0).rows()
    for text, score in zip(row["segments"], row["scores"], strict=True):
        with torch.no_grad():
            logits = network(**tokenizer(text, return_tensors="pt")).logits[0]
        assert score == pytest.approx(float(logits[0] if labels == 1 else logits.softmax(-1)[0]), abs=1e-5)
    last = next(row["scores"] for row in scored(corpus("The first. A second, longer one."), judge).rows())
    assert (last == pytest.approx(row["scores"])) == (labels == 1)


def test_what_cannot_score_is_refused(rules):
    texts = corpus("One. Two. Three.")
    with pytest.raises(ValueError, match="give one of them"):
        scored(texts)
    with pytest.raises(ValueError, match="neither personal_data nor python_style"):
        scored(texts, rule="unknown")
    with pytest.raises(ValueError, match="1 scores for 3 segments"):
        scored(texts, rule=f"{rules}:short")
    with pytest.raises(ValueError, match=r"gave nan for 'One\. '"):
        scored(texts, rule=f"{rules}:broken")
    with pytest.raises(ValueError, match="which gives no reward"):
        scored(texts, open_model("tiny"))
    with pytest.raises(ValueError, match="no spread to standardise"):
        scored(corpus("Same. Same."), rule="personal_data", standardise=True)
