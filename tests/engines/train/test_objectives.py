"""Masked and cut texts against BERT's and T5's rules, and their training against the models' own losses."""

import functools
import itertools
import json
import operator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from transformers import BertConfig, BertForMaskedLM, RobertaConfig, RobertaForMaskedLM, T5Config, T5ForConditionalGeneration

from metier.artifacts import Model
from metier.engines.text.sequences import IGNORED, TokenSequence
from metier.engines.train.fit import Schedule, fit
from metier.engines.train.objectives import Masked, Spans, objective_of
from metier.engines.train.segments import use_segments
from metier.models.source import open_model
from metier.pretrain.from_scratch import train_tokenizer

TEXTS = [f"The number {i} comes before the number {i + 1}, and its square is {i * i}." for i in range(60)]
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def generator(seed=0):
    return np.random.Generator(np.random.Philox(seed))


def test_a_share_of_tokens_is_masked_by_eighty_ten_ten():
    objective = Masked(mask=1, vocabulary=1000, special=(0, 1, 2))
    ids = [0, *np.random.default_rng(0).integers(3, 1000, 40_000).tolist(), 2]
    found = objective.masked(TokenSequence.of_text(ids), generator())
    given, labels = np.array(found.input_ids), np.array(found.labels)
    chosen = labels != IGNORED
    assert chosen.mean() == pytest.approx(0.15, abs=0.006)
    assert (labels[chosen] == np.array(ids)[chosen]).all() and (given[~chosen] == np.array(ids)[~chosen]).all()
    assert (given[chosen] == 1).mean() == pytest.approx(0.8, abs=0.02)
    changed = (given[chosen] != 1) & (given[chosen] != np.array(ids)[chosen])
    assert changed.mean() == pytest.approx(0.1, abs=0.015)
    assert not np.isin(given[chosen][changed], [0, 1, 2]).any()
    assert labels[0] == labels[-1] == IGNORED


def test_whole_words_are_masked_together():
    starts = tuple(token % 2 == 1 for token in range(100))  # odd tokens begin words
    objective = Masked(mask=0, vocabulary=100, special=(0, 99), word_starts=starts)
    ids = [99, 11, 12, 14, 21, 31, 32, 41, 99]
    for seed in range(30):
        labels = np.array(objective.masked(TokenSequence.of_text(ids), generator(seed)).labels) != IGNORED
        assert labels.any() and not labels[0] and not labels[-1]
        assert labels[1] == labels[2] == labels[3] and labels[5] == labels[6]


def test_a_sequence_of_special_tokens_predicts_nothing():
    assert Masked(mask=1, vocabulary=9, special=(0, 1)).masked(TokenSequence.of_text([0, 0]), generator()).num_predicted == 0


@given(st.lists(st.integers(10, 90), max_size=80), st.integers(0, 5))
def test_spans_and_rest_make_the_text_again(ids, seed):
    objective = Spans(sentinels=(200, 199, 198, 197, 196, 195, 194, 193, 192), end=1, pad=0)
    pair = objective.cut(TokenSequence.of_text([1, *ids, 1]), generator(seed))
    assert pair.given[-1] == pair.wanted[-1] == 1
    if not ids:
        return
    spans, sentinel = {}, None
    for token in pair.wanted[:-1]:
        if token > 190:
            sentinel = token
            spans[sentinel] = []
        else:
            spans[sentinel].append(token)
    rebuilt = functools.reduce(operator.iadd, ([token] if token < 190 else spans[token] for token in pair.given[:-1]), [])
    assert rebuilt == ids
    noise = min(max(1, round(len(ids) * 0.15)), max(1, len(ids) - 1))
    assert sum(map(len, spans.values())) == noise
    assert list(spans)[-1] == list(objective.sentinels)[len(spans) - 1] and spans[list(spans)[-1]] == []


def made(kind, tokenizer, folder):
    torch.manual_seed(0)
    size = len(tokenizer)
    if kind == "spans":
        config = T5Config(
            vocab_size=size, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, dropout_rate=0.0, decoder_start_token_id=1, pad_token_id=1,
        )  # fmt: skip
        return Model.of(T5ForConditionalGeneration(config), tokenizer, folder)
    if kind == "roberta":
        config = RobertaConfig(vocab_size=size, max_position_embeddings=130, pad_token_id=1, type_vocab_size=1, **SMALL)
        return Model.of(RobertaForMaskedLM(config), tokenizer, folder)
    return Model.of(BertForMaskedLM(BertConfig(vocab_size=size, max_position_embeddings=128, **SMALL)), tokenizer, folder)


@pytest.mark.parametrize("kind", ["masked", "masked_words", "spans"])
def test_the_first_loss_is_the_models_own_and_training_lowers_it(kind, tmp_path):
    tokenizer = train_tokenizer(TEXTS, 400, kind)
    model = made(kind, tokenizer, tmp_path / "start")
    rows = [
        [TokenSequence.of_text([0, *tokenizer(text)["input_ids"], 0], "a") for text in TEXTS[i : i + 2]] for i in range(0, 60, 2)
    ]
    objective = objective_of(kind, tokenizer, seed=3)
    schedule = Schedule(epochs=1, steps=40, rows_per_step=4, learning_rate=5e-3, warmup=0.0)
    fit(
        model, rows, rows[:5], schedule, adapter=None, precision="float32", checkpoint_seconds=1e9, seed=0, workdir=tmp_path,
        method="test", objective=objective, order=lambda position: [(4 * position + i) % 30 for i in range(4)],
    )  # fmt: skip
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "trained" in line]
    held_out = [line["held_out_loss"] for line in lines if "held_out_loss" in line]
    network, total, count = objective.load(model, torch.float32), 0.0, 0
    for number in range(4):
        batch = objective.batch([rows[number]], [number], ["a"])
        nats, tokens = own_loss(network, batch)
        total, count = total + nats, count + tokens
    assert losses[0] == pytest.approx(total / count, rel=1e-5)
    assert held_out[-1] < held_out[0] - 0.7
    assert lines[1]["trained"] == count


def own_loss(network, batch):
    network.eval()
    if "attention_mask" in batch:
        labels = batch["labels"]
        shifted = network.prepare_decoder_input_ids_from_labels(labels)
        logits = network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], decoder_input_ids=shifted).logits
        found = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
        return found.item(), int((labels != IGNORED).sum())
    nats, borders = 0.0, batch["cu_seq_lens_q"].tolist()
    for start, end in itertools.pairwise(borders):
        logits = network(input_ids=batch["input_ids"][:, start:end]).logits[0]
        nats += functional.cross_entropy(logits, batch["labels"][0, start:end], ignore_index=IGNORED, reduction="sum").item()
    return nats, int((batch["labels"] != IGNORED).sum())


@pytest.mark.parametrize("attention", ["metier_segments", "sdpa"])
def test_packed_masked_rows_lose_what_single_sequences_lose(attention, tmp_path):
    tokenizer = train_tokenizer(TEXTS, 400, "masked")
    model = made("masked", tokenizer, tmp_path)
    objective = objective_of("masked", tokenizer)
    batch = objective.batch(
        [[TokenSequence.of_text([0, *tokenizer(text)["input_ids"], 0], "a") for text in TEXTS[:5]]], [0], ["a"]
    )
    expected, count = own_loss(objective.load(model, torch.float32), batch)
    network = objective.load(model, torch.float32)
    assert use_segments(network) == "metier_segments"
    network.set_attn_implementation(attention)
    objective.prepare(network)
    batch.pop("sources")
    found = network(**batch)
    assert found.loss.item() == pytest.approx(expected, rel=1e-5)
    assert found.nll.numel() == count


def test_a_model_whose_positions_begin_elsewhere_is_refused(tmp_path):
    tokenizer = train_tokenizer(TEXTS, 400, "masked")
    model = made("roberta", tokenizer, tmp_path / "model")
    rows = [[TokenSequence.of_text([0, *tokenizer(TEXTS[0])["input_ids"], 0], "a")]]
    network = RobertaForMaskedLM.from_pretrained(model.path)
    with torch.no_grad():
        network.roberta.embeddings.position_embeddings.weight.normal_(generator=torch.Generator().manual_seed(0))
    model = Model.of(network, tokenizer, tmp_path / "model")
    objective = objective_of("masked", tokenizer)

    def train(objective, folder):
        return fit(
            model, rows, [], Schedule(epochs=1, rows_per_step=1, learning_rate=1e-3), adapter=None, precision="float32",
            checkpoint_seconds=1e9, seed=0, workdir=folder, method="test", objective=objective,
        )  # fmt: skip

    with pytest.raises(ValueError, match="RobertaForMaskedLM gives a loss of"):
        train(objective, tmp_path / "a")
    assert train(replace(objective, first_position=2), tmp_path / "b").facts["steps"] == 1


def test_tokenizers_without_what_an_objective_needs_are_refused():
    tokenizer = open_model("tiny").tokenizer()
    with pytest.raises(ValueError, match="has no mask token"):
        objective_of("masked", tokenizer)
    with pytest.raises(ValueError, match="has no sentinels"):
        objective_of("spans", tokenizer)
