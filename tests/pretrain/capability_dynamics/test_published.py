"""Published results as a table."""

import json

import pytest

from metier.pretrain.capability_dynamics.published import published


def test_published_results_are_read_with_weights_tokens_and_chance(tmp_path):
    file = tmp_path / "evals.jsonl"
    line = {
        "model": "pythia-1b-0.5MtokBS",
        "shots": "zero-shot",
        "step": 10,
        "results": {"piqa": {"acc": 0.6, "acc_stderr": 0.01}},
    }
    line["results"]["crows"] = {}
    file.write_text("\n".join(map(json.dumps, [line, line | {"model": "pythia-70m", "shots": "five-shot"}])))
    rows = list(published(path=file).rows())
    assert [(row["params"], row["tokens_seen"], row["chance"]) for row in rows] == [(1e9, 5 * 2**20, 0.5), (7e7, 20 * 2**20, 0.5)]
    assert len(list(published(path=file, setup="five-shot").rows())) == 1
    with pytest.raises(ValueError, match="no accuracy"):
        published(path=file, chance={"other": 0.1})
