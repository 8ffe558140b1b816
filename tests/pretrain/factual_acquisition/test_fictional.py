import json

from metier.pretrain.factual_acquisition.fictional import fictional
from metier.pretrain.factual_acquisition.probes import probes_of


def test_the_authors_form_is_read(tmp_path):
    entry = {"train_context": "A is B. C is D.", "paraphrases": ["B is A."]}
    entry |= {f"{short}_{part}": [f"{short} {part}"] for short in ("mem", "gen", "hard_gen") for part in ("input", "target")}
    (tmp_path / "facts.json").write_text(json.dumps([entry, entry]))
    (row,) = fictional(path=tmp_path / "facts.json", passages=1).rows()
    assert [probe.depth for probe in probes_of(row)] == ["memorization", "semantic", "composition"]
    assert (row["contexts"][2], row["targets"][1], row["paraphrases"]) == ("hard_gen input", "gen target", ["B is A."])
