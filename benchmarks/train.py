"""Supervised fine-tuning: metier's trainer and TRL's SFTTrainer, the same work, alternately, each run in its own process.

    python benchmarks/train.py [--rows 160] [--repeats 1]

160 rows of GSM8K (../shared/data/math/gsm8k_train.jsonl beside the checkout) or of generated sums where that is absent; SmolLM2-135M;
batches of 8 rows of up to 512 tokens in the same order, AdamW, a constant learning rate of 2e-5, fp32 and bf16. TRL has its defaults but for what
makes the work equal (order, learning rate, schedule, AdamW's second beta, batch, dtype, no saving) and runs twice: with its defaults, which
compute activations again in the backward pass (less memory, more time), and without that, which is its fastest. tokens/s counts real
tokens, never padding, over the training loop alone; memory is the process's peak.
The last line of stdout is one JSON object, also stored in benchmarks/results/train.json.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from side_by_side import DATA, in_process, median, peak_memory_bytes, peer_python, smollm2, store, the_job

GSM8K = DATA / "math" / "gsm8k_train.jsonl"
BATCH, LONGEST, LEARNING_RATE = 8, 512, 2e-5
PEER = ["torch>=2.8,<2.14", "trl>=1.0"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=160)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--arm", choices=["metier", "trl", "trl_fastest"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm is not None:
        arm = {"metier": run_metier, "trl": run_trl, "trl_fastest": partial(run_trl, recompute=False)}[options.arm]
        print(json.dumps(arm(the_job())))
        return
    peer = peer_python("trl", PEER)
    job = {"model": smollm2(), "examples": examples(options.rows)}
    figures: dict[str, Any] = {"rows": options.rows, "data": "gsm8k" if GSM8K.is_file() else "generated sums", "runs": []}
    for repeat in range(options.repeats):
        for dtype in options.dtypes:
            for arm, python in (("metier", sys.executable), ("trl", peer), ("trl_fastest", peer)):
                found = in_process(python, __file__, arm, job | {"dtype": dtype})
                figures["runs"].append({"arm": arm, "dtype": dtype, "repeat": repeat} | found)
                print(
                    f"{arm:11} {dtype:9} {found['tokens_per_second']:7.1f} tokens/s  {found['peak_memory_bytes'] / 1e9:5.2f} GB  "
                    f"loss {found['losses'][0]:.4f} -> {found['losses'][-1]:.4f}",
                    flush=True,
                )
    for dtype in options.dtypes:
        for peer_arm in ("trl", "trl_fastest"):
            runs = [run for run in figures["runs"] if run["dtype"] == dtype and run["arm"] in ("metier", peer_arm)]
            figures[f"{dtype} against {peer_arm}"] = compare(runs)
            print(f"{dtype} against {peer_arm}: {figures[f'{dtype} against {peer_arm}']}")
    figures["versions"] = {run["arm"]: run.pop("versions") for run in figures["runs"]}
    store("train", figures)


def compare(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Ratios of the medians, and the checks that both did the same work."""
    ours, theirs = ([run for run in runs if (run["arm"] == "metier") == mine] for mine in (True, False))

    apart = max(abs(a - b) for a, b in zip(ours[0]["losses"], theirs[0]["losses"], strict=True))
    if ours[0]["tokens"] != theirs[0]["tokens"]:
        raise SystemExit(f"not the same work: {ours[0]['tokens']} tokens against {theirs[0]['tokens']}")
    if apart > (1e-3 if ours[0]["dtype"] == "float32" else 5e-2):
        raise SystemExit(f"not the same work: losses of a step differ by {apart:.4f}")
    return {
        "tokens_per_second": round(median(ours, "tokens_per_second"), 1),
        "peer_tokens_per_second": round(median(theirs, "tokens_per_second"), 1),
        "peak_memory_bytes": median(ours, "peak_memory_bytes"),
        "peer_peak_memory_bytes": median(theirs, "peak_memory_bytes"),
        "speed_ratio": round(median(ours, "tokens_per_second") / median(theirs, "tokens_per_second"), 3),
        "memory_ratio": round(median(ours, "peak_memory_bytes") / median(theirs, "peak_memory_bytes"), 3),
        "largest_loss_difference": round(apart, 6),
    }


def examples(count: int) -> list[dict[str, Any]]:
    """Rows in TRL's conversational prompt/completion form."""
    if GSM8K.is_file():
        rows = [json.loads(line) for line in GSM8K.read_text().splitlines()[:count]]
    else:
        generator = random.Random(0)
        sums = [[generator.randint(10, 999) for _ in range(generator.randint(2, 12))] for _ in range(count)]
        rows = [
            {"question": f"What is {' + '.join(map(str, parts))}?", "answer": f"It is {sum(parts)}. " * len(parts)}
            for parts in sums
        ]
    return [
        {
            "prompt": [{"role": "user", "content": row["question"]}],
            "completion": [{"role": "assistant", "content": row["answer"]}],
        }
        for row in rows
    ]


def run_metier(job: dict[str, Any]) -> dict[str, Any]:
    from metier.artifacts import Model
    from metier.core import host
    from metier.engines.text.chat import tokenize_examples
    from metier.engines.train import fit as engine

    model = Model.open(job["model"])
    sequences, too_long = tokenize_examples(iter(job["examples"]), model.tokenizer(), longest=LONGEST)
    assert too_long == 0

    def in_turn(step: int) -> range:  # as the peer sees them
        return range(step * BATCH, min((step + 1) * BATCH, len(sequences)))

    workdir = Path(tempfile.mkdtemp())
    schedule = engine.Schedule(epochs=1, rows_per_step=BATCH, learning_rate=LEARNING_RATE, warmup=0.0, shape="constant")
    engine.fit(
        model, [[sequence] for sequence in sequences], [], schedule, adapter=None, precision=job["dtype"], checkpoint_seconds=1e9,
        seed=0, workdir=workdir, method="benchmark", order=in_turn,
    )  # fmt: skip
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    seconds = sum(line["trained"] / line["tokens_per_second"] for line in lines)
    tokens = sum(len(sequence) for sequence in sequences)
    return {
        "tokens": tokens,
        "tokens_per_second": tokens / seconds,
        "seconds": seconds,
        "losses": [line["loss"] for line in lines],
        "peak_memory_bytes": peak_memory_bytes(),
        "versions": host.versions(),
    }


def run_trl(job: dict[str, Any], recompute: bool = True) -> dict[str, Any]:
    import datasets
    import torch
    import transformers
    import trl
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    class Watch(TrainerCallback):
        losses: list[float] = []  # noqa: RUF012
        began = ended = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
            if "loss" in logs:
                self.losses.append(logs["loss"])

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.ended = time.perf_counter()

    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
    watch = Watch()
    arguments = trl.SFTConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=BATCH,
        max_length=LONGEST,
        num_train_epochs=1,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        adam_beta2=0.95,
        bf16=job["dtype"] == "bfloat16",
        use_cpu=True,
        gradient_checkpointing=recompute,
        shuffle_dataset=False,
        train_sampling_strategy="sequential",
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=0,
    )
    trainer = trl.SFTTrainer(
        model, arguments, train_dataset=datasets.Dataset.from_list(job["examples"]), processing_class=tokenizer, callbacks=[watch]
    )
    tokens = sum(len(row["input_ids"]) for row in trainer.train_dataset)
    trainer.train()
    seconds = watch.ended - watch.began
    return {
        "tokens": tokens,
        "tokens_per_second": tokens / seconds,
        "seconds": seconds,
        "losses": watch.losses,
        "peak_memory_bytes": peak_memory_bytes(),
        "versions": {"trl": trl.__version__, "torch": torch.__version__, "transformers": transformers.__version__},
    }


if __name__ == "__main__":
    main()
