"""The endpoint client against a real local server, in good and bad weather."""

import email.utils
import importlib.util
import time
from pathlib import Path

import httpx
import pytest

from metier.engines.generate.backend import Sampling
from metier.engines.generate.endpoint import open_endpoint
from metier.engines.generate.open import open_language_model

_spec = importlib.util.spec_from_file_location("protocol_server", Path(__file__).parent / "server.py")
protocol_server = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(protocol_server)


@pytest.fixture
def server():
    running = protocol_server.Server()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def model(server, monkeypatch):
    """A language model behind the server, without cache, whose pauses are short."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    asked = open_language_model(f"openai://some/model@{server.url}", cache=False)
    asked.backend.http.first_pause_seconds = 0.01
    return asked


def ask(text):
    return [{"role": "user", "content": text}]


def test_messages_and_strings_go_where_they_belong(server, model):
    chat, plain = model.generate([ask("hello"), "abc"], max_new_tokens=7, stop=["a"])
    assert (chat.text, chat.num_tokens, chat.finish_reason, chat.error) == ("HELLO", 5, "stop", None)
    assert (plain.text, plain.num_tokens, plain.finish_reason, plain.error) == ("cb", 3, "stop", None)
    assert server.paths == {"/v1/chat/completions": 1, "/v1/completions": 1}
    assert set(server.keys) == {"Bearer secret-key"}
    assert all(body["model"] == "some/model" and body["max_tokens"] == 7 and body["temperature"] == 0 for body in server.seen)
    assert all("seed" not in body for body in server.seen)


def test_sampling_settings_reach_the_server(server, model):
    model.generate(["abc"], max_new_tokens=3, temperature=0.7, top_p=0.9, seed=5)
    [body] = server.seen
    assert (body["temperature"], body["top_p"], body["seed"], body["max_tokens"]) == (0.7, 0.9, 5, 3)


def test_order_is_kept_and_concurrency_bounded(server, model):
    prompts = [ask(f"question {n}") for n in range(60)]
    assert [answer.text for answer in model.generate(prompts)] == [f"QUESTION {n}" for n in range(60)]
    assert 2 <= server.most <= 8


@pytest.mark.parametrize("trouble", ["429", "500", "503", "drop", "garbage"])
def test_passing_trouble_passes_unnoticed(server, model, trouble):
    server.plan = [trouble, trouble]
    [answer] = model.generate([ask("hello")])
    assert (answer.text, answer.error) == ("HELLO", None)
    assert len(server.seen) == 3


def test_a_slow_answer_is_asked_for_again(server, model):
    model.backend.http.client.timeout = httpx.Timeout(0.2)
    server.plan = ["slow"]
    [answer] = model.generate([ask("hello")])
    assert (answer.text, answer.error) == ("HELLO", None)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_everyone_waits_as_long_as_the_server_says(server, model, form):
    wait = 1.0 if form == "seconds" else 2.0  # dates have whole seconds: up to one is lost
    server.retry_after = "1" if form == "seconds" else email.utils.formatdate(time.time() + wait, usegmt=True)
    server.plan = ["429"]
    model.backend.concurrency = 1
    answers = model.generate([ask(f"q{n}") for n in range(3)])
    assert [answer.text for answer in answers] == ["Q0", "Q1", "Q2"]
    assert server.times[1] - server.times[0] >= 0.95


def test_a_server_that_asks_for_too_long_a_wait_is_an_error(server, model):
    server.retry_after, server.plan = "86400", ["429"]
    [answer] = model.generate([ask("hello")])
    assert answer.text == "" and "HTTP 429: told to say 429" in answer.error


def test_what_is_refused_is_not_asked_again(server, model):
    server.plan = ["401"]
    [answer] = model.generate([ask("hello")])
    assert (answer.text, answer.error) == ("", "HTTP 401: told to say 401")
    assert len(server.seen) == 1


def test_a_failure_harms_no_other_answer(server, model):
    model.backend.concurrency = 1
    server.plan = ["", "400", ""]
    answers = model.generate([ask("a"), ask("b"), ask("c")])
    assert [answer.text for answer in answers] == ["A", "", "C"]
    assert [answer.error for answer in answers] == [None, "HTTP 400: told to say 400", None]


def test_after_all_retries_the_last_reason_is_told(server, model):
    model.backend.http.attempts = 3
    server.plan = ["500"] * 3
    [answer] = model.generate([ask("hello")])
    assert answer.error == "HTTP 500: told to say 500 (tried 3 times)"


def test_a_dead_server_is_given_up_once_not_for_each_prompt(server, model):
    server.shutdown()
    server.server_close()
    model.backend.http.attempts, model.backend.concurrency = 6, 1
    started = time.monotonic()
    answers = model.generate([ask(f"q{n}") for n in range(50)])
    assert all("ConnectError" in answer.error for answer in answers)
    assert time.monotonic() - started < 5  # one round of pauses takes about 0.3 s


def test_who_stops_early_does_not_wait_for_retries(server, model):
    server.retry_after, server.plan = "30", ["", "429"]
    model.backend.concurrency = 1
    answers = model.backend.complete([ask(f"q{n}") for n in range(5)], Sampling(9, 0.0, 1.0, (), 0))
    assert next(answers)[1].text == "Q0"
    started = time.monotonic()
    answers.close()
    assert time.monotonic() - started < 5
    assert not model.backend.http.stopping.is_set()


def test_an_answer_of_another_form_is_an_error(server, model):
    server.plan = ["shapeless"]
    [answer] = model.generate([ask("hello")])
    assert "not the expected form" in answer.error and "choices" in answer.error


def test_newer_servers_are_told_the_length_in_their_own_words(server, model):
    server.refuses_max_tokens = True
    model.backend.concurrency = 1
    answers = model.generate([ask("a"), ask("b")], max_new_tokens=9)
    assert [answer.text for answer in answers] == ["A", "B"]
    assert [body.get("max_completion_tokens") for body in server.seen] == [None, 9, 9]


def test_scores_are_those_of_the_continuation(server, model):
    scores = model.score([("xy", "yyz"), ("x  ", "aa"), ("xx", "xx")])
    # y y z after y: -1 -1 -3; the two blanks belong to the continuation "  aa": -3 -1 -3 -1
    assert [score.logprob for score in scores] == [-5.0, -8.0, -2.0]
    assert [score.num_tokens for score in scores] == [3, 4, 2]
    assert [score.num_bytes for score in scores] == [3, 2, 2]
    assert [score.is_greedy for score in scores] == [False, False, True]
    assert all(body["echo"] and body["max_tokens"] == 0 and body["logprobs"] == 1 for body in server.seen)


def test_texts_are_scored_from_their_second_token(server, model):
    [score, nothing] = model.score_texts(["éaab", ""])
    assert (score.logprob, score.num_tokens, score.num_bytes) == (-3.0 - 1.0 - 3.0, 3, 3)
    assert (nothing.logprob, nothing.num_tokens) == (0.0, 0)


def test_an_empty_context_is_refused_where_nothing_precedes_the_text(model):
    with pytest.raises(ValueError, match="no probability for the first token"):
        model.score([("", "abc")])


def test_a_server_that_can_not_score_is_named_with_the_remedy(server, model):
    server.echoes = False
    with pytest.raises(ValueError, match=r"openai://some/model@http.* can't score: .*such as vLLM"):
        model.score([("a", "b")])


def test_a_finished_call_costs_nothing_the_second_time(server, monkeypatch, tmp_path):
    monkeypatch.setenv("METIER_CACHE", str(tmp_path))
    source = f"openai://m@{server.url}"
    first = open_language_model(source).generate([ask("a"), ask("b"), ask("a")])
    assert len(server.seen) == 2
    assert open_language_model(source).generate([ask("a"), ask("b"), ask("a")]) == first
    assert len(server.seen) == 2
    open_language_model(source).generate([ask("a")], max_new_tokens=5)
    assert len(server.seen) == 3


@pytest.mark.parametrize("rest", ["model", "model@127.0.0.1:80", "@http://host", "m@httpx"])
def test_an_endpoint_without_model_or_address_is_refused(rest):
    with pytest.raises(ValueError, match="write openai://model@base_url"):
        open_endpoint(rest)


def test_the_key_is_in_no_message_and_no_representation(model):
    assert "secret-key" not in repr(model) + model.name + model.backend.identity
