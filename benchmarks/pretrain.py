"""Pretraining from scratch: metier, transformers.Trainer and litgpt, the same work, alternately, each run in its own process.

    python benchmarks/pretrain.py [--steps 30] [--repeats 1]

A Llama of 10.5 million random weights (8 layers of 256, 8192 tokens, untied); text of Python's standard library documentation with a
BPE learnt from it, joined by end tokens and cut into blocks of 513 tokens, as the common group_texts does (so attention crosses documents in
all arms, and metier gains nothing by keeping them apart); 8 blocks a step in one order, AdamW without decay, a constant learning rate of 1e-3,
gradients clipped at 1, fp32 and bf16 autocast. The peers have their defaults but for what makes the work equal: litgpt's own training loop with
its micro-batches of 4, Trainer with its batches of 8. tokens/s counts predicted tokens over the training loop without its first step;
memory is the process's peak. Losses must agree. The last line of stdout is one JSON object, also stored in benchmarks/results/pretrain.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from itertools import chain
from pathlib import Path
from typing import Any

from side_by_side import in_process, median, peak_memory_bytes, peer_python, store, the_job

LENGTH, BATCH, LEARNING_RATE, VOCABULARY = 512, 8, 1e-3, 8192
LAYERS, HIDDEN, HEADS, INNER = 8, 256, 4, 704
PEER = ["torch>=2.8,<2.14", "litgpt>=0.5"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--arm", choices=["metier", "trainer", "litgpt"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm is not None:
        print(json.dumps({"metier": run_metier, "trainer": run_trainer, "litgpt": run_litgpt}[options.arm](the_job())))
        return
    peer = peer_python("litgpt", PEER)
    figures: dict[str, Any] = {"steps": options.steps, "runs": []}
    with tempfile.TemporaryDirectory() as folder:
        job = prepare(Path(folder), options.steps)
        for repeat in range(options.repeats):
            for dtype in options.dtypes:
                for arm, python in (("metier", sys.executable), ("trainer", sys.executable), ("litgpt", peer)):
                    found = in_process(python, __file__, arm, job | {"dtype": dtype})
                    figures["runs"].append({"arm": arm, "dtype": dtype, "repeat": repeat} | found)
                    print(
                        f"{arm:8} {dtype:9} {found['tokens_per_second']:7.1f} tokens/s  {found['peak_memory_bytes'] / 1e9:5.2f} GB  "
                        f"loss {found['losses'][0]:.4f} -> {found['losses'][-1]:.4f}",
                        flush=True,
                    )
    for dtype in options.dtypes:
        for arm in ("trainer", "litgpt"):
            runs = [run for run in figures["runs"] if run["dtype"] == dtype and run["arm"] in ("metier", arm)]
            figures[f"{dtype} against {arm}"] = compare(runs)
            print(f"{dtype} against {arm}: {figures[f'{dtype} against {arm}']}")
    figures["versions"] = {run["arm"]: run.pop("versions") for run in figures["runs"]}
    store("pretrain", figures)


def compare(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Ratios of the medians, and the check that both did the same work."""
    ours, theirs = ([run for run in runs if (run["arm"] == "metier") == mine] for mine in (True, False))
    apart = max(abs(a - b) for a, b in zip(ours[0]["losses"], theirs[0]["losses"], strict=True))
    if apart > (1e-2 if ours[0]["dtype"] == "float32" else 0.1):
        raise SystemExit(f"not the same work: losses of a step differ by {apart:.4f}")
    return {
        "tokens_per_second": round(median(ours, "tokens_per_second"), 1),
        "peer_tokens_per_second": round(median(theirs, "tokens_per_second"), 1),
        "speed_ratio": round(median(ours, "tokens_per_second") / median(theirs, "tokens_per_second"), 3),
        "memory_ratio": round(median(ours, "peak_memory_bytes") / median(theirs, "peak_memory_bytes"), 3),
        "memory_above_start_ratio": round(median(ours, "above_start_bytes") / median(theirs, "above_start_bytes"), 3),
        "largest_loss_difference": round(apart, 6),
    }


def prepare(folder: Path, steps: int) -> dict[str, Any]:
    """The blocks and the random model that all arms begin with."""
    import numpy as np
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from metier.artifacts import Model
    from metier.engines.data.stdlib import documents
    from metier.pretrain.from_scratch import train_tokenizer

    texts = [row["text"] for row in documents()]
    tokenizer = train_tokenizer(texts, VOCABULARY)
    ids = list(chain.from_iterable([*one, tokenizer.eos_token_id] for one in tokenizer(texts)["input_ids"]))
    size = LENGTH + 1
    whole = [ids[start : start + size] for start in range(0, len(ids) - size + 1, size)]
    np.save(folder / "blocks.npy", np.array([whole[number % len(whole)] for number in range(steps * BATCH)], dtype=np.int64))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=INNER, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        num_key_value_heads=HEADS, max_position_embeddings=size, tie_word_embeddings=False, rms_norm_eps=1e-5,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    Model.of(LlamaForCausalLM(config), tokenizer, folder / "model")
    return {"model": str(folder / "model"), "blocks": str(folder / "blocks.npy")}


def run_metier(job: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    from metier.artifacts import Model
    from metier.core import host
    from metier.engines.text.sequences import TokenSequence
    from metier.engines.train.fit import Schedule, fit

    blocks = np.load(job["blocks"])
    workdir = Path(tempfile.mkdtemp())
    start = peak_memory_bytes()
    schedule = Schedule(epochs=1, rows_per_step=BATCH, learning_rate=LEARNING_RATE, warmup=0.0, shape="constant")
    fit(
        Model.open(job["model"]), [[TokenSequence.of_text(block.tolist())] for block in blocks], [], schedule, adapter=None,
        precision=job["dtype"], checkpoint_seconds=1e9, seed=0, workdir=workdir, method="benchmark",
        order=lambda step: range(step * BATCH, (step + 1) * BATCH),
    )  # fmt: skip
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    seconds = [line["trained"] / line["tokens_per_second"] for line in lines]
    return result([line["loss"] for line in lines], sum(seconds[1:]), start, host.versions())


def run_trainer(job: dict[str, Any]) -> dict[str, Any]:
    import numpy as np
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments, default_data_collator

    class Watch(TrainerCallback):
        losses: list[float] = []  # noqa: RUF012
        ends: list[float] = []  # noqa: RUF012

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
            if "loss" in logs:
                self.losses.append(logs["loss"])

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.ends.append(time.perf_counter())

    blocks = [{"input_ids": block, "labels": block} for block in np.load(job["blocks"])]
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
    start = peak_memory_bytes()
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=BATCH, num_train_epochs=1, learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant", adam_beta2=0.95, bf16=job["dtype"] == "bfloat16", use_cpu=True,
        train_sampling_strategy="sequential", logging_steps=1, save_strategy="no", report_to=[], disable_tqdm=True, seed=0,
    )  # fmt: skip
    watch = Watch()
    Trainer(model, arguments, train_dataset=blocks, data_collator=default_data_collator, callbacks=[watch]).train()
    return result(watch.losses, watch.ends[-1] - watch.ends[0], start, {"transformers": transformers.__version__})


def run_litgpt(job: dict[str, Any]) -> dict[str, Any]:
    import lightning
    import litgpt
    import numpy as np
    import torch
    from litgpt import pretrain
    from litgpt.args import EvalArgs, TrainArgs
    from safetensors.torch import load_file

    config = litgpt.Config(
        name="benchmark", block_size=LENGTH, padded_vocab_size=VOCABULARY, vocab_size=VOCABULARY, n_layer=LAYERS, n_head=HEADS,
        n_embd=HIDDEN, rotary_percentage=1.0, parallel_residual=False, bias=False, norm_class_name="RMSNorm", norm_eps=1e-5,
        mlp_class_name="LLaMAMLP", intermediate_size=INNER,
    )  # fmt: skip
    fabric = lightning.Fabric(accelerator="cpu", devices=1, precision="32-true" if job["dtype"] == "float32" else "bf16-mixed")
    model = litgpt.GPT(config)
    model.load_state_dict(translated(load_file(str(Path(job["model"]) / "model.safetensors"))))
    model.max_seq_length = LENGTH
    loader = torch.utils.data.DataLoader(torch.from_numpy(np.load(job["blocks"])), batch_size=4)
    start = peak_memory_bytes()
    model = fabric.setup(model)
    optimizer = fabric.setup_optimizers(torch.optim.AdamW(model.parameters(), LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.0))
    losses: list[float] = []
    ends: list[float] = []

    def log(metrics: dict[str, Any], step: int | None = None) -> None:
        losses.append(metrics["loss"])
        ends.append(time.perf_counter())

    fabric.log_dict = log
    fabric.print = lambda *_, **__: None
    state = {"model": model, "optimizer": optimizer, "train_dataloader": loader, "iter_num": 0, "step_count": 0}
    train = TrainArgs(
        global_batch_size=BATCH, micro_batch_size=4, max_tokens=len(loader.dataset) * LENGTH, max_norm=1.0, min_lr=LEARNING_RATE,
        lr_warmup_steps=0, save_interval=None, log_interval=1,
    )  # fmt: skip
    evaluation = EvalArgs(interval=10**9, max_iters=1, initial_validation=False, final_validation=False)
    pretrain.fit(fabric, 1, state, loader, loader, Path(tempfile.mkdtemp()), None, train, evaluation)
    return result(losses, ends[-1] - ends[0], start, {"torch": torch.__version__})


def translated(weights: dict[str, Any]) -> dict[str, Any]:
    """Weights of transformers' Llama under litgpt's names."""
    import torch

    found = {
        "transformer.wte.weight": weights["model.embed_tokens.weight"],
        "transformer.ln_f.weight": weights["model.norm.weight"],
        "lm_head.weight": weights["lm_head.weight"],
    }
    names = {"norm_1": "input_layernorm", "norm_2": "post_attention_layernorm", "attn.proj": "self_attn.o_proj"}
    names |= {"mlp.fc_1": "mlp.gate_proj", "mlp.fc_2": "mlp.up_proj", "mlp.proj": "mlp.down_proj"}
    for layer in range(LAYERS):
        for theirs, ours in names.items():
            found[f"transformer.h.{layer}.{theirs}.weight"] = weights[f"model.layers.{layer}.{ours}.weight"]
        parts = [weights[f"model.layers.{layer}.self_attn.{part}_proj.weight"] for part in "qkv"]
        found[f"transformer.h.{layer}.attn.qkv.weight"] = torch.cat(parts)
    return found


def result(losses: list[float], seconds: float, start: int, versions: dict[str, str]) -> dict[str, Any]:
    """What an arm gives: `seconds` of all steps but the first, which warms up; the peak, and the peak above that before training."""
    return {
        "tokens_per_second": (len(losses) - 1) * BATCH * LENGTH / seconds,
        "seconds": seconds,
        "losses": losses,
        "peak_memory_bytes": peak_memory_bytes(),
        "above_start_bytes": peak_memory_bytes() - start,
        "versions": versions,
    }


if __name__ == "__main__":
    main()
