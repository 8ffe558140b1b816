"""The planner's closed forms against published numbers and real tensors, its layouts against rules, its plan against a real run."""

import json
import math

import pytest
import torch
from transformers import LlamaConfig, MistralConfig, MixtralConfig

from metier.artifacts import Corpus, Model
from metier.models.source import open_model
from metier.pretrain.continued import continued
from metier.pretrain.efficiency_review import efficiency_review
from metier.pretrain.efficiency_review.cluster import Layout, broken_rule, layouts, memory_of, plan_elsewhere
from metier.pretrain.efficiency_review.devices import GPUS, gpu_of
from metier.pretrain.efficiency_review.memory import NF4_BITS, Training, activations, kept_activations, plain_activations, states
from metier.pretrain.efficiency_review.probe import TrainingJob, _costs
from metier.pretrain.efficiency_review.serving import decode_seconds, plan_serving
from metier.pretrain.efficiency_review.sizes import Sizes
from metier.pretrain.efficiency_review.traffic import (
    data_parallel_seconds,
    pipeline_bubble,
    ring_seconds,
    tensor_parallel_seconds,
)
from metier.pretrain.efficiency_review.training import Work, step_flops

LLAMA_7B = LlamaConfig(
    vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
    num_key_value_heads=32, max_position_embeddings=4096, tie_word_embeddings=False,
)  # fmt: skip
LLAMA_70B = LlamaConfig(
    vocab_size=32000, hidden_size=8192, intermediate_size=28672, num_hidden_layers=80, num_attention_heads=64,
    num_key_value_heads=8, max_position_embeddings=4096, tie_word_embeddings=False,
)  # fmt: skip
SMOLLM2 = LlamaConfig(
    vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
    num_key_value_heads=3, max_position_embeddings=8192, tie_word_embeddings=True,
)  # fmt: skip
TEXTS = Corpus.from_rows(
    [
        {"id": str(i), "text": f"The year {1900 + i} was followed by the year {1901 + i}. " * (1 + i % 7), "source": "years"}
        for i in range(60)
    ]
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("METIER_CACHE", str(tmp_path_factory.getbasetemp() / "planner-cache"))


def folder_of(config, tmp_path) -> Model:
    config.save_pretrained(tmp_path / "model")
    return Model.open(tmp_path / "model")


def work(**changes) -> Work:
    return Work(
        **(
            {"tokens": 10**9, "sequence_length": 1024, "rows_per_step": 64, "squares": 512.0, "precision": "auto", "rank": None}
            | changes
        )
    )


def test_sizes_of_published_models():
    assert Sizes.of(LLAMA_7B).parameters == 6_738_415_616
    assert Sizes.of(LLAMA_70B).parameters == 68_976_648_192
    smollm2 = Sizes.of(SMOLLM2)
    assert smollm2.parameters == 134_515_008
    assert smollm2.cache_bytes(1) == 2 * 30 * 3 * 64 * 2


def test_a_mixture_of_experts_counts_what_a_token_meets():
    config = MixtralConfig(
        vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        num_local_experts=8, num_experts_per_tok=2,
    )  # fmt: skip
    sizes = Sizes.of(config)
    expert = 3 * 32 * 64
    assert sizes.parameters - sizes.active == 2 * 6 * expert
    assert sizes.costs.body == 2 * (2 * 32 * 32 + 2 * 32 * 16 + 2 * expert) + _gates(config)


def _gates(config) -> int:
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(config)
    return sum(
        module.weight.numel()
        for name, module in network.named_modules()
        if name.endswith("gate") and isinstance(module, torch.nn.Linear)
    )


def test_a_sliding_window_bounds_the_cache():
    shape = {"vocab_size": 100, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    windowed = Sizes.of(MistralConfig(**shape, num_key_value_heads=2, sliding_window=16))
    assert windowed.cache_bytes(10) == 2 * 2 * 16 * 10 * 2
    assert windowed.cache_bytes(1000) == windowed.cache_bytes(16)


def test_zero_stages_give_the_papers_numbers():
    found = [states(7.5e9, optimizer="adamw_mixed", stage=stage, data_parallel=64) / 1e9 for stage in range(4)]
    assert found == pytest.approx([120, 31.4, 16.6, 1.9], abs=0.05)
    assert states(6.74e9) / 1e9 == pytest.approx(108, abs=0.5)
    assert states(10, stage=3, data_parallel=1, largest_unit=7) == 160, "one replica gathers nothing"
    with pytest.raises(ValueError, match="optimizer='adam'"):
        states(1, optimizer="adam")


def test_nf4_takes_the_papers_bits():
    assert abs(NF4_BITS - 4.127) < 5e-4


def test_activations_of_a_7b_model_by_hand():
    sizes = Sizes.of(LLAMA_7B)
    layer = 20 * 4096 + 4 * 4096 + 8 * 11008 + 4 * 32 + 8
    outside = 4 * 32000 + 8 * 4096 + 20
    assert plain_activations(sizes, 2048, 2, "bfloat16") == 4096 * (32 * layer + outside) + 4 * 2048 * 128
    assert activations(sizes, 4096, 4095, Training("autocast", recompute=True)) < 0.1 * activations(
        sizes, 4096, 4095, Training("autocast")
    )


def test_what_is_counted_equals_the_closed_form():
    config = LlamaConfig(
        vocab_size=100, hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    )
    sizes = Sizes.of(config)
    for kind in ("float32", "autocast"):
        closed = activations(sizes, 96, 90, Training(kind))
        unknown = Sizes(**(vars(sizes) | {"family": "unheard of"}))
        counted = kept_activations(config, unknown, 96, 90, Training(kind))
        assert counted == pytest.approx(closed, rel=0.002)
        with pytest.raises(ValueError, match="unheard of are not known"):
            activations(unknown, 96, 90, Training(kind))


def test_traffic_by_hand():
    assert ring_seconds(100.0, 4, 10.0, latency=1.0) == pytest.approx(2 * 3 / 4 * 10 + 6)
    assert ring_seconds(100.0, 1, 10.0, latency=1.0) == 0
    three = data_parallel_seconds(50.0, 4, 10.0, stage=3, bytes_each=2)
    assert three == pytest.approx(1.5 * data_parallel_seconds(50.0, 4, 10.0, stage=2, bytes_each=2))
    assert tensor_parallel_seconds(3, 5, 7, 2, 1.0, recompute=False) == pytest.approx(3 * 4 * 5 * 7 * 2)
    assert pipeline_bubble(4, 8) == pytest.approx(3 / 11)
    assert pipeline_bubble(4, 8, interleaved=2) == pytest.approx(3 / 19)


def test_the_published_run_of_a_hundred_billion_parameters():
    """192 A800: 25.48 and 4.06 billion tokens a day at 16 and 101 billion parameters are 147 and 148 TFLOP/s."""
    for parameters, tokens, expected in ((16e9, 25.48e9, 147), (101e9, 4.06e9, 148)):
        assert 6 * parameters * tokens / 86400 / 192 / 1e12 == pytest.approx(expected, abs=0.6)


def test_decoding_turns_from_memory_to_arithmetic():
    gpu = gpu_of("a100")
    turning = gpu.flops / gpu.bandwidth
    assert turning == pytest.approx(153, abs=0.5)
    assert decode_seconds(2e9, 0, 100, 2e9, gpu.bandwidth, gpu.flops) == pytest.approx(2e9 / gpu.bandwidth)
    assert decode_seconds(2e9, 0, 200, 2e9, gpu.bandwidth, gpu.flops) == pytest.approx(200 * 2e9 / gpu.flops)


def test_every_gpu_has_a_peak_and_a_source():
    for gpu in GPUS.values():
        assert 5e13 < gpu.flops < 5e15 and gpu.source and gpu.bandwidth > 1e11
    with pytest.raises(ValueError, match="did you mean 'H100'"):
        gpu_of("h1000")


@pytest.mark.parametrize(
    ("layout", "rule"),
    [
        (Layout(3, 1, 1, 0, False, 1, False), "tensor x pipeline x data"),
        (Layout(16, 1, 1, 0, False, 1, False), "tensor divides"),
        (Layout(1, 16, 1, 3, False, 1, False), "ZeRO-2 and 3"),
        (Layout(1, 1, 16, 0, False, 3, False), "divides the rows"),
        (Layout(8, 2, 1, 1, False, 1, False), "there is one"),
        (Layout(8, 2, 1, 0, False, 1, False), None),
    ],
)
def test_layouts_that_cannot_exist_break_a_named_rule(layout, rule):
    found = broken_rule(layout, Sizes.of(LLAMA_70B), work(), 16)
    assert found is None if rule is None else rule in found


def test_a_7b_model_needs_sharding_over_eight_gpus(tmp_path):
    model = folder_of(LLAMA_7B, tmp_path)
    found = plan_elsewhere(model, work(), "H100", 8, 0.4)
    assert found.peak_bytes < 0.9 * GPUS["H100"].memory_bytes
    assert found.peak_bytes == sum(found.parts.values())
    one = memory_of(LLAMA_7B, Sizes.of(LLAMA_7B), work(), Layout(1, 1, 8, 0, False, 1, False))
    assert sum(one.values()) > GPUS["H100"].memory_bytes, "whole on each GPU it would not fit"
    flops = step_flops(Sizes.of(LLAMA_7B), work())
    assert found.step_seconds >= flops / (8 * 989e12 * 0.4)
    assert found.utilisation <= 0.4 + 1e-9


def test_what_fits_nowhere_names_the_smallest_change(tmp_path):
    model = folder_of(LLAMA_70B, tmp_path)
    with pytest.raises(ValueError, match=r"short by .* GB.*ZeRO-3.*LoRA adapter, which saves"):
        plan_elsewhere(model, work(), "L4", 8, 0.4)


def test_the_simplest_of_nearly_equal_layouts_is_taken(tmp_path):
    model = folder_of(SMOLLM2, tmp_path)
    found = plan_elsewhere(model, work(), "H100", 1, 0.4)
    assert not found.recompute and "one replica" in found.advice[0] and found.advice[1] == "run it as it is"
    assert all(layout.data == 1 for layout in layouts(Sizes.of(model.config()), work(), 1))


def test_a_long_or_short_pass_follows_from_the_trial():
    """Steps made of a known body, attention and update give these back."""
    body, attention, update, length, passes = 2.0, 1e-6, 0.5, 512, 2
    job = TrainingJob("", length, 4, "float32", None)
    short, long = (passes * (body + attention * length * size) + update for size in (128, length))
    found = _costs(job, 1, passes, [short, long, short, long], [update] * 4)
    assert found.pass_seconds == pytest.approx(body) and found.attention_seconds == pytest.approx(attention)
    assert found.step_seconds == update and found.seconds(length * 256) == pytest.approx(body + attention * length * 256)


def test_the_plan_of_a_corpus_is_the_training_that_then_runs(tmp_path):
    model = open_model("tiny")
    settings = {"sequence_length": 256, "batch_tokens": 512, "precision": "float32"}
    plan = efficiency_review(model, TEXTS, **settings)
    made = continued(model, TEXTS, **settings, workdir=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert abs(plan.steps - made.facts["steps"]) <= 1
    assert plan.parameters == sum(weight.numel() for weight in model.load().parameters())
    assert 0.8 * plan.step_flops < lines[0]["flops"] <= plan.step_flops  # a plan takes rows for full
    assert plan.peak_bytes > sum(size for part, size in plan.parts.items() if part != "program and allocator")
    assert plan.fits and plan.passes * plan.tokens_at_once == 512
    again = efficiency_review(model, TEXTS, **settings)
    assert again.step_seconds == plan.step_seconds, "what was measured is kept"


def test_lora_trains_little_and_its_plan_says_so():
    plan = efficiency_review(open_model("tiny"), tokens=1000, sequence_length=128, batch_tokens=256, rank=4, precision="float32")
    adapted = Sizes.of(open_model("tiny").config()).lora(4)
    assert plan.trained == adapted < plan.parameters
    assert plan.parts["optimizer"] == 8 * adapted


def test_serving_here_and_elsewhere(tmp_path):
    here = plan_serving(open_model("tiny"), length=512, rows=4, precision="float32")
    sizes = Sizes.of(open_model("tiny").config())
    assert here.cache_bytes == sizes.cache_bytes(512, bytes_each=4) and here.weights_bytes == 4 * sizes.parameters
    assert min(here.decode, here.decode_one, here.prefill) > 0
    there = plan_serving(folder_of(LLAMA_7B, tmp_path), length=2048, gpu="A100")
    assert there.cache_bytes == 2 * 32 * 4096 * 2048 * 2
    room = 0.9 * (GPUS["A100"].memory_bytes - 10**9) - 2 * 6_738_415_616
    assert there.sequences == math.floor(room / there.cache_bytes)
    assert there.decode_range[0] < there.decode < there.decode_range[1]
    nf4 = plan_serving(folder_of(LLAMA_7B, tmp_path), length=2048, gpu="A100", precision="nf4")
    assert nf4.sequences > there.sequences and nf4.decode_one > 3 * there.decode_one


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokens": 0}, "tokens=0"),
        ({}, "tokens=None"),
        ({"tokens": 10, "sequence_length": 1}, "sequence_length=1"),
        ({"tokens": 10, "batch_tokens": 0}, "batch_tokens=0"),
        ({"tokens": 10, "precision": "float8"}, "precision='float8'"),
        ({"tokens": 10, "devices": 2}, "devices=2"),
        ({"tokens": 10, "gpu": "H100", "mfu": 0.0}, "mfu=0.0"),
        ({"tokens": 10, "gpu": "H900"}, "H900"),
        ({"tokens": 10, "gpu": "H100", "precision": "float32"}, "precision='float32'"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        efficiency_review(open_model("tiny"), **settings)


def test_wrong_services_are_refused():
    with pytest.raises(ValueError, match="length=9999"):
        plan_serving(open_model("tiny"), length=9999)
    with pytest.raises(ValueError, match="precision='nf4'"):
        plan_serving(open_model("tiny"), length=100, precision="nf4")


def test_a_model_too_large_for_this_machine_is_refused_before_anything_is_tried(tmp_path):
    huge = LlamaConfig(
        hidden_size=16384, intermediate_size=53248, num_hidden_layers=126, num_attention_heads=128, num_key_value_heads=8
    )
    with pytest.raises(ValueError, match=r"GB before any activation and .* LoRA|GB before any activation and .* GPU"):
        efficiency_review(folder_of(huge, tmp_path), tokens=1000)


def test_an_unusual_mfu_is_warned_of(caplog, tmp_path):
    efficiency_review(folder_of(SMOLLM2, tmp_path), tokens=10**6, gpu="H100", mfu=0.8)
    assert "hardly ever reaches 0.7" in caplog.text
