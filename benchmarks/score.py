"""Scoring: metier's engine and lm-evaluation-harness, the same requests, alternately, each run in its own process.

    python benchmarks/score.py [--items 200] [--repeats 1]

SmolLM2-135M, fp32 and bf16. Three jobs: CommonsenseQA (../shared/data/commonsense beside the checkout, or generated questions where that is
absent) zero-shot with the answers' texts, the same five-shot with letters, and the rolling log-likelihood of WikiText-2 test text (or of
Python's language reference). lm-eval gets its own best setting of two for each job (batch size 1 and 16, timed on a tenth of the
requests, the faster used) and the same window. Seconds are those of the scoring calls, model load and tokenizer load aside; memory is the
process's peak. Generation: metier's LanguageModel and transformers' generate with one padded batch, the same prompts.
The last line of stdout is one JSON object, also stored in benchmarks/results/score.json.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from typing import Any

from side_by_side import DATA, in_process, median, peak_memory_bytes, peer_python, smollm2, store, the_job

COMMONSENSE = DATA / "commonsense" / "commonsenseqa_dev.jsonl"
WIKITEXT = DATA / "text" / "wikitext2_test.txt"
PEER = ["torch>=2.8,<2.14", "lm_eval[hf]>=0.4.9,<0.5"]
WINDOW, SHOTS = 2048, 5
TEXT_CHARACTERS = 60_000
PROMPTS, NEW_TOKENS = 96, 48


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument(
        "--arm", choices=["metier", "lm_eval", "generate_metier", "generate_transformers"], help=argparse.SUPPRESS
    )
    options = parser.parse_args()
    if options.arm is not None:
        arms = {"metier": score_metier, "lm_eval": score_lm_eval}
        arms |= {"generate_metier": generate_metier, "generate_transformers": generate_transformers}
        print(json.dumps(arms[options.arm](the_job())))
        return
    pythons = {"metier": sys.executable, "lm_eval": peer_python("lm_eval", PEER)}
    rows = questions(options.items + SHOTS)
    jobs = {"zero-shot, texts": zero_shot(rows), "five-shot, letters": five_shot(rows), "rolling": text()}
    figures: dict[str, Any] = {
        "items": options.items,
        "data": "commonsenseqa" if COMMONSENSE.is_file() else "generated",
        "runs": [],
    }
    for _ in range(options.repeats):
        for dtype in options.dtypes:
            for task, job in jobs.items():
                for arm, python in pythons.items():
                    found = in_process(python, __file__, arm, job | {"model": smollm2(), "dtype": dtype})
                    figures["runs"].append({"arm": arm, "dtype": dtype, "task": task} | found)
                    print(
                        f"{task:18} {dtype:9} {arm:8} {found['seconds']:7.1f} s  {found['peak_memory_bytes'] / 1e9:5.2f} GB",
                        flush=True,
                    )
    for dtype in options.dtypes:
        for task, job in jobs.items():
            name = f"{task}, {dtype}"
            figures[name] = compare([run for run in figures["runs"] if (run["task"], run["dtype"]) == (task, dtype)], job)
            print(f"{name}: {figures[name]}")
    figures["generation"] = generation(options.repeats)
    print(f"generation: {figures['generation']}")
    figures["versions"] = {run["arm"]: run.pop("versions") for run in figures["runs"]}
    for run in figures["runs"]:
        run.pop("logprobs")
    store("score", figures)


def compare(runs: list[dict[str, Any]], job: dict[str, Any]) -> dict[str, Any]:
    """Ratios, values of both, and the check that both did the same work: log-probabilities in fp32 within 1e-3 of each other."""
    ours, theirs = ([run for run in runs if run["arm"] == arm] for arm in ("metier", "lm_eval"))
    apart = max(abs(a - b) for a, b in zip(ours[0]["logprobs"], theirs[0]["logprobs"], strict=True))
    largest = max(abs(value) for value in theirs[0]["logprobs"])
    if apart > (1e-3 if runs[0]["dtype"] == "float32" else 0.05) * max(1.0, largest / 100):
        raise SystemExit(f"not the same work: log-probabilities differ by {apart:.4f}")
    seconds, peer_seconds = median(ours, "seconds"), median(theirs, "seconds")
    memory, peer_memory = median(ours, "peak_memory_bytes"), median(theirs, "peak_memory_bytes")
    return {
        "seconds": round(seconds, 2),
        "peer_seconds": round(peer_seconds, 2),
        "speed_ratio": round(peer_seconds / seconds, 2),
        "peak_memory_bytes": memory,
        "peer_peak_memory_bytes": peer_memory,
        "memory_ratio": round(memory / peer_memory, 3),
        "value": value(ours[0]["logprobs"], job),
        "peer_value": value(theirs[0]["logprobs"], job),
        "largest_logprob_difference": round(apart, 6),
        "peer_batch_size": theirs[0]["batch_size"],
    }


def value(logprobs: list[float], job: dict[str, Any]) -> float:
    """Accuracy by the sum of log-probabilities, or bits per byte."""
    if "text" in job:
        return round(-logprobs[0] / 0.6931471805599453 / len(job["text"].encode()), 4)
    right, place = 0, 0
    for num_options, gold in job["gold"]:
        part = logprobs[place : place + num_options]
        right += part.index(max(part)) == gold
        place += num_options
    return round(right / len(job["gold"]), 4)


def questions(count: int) -> list[dict[str, Any]]:
    if COMMONSENSE.is_file():
        return [json.loads(line) for line in COMMONSENSE.read_text().splitlines()[:count]]
    generator = random.Random(0)
    rows = []
    for _ in range(count):
        a, b = generator.randint(10, 99), generator.randint(10, 99)
        choices = [str(a + b + k) for k in generator.sample([0, 1, 2, 10, -10], 5)]
        rows.append({"question": f"What is {a} plus {b}?", "choices": choices, "answer": choices.index(str(a + b))})
    return rows


def zero_shot(rows: list[dict[str, Any]]) -> dict[str, Any]:
    asked = rows[SHOTS:]
    requests = [(f"Question: {row['question']}\nAnswer:", f" {choice}") for row in asked for choice in row["choices"]]
    return {"requests": requests, "gold": [(len(row["choices"]), row["answer"]) for row in asked]}


def five_shot(rows: list[dict[str, Any]]) -> dict[str, Any]:
    def block(row: dict[str, Any]) -> str:
        listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip("ABCDE", row["choices"], strict=True))
        return f"Question: {row['question']}\n{listed}\nAnswer:"

    shots = "".join(f"{block(row)} {'ABCDE'[row['answer']]}\n\n" for row in rows[:SHOTS])
    asked = rows[SHOTS:]
    requests = [(shots + block(row), f" {letter}") for row in asked for letter in "ABCDE"]
    return {"requests": requests, "gold": [(5, row["answer"]) for row in asked]}


def text() -> dict[str, Any]:
    if WIKITEXT.is_file():
        return {"text": WIKITEXT.read_text()[:TEXT_CHARACTERS]}
    from pydoc_data.topics import topics

    return {"text": "\n\n".join(topics.values())[:TEXT_CHARACTERS]}


def score_metier(job: dict[str, Any]) -> dict[str, Any]:
    from metier.core import host
    from metier.engines.generate.open import open_language_model

    model = open_language_model(job["model"], dtype=job["dtype"], cache=False)
    model.score([("Question: one\nAnswer:", " two")])
    began = time.perf_counter()
    found = model.score_texts([job["text"]]) if "text" in job else model.score([tuple(pair) for pair in job["requests"]])
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "logprobs": [score.logprob for score in found],
        "peak_memory_bytes": peak_memory_bytes(),
        "versions": host.versions(),
    }


def score_lm_eval(job: dict[str, Any]) -> dict[str, Any]:
    from importlib.metadata import version

    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    def model(batch_size: Any) -> HFLM:
        return HFLM(pretrained=job["model"], device="cpu", dtype=job["dtype"], batch_size=batch_size, max_length=WINDOW)

    def instances(requests: list[Any], kind: str) -> list[Instance]:
        return [Instance(request_type=kind, doc={}, arguments=tuple(request), idx=0) for request in requests]

    def ask(lm: HFLM, requests: list[Any]) -> tuple[float, list[float]]:
        began = time.perf_counter()
        if "text" in job:
            logprobs = lm.loglikelihood_rolling(instances([(job["text"],)], "loglikelihood_rolling"), disable_tqdm=True)
        else:
            logprobs = [answer[0] for answer in lm.loglikelihood(instances(requests, "loglikelihood"), disable_tqdm=True)]
        return time.perf_counter() - began, logprobs

    requests = job.get("requests", [])
    batch_size = 1
    if requests:
        tenth = requests[: max(10, len(requests) // 10)]
        tried = {}
        for size in (1, 16):
            lm = model(size)
            ask(lm, requests[:2])
            tried[size] = ask(lm, tenth)[0]
        batch_size = min(tried, key=tried.__getitem__)
    lm = model(batch_size)
    seconds, logprobs = ask(lm, requests)
    return {
        "seconds": seconds,
        "logprobs": logprobs,
        "batch_size": batch_size,
        "peak_memory_bytes": peak_memory_bytes(),
        "versions": {name: version(name) for name in ("lm_eval", "torch", "transformers")},
    }


def generation(repeats: int) -> dict[str, Any]:
    """Greedy answers to questions of different lengths in bf16, until an end of line or NEW_TOKENS tokens."""
    rows = questions(PROMPTS // 3)
    prompts = [f"Question: {row['question']}\nAnswer:" for row in rows]
    prompts += [f"Here is a question.\n{json.dumps(row)}\nQuestion: {row['question']}\nAnswer:" for row in rows]
    prompts += prompts[: PROMPTS - len(prompts)]  # a third is asked twice, as shared prompts are in evaluations
    job = {"model": smollm2(), "prompts": prompts}
    found: dict[str, list[dict[str, Any]]] = {"generate_metier": [], "generate_transformers": []}
    for _ in range(repeats):
        for arm, runs in found.items():
            runs.append(in_process(sys.executable, __file__, arm, job))
    ours, theirs = (median(runs, "seconds") for runs in found.values())
    same = sum(
        a == b for a, b in zip(*(runs[0]["completions"] for runs in found.values()), strict=True)
    )  # in bf16 a near tie may go the other way in another batch
    return {
        "prompts": len(prompts),
        "seconds": round(ours, 2),
        "peer_seconds": round(theirs, 2),
        "speed_ratio": round(theirs / ours, 2),
        "same_completions": same,
        "peak_memory_bytes": median(found["generate_metier"], "peak_memory_bytes"),
        "peer_peak_memory_bytes": median(found["generate_transformers"], "peak_memory_bytes"),
    }


def generate_metier(job: dict[str, Any]) -> dict[str, Any]:
    from metier.engines.generate.open import open_language_model

    model = open_language_model(job["model"], dtype="bfloat16", cache=False)
    model.generate(["one"], max_new_tokens=2)
    began = time.perf_counter()
    found = model.generate(job["prompts"], max_new_tokens=NEW_TOKENS, stop=["\n"])
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "completions": [one.text for one in found], "peak_memory_bytes": peak_memory_bytes()}


def generate_transformers(job: dict[str, Any]) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job["model"], padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.bfloat16)
    model.generate(**tokenizer(["one"], return_tensors="pt"), max_new_tokens=2, do_sample=False)
    began = time.perf_counter()
    batch = tokenizer(job["prompts"], return_tensors="pt", padding=True)
    ids = model.generate(
        **batch,
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        stop_strings=["\n"],
        tokenizer=tokenizer,
        pad_token_id=tokenizer.pad_token_id,
    )
    texts = tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "completions": [one.partition("\n")[0] for one in texts],
        "peak_memory_bytes": peak_memory_bytes(),
    }


if __name__ == "__main__":
    main()
