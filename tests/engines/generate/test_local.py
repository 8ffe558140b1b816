"""Local generation against transformers' own generate, and the promises about batches, seeds, stops and windows."""

import logging
import random

import pytest
import torch

from metier.artifacts import Model
from metier.engines.generate import local
from metier.engines.generate.backend import Sampling
from metier.engines.generate.decode import Running, choose
from metier.engines.generate.open import open_language_model
from metier.models.precision import resolve_dtype
from metier.models.tiny import make_tiny

VARIANTS = {
    "gqa": {},
    "sliding_window": {"architecture": "mistral", "sliding_window": 8},
    "mixed_windows": {"architecture": "gemma2", "sliding_window": 8},
    "learned_positions": {"architecture": "gpt2"},
}
PROMPTS = ["The", "The default is None, which means that", "é日本", "for index in values: total", "A model", "It reads"]


@pytest.fixture(scope="module", params=VARIANTS)
def stored(request, tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny"), hidden_size=64, std=0.3, **VARIANTS[request.param])


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny"), hidden_size=64, std=0.3, window=64)


def opened(stored, **settings):
    return open_language_model(stored, dtype="float32", cache=False, **settings)


def test_greedy_equals_transformers_generate(stored):
    model, tokenizer = stored.load(torch.float32), stored.tokenizer()
    answers = opened(stored).generate(PROMPTS, max_new_tokens=20)
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        ids = tokenizer(prompt, return_tensors="pt")
        whole = model.generate(**ids, max_new_tokens=20, do_sample=False)
        new = whole[0, ids["input_ids"].shape[1] :]
        assert answer.text == tokenizer.decode(new, skip_special_tokens=True)
        assert answer.num_tokens == len(new)
        assert answer.finish_reason == ("stop" if new[-1] == tokenizer.eos_token_id else "length")


def test_a_sample_depends_on_its_seed_and_prompt_alone(llama, monkeypatch):
    settings = {"max_new_tokens": 12, "temperature": 1.0, "top_p": 0.95, "seed": 3}
    together = opened(llama).generate(PROMPTS, **settings)
    assert opened(llama).generate(PROMPTS[::-1], **settings) == together[::-1]
    assert [opened(llama).generate([prompt], **settings)[0] for prompt in PROMPTS] == together
    monkeypatch.setitem(local.MAX_ROWS, "cpu", 2)
    assert opened(llama).generate(PROMPTS * 2, **settings) == together * 2
    assert opened(llama).generate(PROMPTS, **settings | {"seed": 4}) != together


def test_the_callers_random_numbers_are_left_alone(llama):
    torch.manual_seed(1)
    before = torch.get_rng_state(), random.getstate()
    opened(llama).generate(PROMPTS[:2], max_new_tokens=3, temperature=1.0)
    assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1]


def rows(count):
    return [Running([0], 1, random.Random(local._seed(str(n), 0))) for n in range(count)]


def test_samples_follow_the_distribution():
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    logits = probabilities.log().expand(20_000, 4)
    tokens = choose(logits, Sampling(1, 1.0, 1.0, (), 0), rows(20_000))
    counts = torch.bincount(torch.tensor(tokens), minlength=4) / 20_000
    assert torch.allclose(counts, probabilities, atol=0.012)  # over three standard errors
    hot = choose(logits, Sampling(1, 0.5, 1.0, (), 0), rows(20_000))
    squared = probabilities**2 / (probabilities**2).sum()
    assert torch.allclose(torch.bincount(torch.tensor(hot), minlength=4) / 20_000, squared, atol=0.012)


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    logits = torch.tensor([0.15, 0.5, 0.05, 0.3]).log().expand(20_000, 4)
    tokens = torch.tensor(choose(logits, Sampling(1, 1.0, 0.75, (), 0), rows(20_000)))
    counts = torch.bincount(tokens, minlength=4) / 20_000
    assert torch.allclose(counts, torch.tensor([0, 0.5 / 0.8, 0, 0.3 / 0.8]), atol=0.012)
    assert set(choose(logits[:50], Sampling(1, 1.0, 0.01, (), 0), rows(50))) == {1}


def test_an_answer_ends_before_its_stop_string(llama):
    [whole] = opened(llama).generate(["The default"], max_new_tokens=30)
    stop = whole.text[9:13]
    [cut] = opened(llama).generate(["The default"], max_new_tokens=30, stop=["never there", stop])
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop" and cut.num_tokens < whole.num_tokens


def test_messages_go_through_the_chat_template(llama):
    messages = [{"role": "user", "content": "What is it?"}]
    written = "<|im_start|>user\nWhat is it?<|im_end|>\n<|im_start|>assistant\n"
    chat, plain = opened(llama).generate([messages, written], max_new_tokens=8)
    assert chat == plain


def test_no_chat_template_no_messages(tmp_path):
    stored = make_tiny(tmp_path, hidden_size=64)
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(ValueError, match="has no chat template, so it can't be asked with messages"):
        opened(stored).generate([[{"role": "user", "content": "a"}]])


def test_a_prompt_beyond_the_window_is_an_error_in_its_answer(llama):
    long, short = opened(llama).generate(["The default " * 60, "The"], max_new_tokens=500)
    num_tokens = len(llama.tokenizer()("The default " * 60, verbose=False)["input_ids"])
    assert long.text == "" and f"{num_tokens} tokens" in long.error and "window is 64" in long.error
    assert short.error is None and short.num_tokens <= 64 - len(llama.tokenizer()("The")["input_ids"])


def test_equal_prompts_are_computed_once(llama, monkeypatch):
    sizes = []
    decode = local.decode
    monkeypatch.setattr(
        local, "decode", lambda model, tokenizer, rows, *rest: sizes.append(len(rows)) or decode(model, tokenizer, rows, *rest)
    )
    answers = opened(llama).generate(["The", "A model", "The"], max_new_tokens=4)
    assert sizes == [2] and answers[0] == answers[2]


def test_out_of_memory_halves_the_batch(llama, monkeypatch, caplog):
    settings = {"max_new_tokens": 6, "temperature": 1.0}
    expected = opened(llama).generate(PROMPTS, **settings)
    decode = local.decode

    def small(model, tokenizer, rows, *rest):
        if len(rows) > 2:
            raise torch.OutOfMemoryError("too many rows")
        return decode(model, tokenizer, rows, *rest)

    monkeypatch.setattr(local, "decode", small)
    with caplog.at_level(logging.WARNING):
        assert opened(llama).generate(PROMPTS, **settings) == expected
    assert "out of memory with 6 prompts" in caplog.text


def test_known_answers_need_no_model(llama, tmp_path, monkeypatch):
    monkeypatch.setenv("METIER_CACHE", str(tmp_path))
    first = open_language_model(llama, dtype="float32")
    answers = first.generate(PROMPTS, max_new_tokens=4), first.score([("The", " list")]), first.score_texts(["The list", ""])
    monkeypatch.setattr(Model, "load", lambda *_: pytest.fail("the model was loaded"))
    again = open_language_model(llama, dtype="float32")
    assert (
        again.generate(PROMPTS, max_new_tokens=4, seed=9),
        again.score([("The", " list")]),
        again.score_texts(["The list", ""]),
    ) == answers


def test_answers_of_another_precision_are_other_answers(llama, tmp_path, monkeypatch):
    monkeypatch.setenv("METIER_CACHE", str(tmp_path))
    [exact] = open_language_model(llama, dtype="float32").score([("The", " list of all")])
    [rough] = open_language_model(llama, dtype="bfloat16").score([("The", " list of all")])
    assert exact.logprob != rough.logprob
    assert rough.logprob == pytest.approx(exact.logprob, rel=0.05)


def test_a_window_for_texts_can_be_chosen(llama):
    text = ["The question is what is the answer to the question " * 3]
    [wide], [narrow] = opened(llama).score_texts(text), opened(llama, max_length=4).score_texts(text)
    assert wide.num_tokens == narrow.num_tokens and wide.logprob != narrow.logprob
    with pytest.raises(ValueError, match="max_length=65 is more than the 64 tokens"):
        opened(llama, max_length=65).score_texts(text)


def test_nothing_asked_nothing_answered(llama):
    model = opened(llama)
    assert (model.generate([]), model.score([]), model.score_texts([])) == ([], [], [])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"top_p": 1.5}, "top_p=1.5"),
        ({"stop": ["a", ""]}, "empty string"),
    ],
)
def test_bad_settings_are_refused(llama, settings, message):
    with pytest.raises(ValueError, match=message):
        opened(llama).generate(["The"], **settings)


@pytest.mark.parametrize("source", ["vllm://model", "ct2://path"])
def test_backends_of_later_are_refused_by_name(source):
    with pytest.raises(ValueError, match=f"{source}': {source[:4].strip(':')}.*not supported"):
        open_language_model(source)


def test_precision_names_are_dtypes():
    cpu = torch.device("cpu")
    assert resolve_dtype("float32", cpu) == torch.float32
    assert resolve_dtype("auto", cpu) in (torch.float32, torch.bfloat16)
