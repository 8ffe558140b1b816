"""A corpus as texts and a classification."""

import pytest

from metier.artifacts import Corpus
from metier.pretrain.tiny_models.labelled import labelled


def test_classes_are_balanced_disjoint_from_the_texts_and_their_names_hidden():
    rows = [
        {
            "id": f"{name}{number}",
            "text": f"{name.upper()}.run: the {name}s of {name}_x",
            "source": name,
            "module": name,
            "name": "run",
        }
        for name, count in (("alpha", 20), ("beta", 12), ("gamma", 3), ("delta", 2))
        for number in range(count)
    ]
    found = labelled(Corpus.from_rows(rows), classes=3, per_class=(6, 4))
    texts, train, test = (list(side.rows()) for side in found)
    assert [sum(row["label"] == name for row in train) for name in ("alpha", "beta", "gamma")] == [6, 6, 2]
    assert [sum(row["label"] == name for row in test) for name in ("alpha", "beta", "gamma")] == [4, 4, 1]
    assert len(texts) == 37 - 23 and not {row["id"] for row in texts} & {row["id"] for row in train + test}
    assert all("run" not in row["text"].split() and row["label"] not in row["text"].lower().split() for row in train)
    assert any("alphas" in row["text"] for row in train), "only whole words go"
    with pytest.raises(ValueError, match="classes=9"):
        labelled(Corpus.from_rows(rows), classes=9)
    with pytest.raises(ValueError, match="per_class"):
        labelled(Corpus.from_rows(rows), per_class=(0, 1))
