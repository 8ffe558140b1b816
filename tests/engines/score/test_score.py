"""Scores equal those of the plainest possible code: one sequence at a time, all logits, log_softmax."""

import logging

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metier.engines.score import loglikelihood
from metier.engines.score.encode import Piece
from metier.engines.score.forward import Forward, open_forward
from metier.engines.score.loglikelihood import log_likelihoods
from metier.engines.score.score import score, score_texts
from metier.models.tiny import make_tiny

VARIANTS = {
    "gqa": {},
    "mha": {"kv_heads": 4},
    "sliding_window": {"architecture": "mistral", "sliding_window": 7},
    "mixed_windows_and_capped_logits": {"architecture": "gemma2", "sliding_window": 7},
    "learned_positions": {"architecture": "gpt2"},
}


@pytest.fixture(scope="module", params=VARIANTS)
def opened(request, tmp_path_factory):
    """(model, tokenizer, forward) of a variant in float32, with weights large enough that what is read changes the answer a lot."""
    stored = make_tiny(tmp_path_factory.mktemp("tiny"), hidden_size=64, std=0.3, **VARIANTS[request.param])
    model = stored.load(torch.float32)
    return model, stored.tokenizer(), open_forward(model)


def reference(model, input_ids, targets):
    """Sum of log-probabilities and greediness of the last targets after `input_ids`, one token list in, plain code."""
    with torch.inference_mode():
        logits = model(torch.tensor([list(input_ids)])).logits[0].double()
    logprobs = logits.log_softmax(-1)[-len(targets) :]
    wanted = torch.tensor(targets)
    return logprobs.gather(-1, wanted[:, None]).sum().item(), bool((logprobs.argmax(-1) == wanted).all())


def lm_eval_pair(tokenizer, context, continuation, window):
    """What lm-evaluation-harness feeds a causal model, and the tokens whose logits it takes."""
    if context == "":
        context_ids = [tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id]
        continuation_ids = tokenizer.encode(continuation, add_special_tokens=False)
    else:
        spaces = len(context) - len(context.rstrip())
        if spaces > 0:
            continuation = context[-spaces:] + continuation
            context = context[:-spaces]
        context_ids = tokenizer.encode(context)
        continuation_ids = tokenizer.encode(context + continuation)[len(context_ids) :]
    return (context_ids + continuation_ids)[-(window + 1) :][:-1], continuation_ids


def test_every_variant_shares_prefixes(opened):
    _, _, forward = opened
    assert forward.trees and forward.prefixes and forward.head is not None


REQUESTS = [
    *[
        (f"Question: what is {n} and {n + 1}?\nAnswer:", option)
        for n in range(3)
        for option in (" a list", " a list of all", " None", "")
    ],
    ("Question: what is 1 and 2?\nAnswer: ", "a list"),
    ("Question: what is 1 and 2?\nAnswer:  \n", "a list"),
    ("", "The default is None"),
    ("", " The default"),
    ("The", " default"),
    ("日本 é", " 𝄞 x"),
    ("The default is " * 40, "None"),
    ("Question: what is 1 and 2?\nAnswer:", " a list"),
]
REQUESTS = [request for request in REQUESTS if request[1]]


@pytest.mark.parametrize("window", [2048, 40])
def test_pairs_score_as_in_lm_evaluation_harness(opened, window):
    model, tokenizer, forward = opened
    found = dict(score(forward, tokenizer, REQUESTS, window=window, batch_tokens=300))
    assert sorted(found) == list(range(len(REQUESTS)))
    for index, (context, continuation) in enumerate(REQUESTS):
        inputs, targets = lm_eval_pair(tokenizer, context, continuation, window)
        logprob, greedy = reference(model, inputs, targets)
        assert found[index].logprob == pytest.approx(logprob, abs=1e-4)
        assert found[index].is_greedy == greedy
        assert (found[index].num_tokens, found[index].num_bytes) == (len(targets), len(continuation.encode()))


@st.composite
def tries(draw):
    """Sequences that share prefixes often: each grows from a part of an earlier one."""
    tokens = st.lists(st.integers(3, 20), min_size=1, max_size=12)
    sequences = [draw(tokens)]
    for _ in range(draw(st.integers(0, 8))):
        parent = draw(st.sampled_from(sequences))
        sequences.append(parent[: draw(st.integers(0, len(parent)))] + draw(tokens))
    numbers = [(sequence, draw(st.integers(1, len(sequence)))) for sequence in sequences]
    return [
        Piece(index, tuple(sequence), tuple(draw(st.lists(st.integers(0, 511), min_size=asked, max_size=asked))))
        for index, (sequence, asked) in enumerate(numbers)
    ]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=tries(),
    row_tokens=st.sampled_from([1, 8, 40]),
    min_prefix=st.sampled_from([1, 4]),
    batch=st.sampled_from([1, 30, 999]),
)
def test_any_trie_scores_like_its_sequences_one_by_one(opened, pieces, row_tokens, min_prefix, batch):
    model, _, forward = opened
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loglikelihood, "ROW_TOKENS", row_tokens)
        patch.setattr(loglikelihood, "MIN_PREFIX", min_prefix)
        answers = {answer.index: answer for answer in log_likelihoods(forward, pieces, batch)}
    assert sorted(answers) == list(range(len(pieces)))
    for piece in pieces:
        logprob, greedy = reference(model, piece.input_ids, piece.targets)
        assert answers[piece.index].logprob == pytest.approx(logprob, abs=1e-4)
        assert answers[piece.index].is_greedy == greedy


def lm_eval_windows(tokens, prefix, window):
    """lm-evaluation-harness's rolling windows with one token of context, made disjoint: (context, scored tokens)."""
    pairs, done = [], min(window, len(tokens))
    if tokens:
        pairs.append(([prefix, *tokens[: done - 1]], tokens[:done]))
    while done < len(tokens):
        size = min(len(tokens) - done, window)
        end = done + size
        pairs.append((tokens[end - window - 1 : end - 1], tokens[end - size : end]))
        done += size
    return [(context[: len(context) - (len(scored) - 1)], scored) for context, scored in pairs]


@pytest.mark.parametrize("window", [1, 5, 16, 1000])
def test_texts_score_in_the_windows_of_lm_evaluation_harness(opened, window):
    model, tokenizer, forward = opened
    texts = [
        "The question is whether the model has become better at the work.",
        "",
        "A",
        "é日本" * 6,
        "of the list of all items " * 4,
    ]
    found = dict(score_texts(forward, tokenizer, texts, window=window))
    for index, text in enumerate(texts):
        tokens = tokenizer.encode(text, add_special_tokens=False)
        expected = sum(
            reference(model, [*context, *scored[:-1]], scored)[0]
            for context, scored in lm_eval_windows(tokens, tokenizer.bos_token_id, window)
        )
        assert found[index].logprob == pytest.approx(expected, abs=1e-4 * max(1, len(tokens) / 10))
        assert (found[index].num_tokens, found[index].num_bytes) == (len(tokens), len(text.encode()))


def test_a_model_that_can_not_branch_scores_the_same_without_sharing(opened):
    model, tokenizer, forward = opened
    plain = Forward(model, forward.head, trees=False, prefixes=False)
    shared, alone = (dict(score(each, tokenizer, REQUESTS, window=2048)) for each in (forward, plain))
    assert [alone[i].logprob for i in range(len(REQUESTS))] == pytest.approx(
        [shared[i].logprob for i in range(len(REQUESTS))], abs=1e-4
    )


def test_unknown_logits_are_taken_from_the_model_itself(opened):
    model, tokenizer, forward = opened
    whole = Forward(model, None, trees=False, prefixes=False)
    shared, full = (dict(score(each, tokenizer, REQUESTS[:5], window=2048)) for each in (forward, whole))
    assert [full[i].logprob for i in range(5)] == pytest.approx([shared[i].logprob for i in range(5)], abs=1e-4)


def test_a_model_whose_answers_change_in_a_tree_is_found_out(tmp_path, caplog):
    """Recurrent layers run through a row from left to right, whatever the mask says: a running mean stands in for one."""
    model = make_tiny(tmp_path, hidden_size=64).load(torch.float32)
    mlp = model.model.layers[0].mlp
    mlp.register_forward_hook(
        lambda module, args, output: output + args[0].cumsum(dim=1) / torch.arange(1, args[0].shape[1] + 1)[:, None]
    )
    with caplog.at_level(logging.WARNING):
        forward = open_forward(model)
    assert not forward.trees and not forward.prefixes
    assert "a trial differs from plain scoring" in caplog.text


def test_a_scaled_head_is_found_by_trial(tmp_path):
    model = make_tiny(tmp_path, hidden_size=64).load(torch.float32)
    model.config.logit_scale = 0.25
    plain = model.forward

    def scaled(*args, **kwargs):
        output = plain(*args, **kwargs)
        output.logits = output.logits * 0.25
        return output

    model.forward = scaled
    forward = open_forward(model)
    hidden = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(forward.head(hidden), model.lm_head(hidden) * 0.25)


def test_what_can_not_be_scored_is_refused(opened):
    _, tokenizer, forward = opened
    with pytest.raises(ValueError, match="request 1: the continuation is empty"):
        list(score(forward, tokenizer, [("a", "b"), ("c", "")], window=2048))
    with pytest.raises(ValueError, match=r"request 0: its continuation has \d+ tokens and the model's window 8: .*score_texts"):
        list(score(forward, tokenizer, [("a", "The default is None" * 9)], window=8))
