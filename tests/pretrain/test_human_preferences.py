"""Losses against plain float64 arithmetic, training that follows them, tags that are learnt, and refusals."""

import math

import pytest
import torch
from safetensors.torch import load_file

from metier.artifacts import Corpus
from metier.engines.train.segments import use_segments
from metier.models.source import open_model
from metier.models.tiny import make_tiny
from metier.pretrain.human_preferences import human_preferences, losses
from metier.pretrain.human_preferences.segments import ALIGNED, MISALIGNED, Tags, measured, split, tokenize_segments
from metier.pretrain.human_preferences.training import Preference, ScoredRows, ScoredSequence, WithValueHead, token_nll

GOOD, BAD = "The answer is in the list. ", "What is that, what is that? "
SMALL = {"sequence_length": 64, "batch_tokens": 256, "learning_rate": 3e-3, "precision": "float32"}


def scored_rows(number=24):
    return [
        {
            "id": str(n),
            "source": "s",
            "text": "",
            "segments": [GOOD, BAD, GOOD, BAD][n % 2 :][:3],
            "scores": [0.0, 0.9, 0.0, 0.9][n % 2 :][:3],
        }
        for n in range(number)
    ]


def corpus(rows=None):
    return Corpus.from_rows(scored_rows() if rows is None else rows)


def plain(nll, badness, value, kind, alpha, beta, threshold):
    """The sheet's formulas, a token at a time."""
    total = 0.0
    for loss, score, expected in zip(nll, badness, value, strict=True):
        if kind == "unlikelihood":
            total += loss if score <= threshold else -alpha * math.log(max(1 - math.exp(-loss), 1e-20))
        elif kind == "rwr":
            total += loss * min(math.exp(-score / beta), 1000)
        else:
            weight = min(math.exp((-score - expected) / beta), 1000)
            total += alpha * loss * weight + (1 - alpha) * (-score - expected) ** 2
    return total


@pytest.mark.parametrize("beta", [0.05, 0.5, 10.0])
def test_losses_are_their_formulas(beta):
    generator = torch.Generator().manual_seed(0)
    nll, badness = (torch.rand(50, generator=generator, dtype=torch.float64) * scale for scale in (6, 1))
    value = -torch.rand(50, generator=generator, dtype=torch.float64)
    badness[:10] = 0
    arguments = nll.tolist(), badness.tolist(), value.tolist()
    for threshold in (0.0, 0.5):
        ours = losses.unlikelihood(nll, badness, threshold=threshold, alpha=0.7)
        assert float(ours) == pytest.approx(plain(*arguments, "unlikelihood", 0.7, beta, threshold), rel=1e-9)
    assert float(losses.rwr(nll, badness, beta=beta)) == pytest.approx(plain(*arguments, "rwr", 1, beta, 0), rel=1e-9)
    ours = losses.awr(nll, badness, value, alpha=0.3, beta=beta)
    assert float(ours) == pytest.approx(plain(*arguments, "awr", 0.3, beta, 0), rel=1e-9)
    without = losses.awr(nll, badness, torch.zeros_like(value), alpha=1.0, beta=beta)
    assert float(losses.rwr(nll, badness, beta=beta)) == pytest.approx(float(without), rel=1e-12)
    assert float(losses.rwr(nll, torch.zeros_like(nll), beta=beta)) == pytest.approx(float(nll.sum()), rel=1e-12)


def test_unlikelihood_has_the_gradient_of_finite_differences_and_stays_finite_at_certainty():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(4, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    labels, badness = torch.tensor([0, 1, 2, 3]), torch.tensor([0.0, 0.2, 0.4, 1.0], dtype=torch.float64)

    def loss(found):
        nll = torch.nn.functional.cross_entropy(found, labels, reduction="none")
        return losses.unlikelihood(nll, badness, threshold=0.2, alpha=0.5)

    assert torch.autograd.gradcheck(loss, logits)
    certain = torch.zeros(1, requires_grad=True)
    at_one = losses.unlikelihood(certain, torch.ones(1), threshold=0.0, alpha=1.0)
    at_one.backward()
    assert at_one.item() == pytest.approx(-math.log(1e-20), rel=1e-5) and torch.isfinite(certain.grad).all()


def test_the_spread_tells_likelihood_in_disguise():
    scores = [number / 100 for number in range(101)]
    assert losses.spread(scores, beta=10).ratio == pytest.approx(math.exp(0.09), rel=1e-6)
    assert losses.spread(scores, beta=10).effective > 0.999
    assert losses.spread([0.0, 100.0], beta=1).effective == pytest.approx(0.5)
    assert losses.spread([-8.0, 0.0], beta=1).clamped == 0.5


def test_the_nll_of_chunks_has_the_gradients_of_the_plain_one(tmp_path):
    network = make_tiny(tmp_path, hidden_size=32, std=0.3).load(torch.float32)
    hidden = torch.randn(11, 32, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels, weight = torch.arange(11) * 3, torch.arange(11.0)
    (token_nll(network, hidden, labels, chunk_tokens=4) * weight).sum().backward()
    ours = hidden.grad.clone(), network.lm_head.weight.grad.clone()
    hidden.grad = network.lm_head.weight.grad = None
    logits = hidden @ network.lm_head.weight.T
    (torch.nn.functional.cross_entropy(logits, labels, reduction="none") * weight).sum().backward()
    torch.testing.assert_close(ours[0], hidden.grad, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours[1], network.lm_head.weight.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["unlikelihood", "rwr", "awr"])
def test_a_batch_loses_what_its_formula_says_of_the_models_own_logits(kind, tmp_path):
    network = make_tiny(tmp_path, hidden_size=32, std=0.3).load(torch.float32)
    rows = [
        [
            ScoredSequence([5, 6, 7, 8], [6, 7, 8, -100], "s", [0.1, 0.1, 0.9, 0.9]),
            ScoredSequence([9, 4], [4, -100], "s", [0.0, 0.2]),
        ]
    ]
    objective = Preference(kind, threshold=0.5, alpha=0.5, beta=0.7)
    batch = objective.batch(rows, [0], ["s"])
    assert batch["badness"].tolist() == pytest.approx([0.1, 0.9, 0.9, 0.2])  # of the token that is predicted
    nll = []
    for sequence in rows[0]:
        ids = torch.tensor([sequence.input_ids])
        logits = network(ids).logits[0, :-1]
        nll += torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none").tolist()
    objective.prepare(network)
    WithValueHead().put_on(network, seed=0)
    batch.pop("sources")
    use_segments(network)
    found = network.train()(**batch)
    assert float(found.loss) == pytest.approx(plain(nll, batch["badness"].tolist(), [-0.5] * 4, kind, 0.5, 0.7, 0.5), rel=1e-5)
    assert found.nll.tolist() == pytest.approx(nll, rel=1e-5) and not found.nll.requires_grad
    assert float(network.eval()(**batch).loss) == pytest.approx(sum(nll), rel=1e-5)


def test_segments_are_the_text_and_tags_stand_before_them():
    text = "One sentence. Two! Is it three?\n\nYes: 3.5 of them.\n  \n"
    for unit, count in (("sentences", 4), ("lines", 2)):
        assert "".join(split(text, unit)) == text
        assert len(split(text, unit)) == count
    assert split("", "lines") == []
    assert split("你好。再见。", "sentences") == ["你好。", "再见。"]
    tokenizer = open_model("tiny").tokenizer()
    row = {"id": "a", "source": "s", "segments": [GOOD, f"{BAD}<|im_end|>"], "scores": [0.0, 0.9]}
    [plain_one] = tokenize_segments([row], tokenizer, longest=200)
    assert plain_one.input_ids.count(tokenizer.eos_token_id) == 1  # what a text says is no border
    assert tokenizer.decode(plain_one.input_ids[1:-1]) == GOOD + BAD + "<|im_end|>"
    [tagged] = tokenize_segments([row], tokenizer, longest=200, tags=Tags(600, 601, 0.0))
    assert [token for token in tagged.input_ids if token >= 600] == [600, 601]
    assert [token for token in tagged.input_ids if token < 600] == plain_one.input_ids
    assert tagged.input_ids[1] == 600 and tagged.scores[-1] == 0.0 and tagged.scores[-2] == 0.9
    assert measured(tagged, (600, 601)).num_predicted == plain_one.num_predicted
    pieces = list(tokenize_segments([row], tokenizer, longest=7))
    assert sum(piece.num_predicted for piece in pieces) == plain_one.num_predicted
    [untagged] = tokenize_segments([row], tokenizer, longest=200, tags=Tags(600, 601, 0.0, drop=0.999999))
    assert untagged.input_ids == plain_one.input_ids


def test_the_fingerprint_of_rows_follows_their_scores():
    one, other = (ScoredRows([[ScoredSequence([1, 2], [2, -100], "s", scores)]]) for scores in ([0.0, 1.0], [0.0, 0.5]))
    assert one.fingerprint != other.fingerprint


def choice(model, before):
    """How much likelier the first words of the good than of the bad segment are, in nats."""
    tokenizer, network = model.tokenizer(), model.load(torch.float32)
    known = tokenizer.get_vocab()
    ids = [tokenizer.bos_token_id, *([known[before]] if before else [])]
    scores = []
    for text in (GOOD, BAD):
        words = tokenizer(text, add_special_tokens=False)["input_ids"][:3]
        with torch.no_grad():
            logprobs = network(torch.tensor([ids + words])).logits[0].log_softmax(-1)
        scores.append(sum(float(logprobs[len(ids) - 1 + place, word]) for place, word in enumerate(words)))
    return scores[0] - scores[1]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("small"), hidden_size=64)


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    settings = {"unlikelihood": {"threshold": 0.0}, "rwr": {"beta": 0.2}, "awr": {"beta": 0.3, "alpha": 0.5}, "conditional": {"threshold": 0.0, "drop": 0.0}}  # fmt: skip
    return {
        name: human_preferences(
            small,
            corpus(),
            corpus(scored_rows(4)),
            objective=name,
            epochs=8,
            workdir=folder / name,
            **SMALL,
            **settings.get(name, {}),
        )
        for name in ("mle", "conditional", "unlikelihood", "rwr", "awr")
    }


def test_objectives_prefer_good_segments_and_tags_choose(trained):
    likes = choice(trained["mle"], "")
    assert abs(likes) < 2  # as many documents begin well as badly
    for name in ("unlikelihood", "rwr", "awr"):
        assert choice(trained[name], "") > likes + 1, name
    assert choice(trained["conditional"], ALIGNED) > likes + 2
    assert choice(trained["conditional"], MISALIGNED) < likes - 2


def test_what_is_stored_opens_as_a_plain_model_of_its_vocabulary(trained, small):
    for name, model in trained.items():
        rows = model.load().get_input_embeddings().weight.shape[0]
        assert rows == len(model.tokenizer()) == (514 if name == "conditional" else 512)
        assert set(dict(model.load().named_parameters())) == set(dict(small.load().named_parameters()))
        assert not any("value_head" in name for name in load_file(model.path / "model.safetensors"))
    text = f"a {ALIGNED} b"
    tokenizer = trained["conditional"].tokenizer()
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == "a  b"


def test_filtering_reads_the_better_documents_for_the_same_number_of_tokens(small, tmp_path):
    rows = [dict(row, segments=[GOOD] * 2, scores=[0.0] * 2) if n % 2 else dict(row, segments=[BAD] * 2, scores=[0.9] * 2) for n, row in enumerate(scored_rows())]  # fmt: skip
    whole = human_preferences(small, corpus(rows), objective="mle", epochs=8, workdir=tmp_path / "mle", **SMALL)
    made = human_preferences(
        small, corpus(rows), objective="filtering", threshold=0.5, epochs=8, workdir=tmp_path / "some", **SMALL
    )
    assert made.facts["tokens_trained"] == pytest.approx(whole.facts["tokens_trained"], rel=0.3)
    assert choice(made, "") > choice(whole, "") + 2


def test_settings_and_scores_that_cannot_be_right_are_refused(small, tmp_path):
    def refused(message, rows=None, **settings):
        with pytest.raises(ValueError, match=message):
            human_preferences(small, corpus(rows), workdir=tmp_path, **settings)

    refused("beta=1.0 changes nothing in conditional", beta=1.0)
    refused("threshold=0.5 changes nothing in mle", objective="mle", threshold=0.5)
    refused("drop=1.5", drop=1.5)
    refused("alpha=2.0", objective="awr", alpha=2.0)
    refused("beta=0", objective="rwr", beta=0.0)
    refused("batch_tokens=0", batch_tokens=0)
    refused("threshold=1.0 leaves all segments good", threshold=1.0)
    refused("threshold=-1.0 leaves no documents good", objective="filtering", threshold=-1.0)
    refused("no columns", [{"id": "a", "text": "b", "source": "c"}])
    refused("3 segments and 2 scores", [dict(scored_rows(1)[0], scores=[0.0, 1.0])])
    refused("has the score nan", [dict(scored_rows(1)[0], scores=[0.0, math.nan, 1.0])])
    refused("scale them to 0 to 1", [dict(row, scores=[2.0, 0.0, 1.0]) for row in scored_rows(3)], objective="awr")
    refused("nothing to prefer", [dict(row, scores=[0.5] * 3) for row in scored_rows(3)], objective="rwr")
