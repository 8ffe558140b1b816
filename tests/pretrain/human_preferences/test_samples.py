"""Samples: tags never written, guidance by its formula, and refusals."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from metier.artifacts import Corpus, Model
from metier.models.source import open_model
from metier.models.tiny import make_tiny
from metier.pretrain.human_preferences.samples import samples
from metier.pretrain.human_preferences.segments import ALIGNED, MISALIGNED
from metier.pretrain.vocabulary_extension.rows import grow


@pytest.fixture(scope="module")
def tagged(tmp_path_factory):
    """A random model that would often write tags."""
    base = make_tiny(tmp_path_factory.mktemp("base"), hidden_size=64, std=0.4)
    config, tokenizer = base.config(), base.tokenizer()
    config.tie_word_embeddings = False
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(config)
    tokenizer.add_tokens([ALIGNED, MISALIGNED], special_tokens=True)
    grow(network, [(5,), (6,)], 512, init="random", seed=1)
    with torch.no_grad():
        network.lm_head.weight[512:] *= 5
    return Model.of(network, tokenizer, tmp_path_factory.mktemp("tagged"))


def greedy(model, ids, steps, guidance=0.0, other=()):
    """Ten lines that say what guided greedy decoding is."""
    network, written = model.load(), []
    for _ in range(steps):
        with torch.no_grad():
            own = network(torch.tensor([[*ids, *written]])).logits[0, -1]
            if guidance:
                own = own + guidance * (own - network(torch.tensor([[*other, *written]])).logits[0, -1])
        own[512:] = -torch.inf
        written.append(int(own.argmax()))
        if written[-1] == 1:
            break
    return model.tokenizer().decode(written, skip_special_tokens=True)


@pytest.mark.parametrize("guidance", [0.0, 1.5])
def test_greedy_samples_are_those_of_the_formula(guidance, tagged):
    prompts = Corpus.from_rows([{"id": "0", "text": "The answer", "source": "s"}, {"id": "1", "text": "", "source": "s"}])
    found = samples(tagged, prompts, guidance=guidance, max_new_tokens=6, temperature=0.0)
    for row in found.rows():
        ids = tagged.tokenizer()(row["prompt"], add_special_tokens=False)["input_ids"]
        assert row["text"] == greedy(tagged, [0, 512, *ids], 6, guidance, [0, 513, *ids])
        assert row["source"] == "aligned" and "<|" not in row["text"]


def test_the_tag_changes_what_is_written_and_the_seed_repeats_it(tagged):
    def texts(**settings):
        return [row["text"] for row in samples(tagged, num_samples=5, max_new_tokens=8, temperature=1.0, **settings).rows()]

    assert len(texts()) == 5 and len(set(texts())) > 1
    assert texts(seed=1) == texts(seed=1) != texts(seed=2)
    assert texts(tag="misaligned") != texts(tag="aligned")
    assert texts(guidance=1.0) != texts()


def test_what_cannot_be_is_refused(tagged):
    with pytest.raises(ValueError, match="has no tokens"):
        samples(open_model("tiny"))
    with pytest.raises(ValueError, match="needs a tag"):
        samples(tagged, tag="none", guidance=1.0)
    with pytest.raises(ValueError, match="num_samples=0"):
        samples(tagged, num_samples=0)
    assert len(samples(open_model("tiny"), tag="none", num_samples=2, max_new_tokens=3)) == 2
