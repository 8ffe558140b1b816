import pytest

from metier.pretrain.knowledge_storage.read_facts import read_facts


def test_facts_are_read_from_a_file_of_ones_own(tmp_path):
    (tmp_path / "facts.csv").write_text('entity,attribute,value,note\nAnn Lee,city,"New York, NY",x\n', encoding="utf-8")
    (tmp_path / "facts.jsonl").write_text('{"entity": "Ann Lee", "attribute": "year", "value": 1984}\n\n')
    assert list(read_facts(path=tmp_path / "facts.csv").rows()) == [
        {"entity": "Ann Lee", "attribute": "city", "value": "New York, NY"}
    ]
    assert [row["value"] for row in read_facts(path=tmp_path / "facts.jsonl").rows()] == ["1984"]
    (tmp_path / "bad.csv").write_text("entity,attribute,value\nAnn,city,x\nBo,,y\n")
    with pytest.raises(ValueError, match="row 2 has no attribute"):
        read_facts(path=tmp_path / "bad.csv")
    with pytest.raises(ValueError, match=r"neither \.csv nor \.jsonl"):
        read_facts(path=tmp_path / "facts.txt")
