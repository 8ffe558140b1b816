"""A longer vocabulary: shorter texts, the old ones untouched, new rows that are what was asked for, and refusals."""

import copy
import itertools
import json
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM

from metier.artifacts import Corpus, Model
from metier.models.source import open_model
from metier.models.tiny import make_tiny
from metier.pretrain.vocabulary_extension import vocabulary_extension
from metier.pretrain.vocabulary_extension.merges import content, learn, pairs, words
from metier.pretrain.vocabulary_extension.rows import grow

RUSSIAN = [
    "Модель читает последовательность слов и говорит, какое слово будет следующим. ",
    "Слова русского языка длинные, и модель читает их по буквам, буква за буквой. ",
]
ENGLISH = ["def mean(values): return the answer to the question, naïve or not", "The list of all items is given in order. 12"]


def corpus(texts):
    return Corpus.from_rows([{"id": str(number), "text": text, "source": "s"} for number, text in enumerate(texts)])


def test_new_text_is_shorter_and_comes_back_and_old_logits_are_the_same_to_the_bit(tmp_path):
    base = open_model("tiny")
    made = vocabulary_extension(base, corpus(RUSSIAN), new_tokens=60, min_count=1, workdir=tmp_path)
    old, new, network = base.tokenizer(), made.tokenizer(), made.load()
    assert made.facts["new_tokens"] == 60 and len(new) == 572
    assert network.get_input_embeddings().weight.shape[0] == network.config.vocab_size == 572
    assert network.lm_head.weight is network.get_input_embeddings().weight
    for text in RUSSIAN:
        assert new.decode(new(text)["input_ids"]) == text
        assert len(new(text)["input_ids"]) < 0.6 * len(old(text)["input_ids"])
    num_bytes = sum(len(text.encode()) for text in RUSSIAN)
    assert made.facts["fertility_after"] == pytest.approx(sum(len(new(text)["input_ids"]) for text in RUSSIAN) / num_bytes)
    for text in ENGLISH:
        ids = old(text, return_tensors="pt").input_ids
        assert new(text)["input_ids"] == ids[0].tolist()
        with torch.no_grad():
            theirs, ours = base.load()(ids).logits, network(ids).logits[..., :512]
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)  # a wider product may round otherwise
    assert torch.equal(network.get_input_embeddings().weight[:512], base.load().get_input_embeddings().weight)


def test_merges_are_those_of_a_slow_trainer_over_the_same_words():
    tokenizer = open_model("tiny").tokenizer()
    counted = words(RUSSIAN * 2, tokenizer)
    names = {number: name for name, number in tokenizer.get_vocab().items()}
    found = learn(counted, names, 25, protected=set(), ascii_pieces=True, min_count=2)
    sequences, ids = {word: list(word) for word in counted}, dict(names)
    for merge in found:
        tally = {}
        for word, tokens in sequences.items():
            for pair in itertools.pairwise(tokens):
                tally[pair] = tally.get(pair, 0) + counted[word]
        open_ = {pair: count for pair, count in tally.items() if ids[pair[0]] + ids[pair[1]] not in ids.values()}
        best = max(open_.values())
        pair = min(pair for pair, count in open_.items() if count == best)
        assert (merge.left, merge.right, merge.saved) == (ids[pair[0]], ids[pair[1]], best)
        token = len(ids)
        ids[token] = merge.text
        for tokens in sequences.values():
            place = 0
            while place < len(tokens) - 1:
                if (tokens[place], tokens[place + 1]) == pair:
                    tokens[place : place + 2] = [token]
                place += 1
        assert "".join(names[piece] for piece in merge.pieces) == merge.text


def test_pairs_of_protected_texts_are_not_merged_so_that_they_keep_their_tokens(tmp_path):
    base = open_model("tiny")
    made = vocabulary_extension(base, corpus(RUSSIAN), corpus(RUSSIAN[:1]), new_tokens=40, min_count=1, workdir=tmp_path)
    old, new = base.tokenizer(), made.tokenizer()
    assert new(RUSSIAN[0])["input_ids"] == old(RUSSIAN[0])["input_ids"]
    assert len(new(RUSSIAN[1])["input_ids"]) < len(old(RUSSIAN[1])["input_ids"])
    with pytest.raises(ValueError, match="no pair of tokens stands 1 times"):
        vocabulary_extension(base, corpus(RUSSIAN), corpus(RUSSIAN), min_count=1, workdir=tmp_path / "none")


def test_without_protected_texts_no_piece_of_ascii_alone_is_made():
    tokenizer = open_model("tiny").tokenizer()
    counted = words(["zebra zebra 北京北京 zebra"], tokenizer)
    names = {number: name for name, number in tokenizer.get_vocab().items()}
    texts = [merge.text for merge in learn(counted, names, 50, protected=set(), ascii_pieces=False, min_count=1)]
    assert texts and not any("z" in text or "ra" in text for text in texts)
    assert any("ra" in merge.text for merge in learn(counted, names, 50, protected=set(), ascii_pieces=True, min_count=1))
    assert pairs([(1, 2, 3), (2, 3)]) == {(1, 2), (2, 3)}


@pytest.mark.parametrize("tied", [True, False])
def test_new_rows_are_what_their_init_says(tied, tmp_path):
    config = make_tiny(tmp_path, hidden_size=32).config()
    config.tie_word_embeddings = tied
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(config)
    pieces = [(5, 6), (7,), (8, 9, 5)]
    old_in, old_out = (layer.weight.detach().clone() for layer in (network.get_input_embeddings(), network.lm_head))
    for init in ("pieces", "mean", "random", "transformers"):
        grown = copy.deepcopy(network)
        grow(grown, pieces, 512, init=init, seed=3)
        assert (grown.lm_head.weight is grown.get_input_embeddings().weight) == tied
        for old, new in ((old_in, grown.get_input_embeddings().weight), (old_out, grown.lm_head.weight)):
            assert new.shape == (515, 32) and torch.equal(new[:512], old)
            if init == "pieces":
                torch.testing.assert_close(new[512:], torch.stack([old[[5, 6]].mean(0), old[7], old[[8, 9, 5]].mean(0)]))
            elif init == "random":
                assert 0.5 < (new[512:].std() / old.std()).item() < 1.5
            else:
                torch.testing.assert_close(new[512:], old.mean(0).expand(3, -1), atol=1e-4 if init == "mean" else 1e-3, rtol=0)


def test_rows_that_padded_the_vocabulary_are_used_before_new_ones(tmp_path):
    network = make_tiny(tmp_path, hidden_size=32).load()
    network.resize_token_embeddings(None, pad_to_multiple_of=520, mean_resizing=False)
    grow(network, [(5,)] * 8, 512, init="pieces")
    assert network.get_input_embeddings().weight.shape[0] == 520
    assert torch.equal(network.get_input_embeddings().weight[519], network.get_input_embeddings().weight[5])


def test_noise_and_padding_have_their_size(tmp_path):
    made = vocabulary_extension(
        open_model("tiny"), corpus(RUSSIAN), new_tokens=30, min_count=1, init="mean", noise=0.01, multiple_of=64, workdir=tmp_path
    )
    rows = made.load().get_input_embeddings().weight
    assert rows.shape[0] == 576
    assert float((rows[512:542] - rows[:512].mean(0)).std()) == pytest.approx(0.01, rel=0.05)


def test_what_would_lose_weights_is_refused(tmp_path):
    base = open_model("tiny")
    with pytest.raises(ValueError, match=r"the tokenizer has 600 tokens and the embedding 512 rows"):
        grow(base.load(), [(1,)], 600, init="mean")
    network = base.load().half()
    with torch.no_grad():
        network.get_input_embeddings().weight[5] = 0
    with pytest.raises(ValueError, match=r"1 of 1 new rows are zero in torch\.float16"):
        grow(network, [(5,)], 512, init="pieces")
    other = base.load()
    other.model.second = torch.nn.Embedding(512, 8)
    with pytest.raises(ValueError, match=r"more than embedding and head by token.*second"):
        grow(other, [(1,)], 512, init="mean")
    adapted = base.load()
    adapted.lm_head = torch.nn.Sequential(adapted.lm_head)
    with pytest.raises(TypeError, match="Sequential as head"):
        grow(adapted, [(1,)], 512, init="mean")
    folder = tmp_path / "pieces"
    shutil.copytree(base.path, folder)
    found = json.loads((folder / "tokenizer.json").read_text())
    found["model"] = {"type": "WordLevel", "vocab": found["model"]["vocab"], "unk_token": "a"}
    (folder / "tokenizer.json").write_text(json.dumps(found))
    with pytest.raises(TypeError, match="WordLevel"):
        content(Model.open(folder).tokenizer())


@pytest.mark.parametrize(("settings", "message"), [({"new_tokens": 0}, "new_tokens=0"), ({"noise": -1.0}, "noise=-1")])
def test_settings_that_cannot_be_right_are_refused(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        vocabulary_extension(open_model("tiny"), corpus(RUSSIAN), workdir=tmp_path, **settings)
