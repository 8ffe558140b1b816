"""`metier plan`: how long a training or a service takes and how much memory, before it is begun."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from metier.artifacts import Corpus, Model
    from metier.pretrain.efficiency_review.plans import ServePlan, TrainPlan

EXAMPLES = """Examples:

* `metier plan train --model smollm2 --tokens 1M`
* `metier plan train --model smollm2 --data python:stdlib --rank 16`
* `metier plan train --model hf://org/name --tokens 1B --gpu H100 --devices 8`
* `metier plan serve --model smollm2 --length 2048`
"""

app = typer.Typer(help="Says what a training or a service takes, before it is begun.", no_args_is_help=True)

ModelOption = Annotated[str, typer.Option("--model", help="smollm2, tiny, a path, hf://org/name or gguf://FILE.")]
Precision = Annotated[
    str, typer.Option("--precision", help="auto, float32, bfloat16; of weights served on a GPU also int8, nf4.")
]
GpuOption = Annotated[
    str | None, typer.Option("--gpu", metavar="NAME", help="A GPU that is not at hand, such as H100; this machine unless given.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Measure this machine again; what was measured is kept otherwise.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable: every number of the plan, in bytes and seconds.")]


@app.command("train", epilog=EXAMPLES)
def train(
    model: ModelOption = "smollm2",
    tokens: Annotated[
        str | None, typer.Option("--tokens", help="How many are trained on, such as 1M; the documents once unless given.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="SOURCE", help="The documents, as data.read takes them: their lengths count.")
    ] = None,
    sequence_length: Annotated[int, typer.Option("--sequence-length", help="Tokens of a row.")] = 1024,
    batch_tokens: Annotated[int, typer.Option("--batch-tokens", help="Tokens of an optimiser step.")] = 4096,
    rank: Annotated[int | None, typer.Option("--rank", help="Of a LoRA adapter; every weight is trained unless given.")] = None,
    precision: Precision = "auto",
    gpu: GpuOption = None,
    devices: Annotated[int, typer.Option("--devices", help="How many of that GPU.")] = 1,
    mfu: Annotated[float, typer.Option("--mfu", help="Share of the GPU's peak that training reaches.")] = 0.4,
    fresh: Fresh = False,
    json_: Json = False,
) -> None:
    """Plans pretrain.continued: tries a few steps here (at most two minutes, the first time), or reckons for a GPU of the table."""
    from metier.core.signature import check_value
    from metier.pretrain.efficiency_review import efficiency_review

    wanted = check_value(int | None, tokens, where="metier plan train", name="--tokens") if tokens is not None else None
    if wanted is None and data is None:
        wanted = 1_000_000
    with _shown():
        plan = efficiency_review(
            _model(model, gpu),
            _documents(data),
            tokens=wanted,
            sequence_length=sequence_length,
            batch_tokens=batch_tokens,
            rank=rank,
            precision=precision,
            gpu=gpu,
            devices=devices,
            mfu=mfu,
            fresh=fresh,
        )
    _as_json(plan) if json_ else _show_training(model, plan)


@app.command("serve", epilog=EXAMPLES)
def serve(
    model: ModelOption = "smollm2",
    length: Annotated[int, typer.Option("--length", help="Tokens of a sequence, prompt and answer.")] = 1024,
    rows: Annotated[int | None, typer.Option("--rows", help="Sequences at once; as many as fit unless given.")] = None,
    precision: Precision = "auto",
    gpu: GpuOption = None,
    fresh: Fresh = False,
    json_: Json = False,
) -> None:
    """Plans serving: tokens a second of reading and of writing, and how many sequences fit."""
    from metier.pretrain.efficiency_review.serving import plan_serving

    with _shown():
        plan = plan_serving(_model(model, gpu), length=length, rows=rows, precision=precision, gpu=gpu, fresh=fresh)
    _as_json(plan) if json_ else _show_serving(model, plan)


@contextmanager
def _shown() -> Iterator[None]:
    """Progress on stderr, so that stdout holds the plan alone. Raises RunError where a trial fails."""
    from rich.console import Console

    from metier.cli.display import Display, show_warnings
    from metier.core.errors import RunError
    from metier.progress import listening

    console = Console(stderr=True)
    show_warnings(console)
    display = Display(console)
    with display, listening(display):
        try:
            yield
        except RuntimeError as error:  # a trial that ended badly; what it said is in the message
            raise RunError(str(error)) from error


def _model(source: str, gpu: str | None) -> Model:
    """The model to plan for; for a GPU that is not at hand its configuration and tokenizer are enough, and no weights are downloaded."""
    from metier.artifacts import Model
    from metier.models.source import open_model, parse

    parsed = parse(source)
    if gpu is not None and parsed.kind == "path":
        return Model.open(Path(parsed.rest).expanduser())
    if gpu is not None and parsed.kind == "hf":
        from huggingface_hub import snapshot_download

        from metier.models.hub import cached_snapshot, latest_revision

        found = cached_snapshot(parsed.rest, parsed.revision)
        if found is None:
            commit = latest_revision(parsed.rest, parsed.revision)
            found = Path(snapshot_download(parsed.rest, revision=commit, allow_patterns=["*.json", "*.txt", "*.model"]))
        return Model.open(found)
    return open_model(source)


def _documents(source: str | None) -> Corpus | None:
    if source is None:
        return None
    from metier.engines.data.read import read

    return read(source=source)


def _as_json(plan: TrainPlan | ServePlan) -> None:
    import json
    from dataclasses import asdict

    typer.echo(json.dumps(asdict(plan), indent=1))


def _show_training(name: str, plan: TrainPlan) -> None:
    from metier.cli.display import duration

    low, high = plan.step_range
    parts = ", ".join(f"{part} {size / 1e9:.2f}" for part, size in plan.parts.items())
    formula = f"; by formula {_size(plan.peak_formula_bytes)}" if plan.peak_formula_bytes not in (None, plan.peak_bytes) else ""
    used = f", {plan.utilisation:.0%} of the peak" if plan.utilisation is not None else ""
    trained = f", {_count(plan.trained)} trained" if plan.trained != plan.parameters else ""
    again = ", activations computed again" if plan.recompute else ""
    _show(
        f"training {name}",
        {
            "time": f"{duration(plan.total_seconds)} ({duration(plan.steps * low)} to {duration(plan.steps * high)}) for {plan.steps:,} steps "
            f"of {plan.step_seconds:.3g} s, {plan.tokens_per_second:,.0f} tokens/s",
            "memory": f"{_size(plan.peak_bytes)} ({_size(plan.peak_range[0])} to {_size(plan.peak_range[1])}) of "
            f"{_size(plan.memory_bytes)}: {'fits' if plan.fits else 'does not fit'}{formula}",
            "": parts + " GB" if parts else "",
            "model": f"{_count(plan.parameters)} parameters{trained}, {plan.precision}",
            "step": f"{plan.passes} x {plan.tokens_at_once:,} tokens at once{again}, {plan.step_flops / 1e12:.3g} TFLOP{used}",
            "binds": plan.binds,
            "basis": plan.basis,
        },
        plan.advice,
    )


def _show_serving(name: str, plan: ServePlan) -> None:
    low, high = plan.decode_range
    _show(
        f"serving {name}",
        {
            "reads": f"{plan.prefill:,.0f} tokens/s",
            "writes": f"{plan.decode:,.0f} tokens/s ({low:,.0f} to {high:,.0f}) with {plan.rows} sequences at once, {plan.decode_one:,.0f} alone",
            "fits": f"{plan.sequences:,} sequences in {_size(plan.memory_bytes)}: weights {_size(plan.weights_bytes)}, "
            f"keys and values of each {_size(plan.cache_bytes)}",
            "binds": f"{plan.binds}; arithmetic from about {plan.turning_rows:,.0f} sequences on",
            "basis": plan.basis,
        },
        [],
    )


def _show(title: str, lines: dict[str, str], advice: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    console.print(Text.assemble(("plan  ", "bold"), (title, "bold cyan")))
    table = Table(box=None, pad_edge=False, show_header=False)
    for word, text in lines.items():
        if text:
            table.add_row(Text(word, style="bold"), Text(text, style="" if word else "dim"))
    console.print(table)
    for line in advice:
        console.print(Text(f"- {line}", style="yellow"))
    console.print(Text("GB are 10^9 bytes", style="dim"))


def _size(num_bytes: int | None) -> str:
    size = num_bytes or 0
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.2f} MB"


def _count(number: int) -> str:
    return f"{number / 1e9:.2f} B" if number >= 1e9 else f"{number / 1e6:.1f} M"
