"""A model's fingerprint: equal for equal weights, different wherever a matrix changed."""

from metier.artifacts import Model


def test_a_fingerprint_sees_one_matrix_in_the_middle_change(tmp_path):
    prints = {}
    for name, place, length in (
        ("one", 0, 8 << 20),
        ("same", 0, 8 << 20),
        ("adapted", 4 << 20, 8 << 20),
        ("longer", 0, (8 << 20) + 1),
    ):
        content = bytearray(length)
        if place:
            content[place + 5000 : place + (101 << 10)] = b"\1" * ((101 << 10) - 5000)  # a small projection
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(content)
        (tmp_path / name / "config.json").write_text("{}")
        prints[name] = Model.open(tmp_path / name).fingerprint()
    assert prints["one"] == prints["same"]
    assert len(set(prints.values())) == 3
