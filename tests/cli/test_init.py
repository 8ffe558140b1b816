"""`metier init`: what it sees in a pile of documents, and the recipe that it writes for it."""

import csv
import gzip
import json
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from metier.artifacts import Scores
from metier.cli.init import recipe, recipe_name
from metier.cli.survey import Survey, survey
from metier.core.recipe import parse, read

WORDS = "the court heard a witness before the judge wrote her verdict on the contract"


def rows(count: int) -> list[dict]:
    return [
        {"key": f"k{i}", "url": "https://example.org/" + "x" * 300, "body": f"Case {i}: {WORDS}.", "year": 1900 + i}
        for i in range(count)
    ]


@pytest.mark.slow
def test_a_folder_with_subfolders_gives_a_recipe_that_runs_to_the_end(metier, documents, tmp_path):
    done = metier("init", "papers", "--model", "tiny")
    assert done.returncode == 0, done.stderr
    assert "36 text files: about 36 documents" in done.stdout
    written = read(str(tmp_path / "papers.yaml"))
    assert written.name == "papers"
    assert written.stages["docs"].arguments == {"source": "papers"}
    assert written.stages["parts"].arguments["by"] == "source"

    planned = metier("run", "papers.yaml", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.count("to do") == len(written.stages)
    ran = metier("run", "papers.yaml", "--set", "stages.general.num_items=20", "--set", "stages.versus.replicates=200")
    assert ran.returncode == 0, ran.stderr
    run = tmp_path / "runs" / "papers"
    assert (run / "report" / "index.html").is_file()
    comparisons = Scores.open(run / "versus").comparisons
    assert "bits per byte" in {found.metric for found in comparisons}
    assert any(found.sentence in ran.stdout for found in [Scores.open(run / "versus").verdict])


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "jsonl.zst", "json", "csv", "tsv", "parquet"])
def test_the_text_column_and_the_counts_are_found_in_every_format_of_rows(tmp_path, kind):
    file, data = tmp_path / f"cases.{kind}", rows(300)
    lines = "".join(json.dumps(row) + "\n" for row in data).encode()
    match kind:
        case "jsonl":
            file.write_bytes(lines)
        case "jsonl.gz":
            file.write_bytes(gzip.compress(lines))
        case "jsonl.zst":
            file.write_bytes(zstandard.ZstdCompressor().compress(lines))
        case "json":
            file.write_text(json.dumps({"data": data}))
        case "parquet":
            pq.write_table(pa.Table.from_pylist(data), file)
        case _:
            with file.open("w", newline="") as opened:
                writer = csv.DictWriter(opened, list(data[0]), delimiter="," if kind == "csv" else "\t")
                writer.writeheader()
                writer.writerows(data)
    seen = survey(str(file))
    assert seen.text_column == "body"
    assert "url" not in seen.columns
    assert seen.documents == pytest.approx(300)
    assert seen.characters == pytest.approx(sum(len(row["body"]) for row in data))
    assert seen.files == Counter({kind.partition(".")[0]: 1})
    assert parse(recipe("cases", seen, "tiny", gpu=False)).stages["docs"].arguments == {
        "source": str(file),
        "text_column": "body",
    }


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "json", "csv", "parquet", "txt"])
def test_large_files_are_estimated_from_their_beginning(tmp_path, kind):
    file, data = tmp_path / f"large.{kind}", [{"text": f"Case {i % 977:04d}: {WORDS * 8}."} for i in range(8000)]
    match kind:
        case "jsonl":
            file.write_text("".join(json.dumps(row) + "\n" for row in data))
        case "jsonl.gz":
            with gzip.open(file, "wt") as opened:
                opened.write("".join(json.dumps(row) + "\n" for row in data))
        case "json":
            file.write_text(json.dumps(data))
        case "csv":
            file.write_text("text\n" + "".join(f"{row['text']}\n" for row in data))
        case "parquet":
            pq.write_table(pa.Table.from_pylist(data), file)
        case "txt":
            file.write_text("".join(row["text"] for row in data))
    seen = survey(str(file))
    assert seen.characters == pytest.approx(sum(len(row["text"]) for row in data), rel=0.05)
    assert seen.documents == pytest.approx(1 if kind == "txt" else 8000, rel=0.05)


def test_a_sample_of_many_files_stands_for_all(tmp_path):
    for number in range(900):
        (tmp_path / f"{number:03d}.txt").write_text(WORDS * (1 + number % 3))
    seen = survey(str(tmp_path))
    assert seen.looked_at == 200
    assert seen.documents == pytest.approx(900)
    assert seen.characters == pytest.approx(sum(len(WORDS) * (1 + number % 3) for number in range(900)), rel=0.05)


def test_copies_and_unreadable_files_and_files_without_the_column_are_counted(tmp_path):
    for number in range(6):
        (tmp_path / f"{number}.txt").write_text(f"{WORDS} {number // 2}")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\0")
    (tmp_path / "fake.txt").write_bytes(b"\0\1\2")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"body": f"Case {n}: {WORDS}"}) + "\n" for n in range(9)))
    (tmp_path / "b.jsonl").write_text('{"n": 1}\n')
    seen = survey(str(tmp_path))
    assert seen.copies == 3
    assert seen.sampled == 15
    assert seen.columnless == ["b.jsonl"]
    assert seen.unreadable == Counter({"unknown format: .png": 1, "binary, or not UTF-8": 1, "empty file": 1})
    text = recipe("mixed", seen, "tiny", gpu=False)
    assert "3 of the 15 documents looked at are exact copies" in " ".join(text.replace("#", "").split())


def test_rows_that_name_their_source_are_split_by_it(tmp_path):
    rows = [{"text": f"{WORDS} {n}", "source": f"site{n % 7}"} for n in range(70)]
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    seen = survey(str(tmp_path))
    assert len(seen.groups) == 7
    assert parse(recipe("x", seen, "tiny", gpu=False)).stages["parts"].arguments["by"] == "source"


@pytest.mark.parametrize(
    "sizes", [{"one": 10}, {"one": 90, "two": 2, "three": 2, "four": 2, "five": 2, "six": 2}, {"one": 9, "two": 9}]
)
def test_few_or_uneven_groups_are_split_by_document(sizes):
    seen = Survey("x", files=Counter(text=10), documents=100, characters=50_000, groups=Counter(sizes))
    assert parse(recipe("x", seen, "tiny", gpu=False)).stages["parts"].arguments["by"] is None


def test_more_text_than_can_be_learnt_soon_is_sampled_and_little_text_read_again():
    def written(characters: int, gpu: bool) -> dict:
        seen = Survey("x", files=Counter(text=10), documents=100, characters=characters, groups=Counter(x=1))
        return parse(recipe("x", seen, "smollm2", gpu=gpu)).stages

    large = written(50_000_000, gpu=False)
    assert large["lesson"].arguments["characters"] == "130k"
    assert str(large["expert"].arguments["corpus"]) == str(large["questions"].arguments["train"]) == "lesson"
    assert "lesson" not in written(50_000_000, gpu=True)
    assert written(50_000_000, gpu=True)["expert"].arguments["epochs"] == 1
    small = written(20_000, gpu=False)
    assert str(small["expert"].arguments["corpus"]) == "parts.train"
    assert small["expert"].arguments["epochs"] == 4


@given(
    source=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    column=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)
def test_any_name_comes_back_from_the_recipe_as_it_was(source, column):
    seen = Survey(
        source, files=Counter(jsonl=1), documents=9, groups=Counter({source: 1}), columns={column: 9.0}, text_column=column
    )
    arguments = parse(recipe("x", seen, source, gpu=False)).stages["docs"].arguments
    assert arguments["source"] == source
    assert arguments.get("text_column", "text") == column


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("papers", "papers"), ("./my papers/", "my-papers"), ("a/b/cases.jsonl.gz", "cases"), ("texts/**/*.md", "texts"),
        ("https://example.org/data/law.csv", "law"), ("Bücher", "Bücher"), ("*.txt", None), ("/", "specialist"), ("v1.2-final", "v1.2-final"),
    ],
)  # fmt: skip
def test_a_recipe_is_named_after_its_documents(source, name, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert recipe_name(source) == (name or "here")


def test_an_existing_recipe_is_replaced_only_by_force(metier, documents, tmp_path):
    (tmp_path / "papers.yaml").write_text("mine")
    done = metier("init", "papers")
    assert done.returncode == 2
    assert "papers.yaml exists" in done.stderr and "--force" in done.stderr
    assert (tmp_path / "papers.yaml").read_text() == "mine"
    assert metier("init", "papers", "--force").returncode == 0
    assert read(str(tmp_path / "papers.yaml")).name == "papers"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], ["nothing does not exist"]),
        (["empty"], ["empty holds no files"]),
        (["nothing/*.txt"], ["holds no files"]),
        (["unreadable"], ["nothing in unreadable could be read", ".exe"]),
        (["numbers"], ["nothing in numbers could be read", "n.jsonl"]),
        (["papers", "--model", "tinny"], ["did you mean 'tiny'?"]),
        (["papers", "--output", "no/such/x.yaml"], ["is no folder"]),
        ([], ["Missing argument"]),
    ],
)
def test_what_cannot_be_looked_at_is_refused_and_writes_nothing(metier, documents, tmp_path, arguments, words):
    for name in ("empty", "unreadable", "numbers"):
        (tmp_path / name).mkdir()
    (tmp_path / "unreadable" / "a.exe").write_bytes(b"MZ\0")
    (tmp_path / "numbers" / "n.jsonl").write_text('{"n": 1}\n{"n": 2}\n')
    done = metier("init", *arguments)
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert not list(tmp_path.glob("*.yaml"))


def test_a_single_file_and_a_glob_will_do(metier, documents, tmp_path):
    for source in ("papers/law/law-0.txt", "papers/*/*.txt"):
        done = metier("init", source, "--output", "x.yaml", "--force")
        assert done.returncode == 0, done.stderr
        assert read(str(tmp_path / "x.yaml")).stages["docs"].arguments == {"source": source}
