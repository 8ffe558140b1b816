"""Every source string opens, or says what is wrong with it and what to do."""

import json
import pickle
import shutil
import subprocess
import sys

import pytest
import torch

from metier.artifacts import Model
from metier.method import find, record_of
from metier.models.source import cache_folder, fingerprint, open_model, parse
from metier.models.tiny import make_tiny


@pytest.fixture
def model(tmp_path):
    return make_tiny(tmp_path / "model", hidden_size=32, layers=1)


def test_sources_are_taken_apart():
    assert [
        (s.kind, s.rest, s.revision)
        for s in map(parse, ("smollm2", "hf://a/b", "hf://a/b@v1", "gguf://x/y.gguf", "./there", "~/m"))
    ] == [
        ("name", "smollm2", None),
        ("hf", "a/b", None),
        ("hf", "a/b", "v1"),
        ("gguf", "x/y.gguf", None),
        ("path", "./there", None),
        ("path", "~/m", None),
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("smollm", "unknown model 'smollm'; did you mean 'smollm2'?"),
        ("Tiny", "did you mean 'tiny'?"),
        ("gpt-5", "unknown model 'gpt-5', and there is no such folder here"),
        ("huf://a/b", "unknown scheme 'huf'; did you mean 'hf'?"),
        ("gguf://", "names nothing after gguf://"),
        ("hf://a", "hf://org/name"),
        ("hf://a/b/c", "hf://org/name"),
        ("openai://m@http://host/v1", "can be asked, but its weights can't be opened"),
    ],
)
def test_unknown_sources_are_refused_with_the_nearest(source, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as error:
        open_model(source)
    assert message in str(error.value)


def test_a_path_opens_as_it_is(model):
    assert open_model(str(model.path)) == model
    load = find("models.load")
    assert load(source=str(model.path)) == model
    assert record_of(load).fingerprint(source=str(model.path)) == model.fingerprint()


def test_a_fingerprint_follows_the_weights_and_needs_no_download(model, tmp_path):
    before = fingerprint(str(model.path))
    assert before == fingerprint(str(model.path)) == Model(model.path).fingerprint()
    make_tiny(model.path, hidden_size=32, layers=1, seed=1)
    assert fingerprint(str(model.path)) != before
    assert fingerprint("smollm2") == "smollm2" and fingerprint("hf://a/b@v1") == "hf://a/b@v1"
    assert "missing" in fingerprint(str(tmp_path / "nowhere"))


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model path '.*nowhere' does not exist"):
        open_model(str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="does not exist; a hub repository is written hf://org/model"):
        open_model("org/model")
    with pytest.raises(FileNotFoundError, match=r"GGUF file '.*x\.gguf' does not exist"):
        open_model(f"gguf://{tmp_path}/x.gguf")


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(FileNotFoundError, match=r"write gguf://.*m\.gguf"):
        open_model(str(tmp_path / "m.gguf"))


def test_folders_that_hold_something_else(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing; give a folder that save_pretrained wrote"):
        open_model(str(tmp_path))
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="an adapter only; merge it"):
        open_model(str(tmp_path))


def test_pickle_is_never_loaded(model, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    (model.path / "model.safetensors").unlink()
    (model.path / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=r"pickle weights only \(pytorch_model\.bin\).*save_pretrained\(new_folder\)"):
        open_model(str(model.path))
    assert not (tmp_path / "exploded").exists()


def test_remote_code_is_never_run(model):
    config = json.loads((model.path / "config.json").read_text())
    config |= {"model_type": "their_own", "auto_map": {"AutoModelForCausalLM": "modeling.Theirs"}}
    (model.path / "config.json").write_text(json.dumps(config))
    (model.path / "modeling.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ValueError, match="'their_own' comes as Python code"):
        open_model(str(model.path))


def test_broken_folders_are_named(model):
    (model.path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="is no JSON"):
        open_model(str(model.path))
    (model.path / "config.json").write_text('{"model_type": "nonesuch"}')
    with pytest.raises(ValueError, match="no model type 'nonesuch'"):
        open_model(str(model.path))


def test_a_missing_shard_is_named(model):
    (model.path / "model.safetensors").rename(model.path / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (model.path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(FileNotFoundError, match="lacks 1 of 2 weight files, first model-00002-of-00002"):
        open_model(str(model.path))


def test_no_weights_and_no_tokenizer_are_named(model, tmp_path):
    copy = shutil.copytree(model.path, tmp_path / "copy")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (copy / name).unlink()
    with pytest.raises(FileNotFoundError, match="holds no tokenizer"):
        open_model(str(copy))
    (model.path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="holds no weights"):
        open_model(str(model.path))


def test_a_file_that_only_says_it_is_gguf(tmp_path, monkeypatch):
    monkeypatch.setenv("METIER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ValueError, match=r"m\.gguf"):
        open_model(f"gguf://{tmp_path}/m.gguf")
    assert not list((tmp_path / "cache").rglob("*.partial"))


def test_gguf_opens_as_safetensors(tmp_path, monkeypatch):
    """A GGUF file written from known weights: what opens computes the same logits."""
    gguf = pytest.importorskip("gguf")
    monkeypatch.setenv("METIER_CACHE", str(tmp_path / "cache"))
    stored = make_tiny(tmp_path / "model", hidden_size=64, std=0.2, window=128)
    model, tokenizer = stored.load(torch.float32), stored.tokenizer()
    write_gguf(gguf, tmp_path / "m.gguf", model, tokenizer)
    opened = open_model(f"gguf://{tmp_path}/m.gguf")
    assert opened.facts["origin"] == "gguf" and opened.facts["quantisation"] == "F32"
    again = opened.load(torch.float32)
    assert again.config.rms_norm_eps == model.config.rms_norm_eps
    assert not hasattr(again.config, "quantization_config") and again.config.name_or_path == str(opened.path)
    text = "The list, é:  12 of 345\n\n 6"
    ids = opened.tokenizer()(text, return_tensors="pt")["input_ids"]
    assert ids.tolist() == tokenizer(text, return_tensors="pt")["input_ids"].tolist()
    for weight in model.parameters():  # not model.to, which would round the rotary frequencies too
        weight.data = weight.data.to(torch.bfloat16).to(torch.float32)
    with torch.inference_mode():
        assert torch.allclose(again(ids).logits, model(ids).logits, atol=1e-4)
    assert open_model(f"gguf://{tmp_path}/m.gguf") == opened


def write_gguf(gguf, file, model, tokenizer):
    config = model.config
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    vocabulary = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = tokenizer.convert_ids_to_tokens(range(config.vocab_size))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if n < 3 else 1 for n in range(len(tokens))])
    writer.add_token_merges([" ".join(merge) for merge in vocabulary["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    names = {
        "model.embed_tokens": "token_embd", "model.norm": "output_norm", "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "model.layers": "blk",
    }  # fmt: skip
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        if "q_proj" in name or "k_proj" in name:  # GGUF interleaves the halves that transformers rotates
            heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            tensor = tensor.view(heads, 2, -1, tensor.shape[-1]).transpose(1, 2).reshape(tensor.shape)
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        writer.add_tensor(name, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_the_cache_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("METIER_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("METIER_CACHE")
    assert cache_folder().name == "metier"


def test_planning_imports_nothing_heavy():
    code = "import sys; from metier.models.source import fingerprint; fingerprint('smollm2'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
