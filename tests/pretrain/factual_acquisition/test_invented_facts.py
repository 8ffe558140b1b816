from metier.pretrain.factual_acquisition.invented_facts import invented_facts


def test_invented_facts_hold_what_their_probes_ask():
    rows = list(invented_facts(facts=30, paraphrases=9, seed=1).rows())
    names = [row["text"].split()[3] for row in rows]
    assert len(set(names)) == 30
    for row in rows:
        assert len(set(row["paraphrases"])) == 9 and row["text"] not in row["paraphrases"]
        assert row["depths"] == ["memorization"] * 3 + ["semantic"] * 3 + ["composition"] * 3
        assert all(target in text for text in [row["text"], *row["paraphrases"]] for target in row["targets"])
        own = [f"{c} {t}" for d, c, t in zip(row["depths"], row["contexts"], row["targets"], strict=True) if d == "memorization"]
        assert all(sentence in row["text"] for sentence in own)
        assert not any(c in row["text"] for d, c in zip(row["depths"], row["contexts"], strict=True) if d != "memorization")
