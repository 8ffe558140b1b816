"""The documentation of this Python's standard library: whole, once each, in order, without importing what has side effects."""

import importlib.machinery
import inspect
import json
import math
import py_compile
import subprocess
import sys
from collections import Counter
from pydoc_data.topics import topics

import pytest

from metier.engines.data.docstring import summary_of
from metier.engines.data.read import read
from metier.engines.data.stdlib import _Walk, documents


@pytest.fixture(scope="module")
def rows():
    found = list(documents())
    assert len({row["id"] for row in found}) == len(found)
    return {row["id"]: row for row in found}


def test_every_row_is_full(rows):
    everything = list(rows.values())
    assert Counter(row["kind"] for row in everything).keys() == {"module", "class", "function", "method", "topic"}
    assert not [
        row["id"] for row in everything if not (row["summary"].strip() and row["source"] and row["module"] and row["name"])
    ]
    assert len(everything) > 5000


def test_known_documents_are_as_python_itself_shows_them(rows):
    for name, value in {
        "json.dumps": json.dumps,
        "math.sin": math.sin,
        "builtins.len": len,
        "json.JSONDecoder": json.JSONDecoder,
    }.items():
        assert rows[name]["text"].partition("\n\n")[2] == inspect.getdoc(value)
    assert rows["json.dumps"]["signature"] == str(inspect.signature(json.dumps))
    assert rows["json.dumps"]["text"].startswith("json.dumps(obj, *, skipkeys=False")
    assert rows["builtins.len"]["text"].startswith("len(obj, /)\n\n")
    assert rows["json"] | {"text": ""} == {
        "id": "json",
        "text": "",
        "source": "json",
        "name": "json",
        "signature": "",
        "module": "json",
        "kind": "module",
        "summary": summary_of(json.__doc__),
    }
    assert (rows["json.JSONDecoder.decode"]["kind"], rows["json.JSONDecoder.decode"]["module"]) == ("method", "json")


def test_what_comes_from_private_modules_bears_the_public_name(rows):
    expected = [
        "struct.pack", "os.getcwd", "os.path.join", "collections.deque.append", "collections.abc.Set", "socket.socket.recv",
        "io.BytesIO.getvalue", "concurrent.futures.Future.result", "asyncio.sleep", "unittest.TestCase.assertEqual", "sqlite3.connect",
        "datetime.date.today", "functools.reduce", "itertools.chain.from_iterable", "decimal.Decimal.sqrt",
    ]  # fmt: skip
    assert [name for name in expected if name not in rows] == []
    private = [
        name for name in rows if any(part.startswith("_") for part in name.split(".")[:-1]) and not name.startswith("__future__")
    ]
    assert private == []


def test_every_topic_is_there(rows):
    assert {name for name, row in rows.items() if row["kind"] == "topic"} == {f"topics.{name}" for name in topics}


def test_another_process_gives_the_same_and_imports_nothing_with_side_effects(rows):
    code = "import sys; from metier.engines.data.stdlib import documents; print(*(row['id'] for row in documents())); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "" and done.stdout.splitlines()[0].split(" ") == list(rows)
    assert not {"antigravity", "this", "tkinter", "idlelib", "turtle", "readline"} & set(done.stdout.splitlines()[1].split())


def test_a_module_with_only_compiled_files_is_inspected(tmp_path, monkeypatch):
    source = tmp_path / "onlycompiled.py"
    source.write_text('"""Says hello to the world."""\ndef hello(name):\n    """Say hello to somebody."""\n')
    py_compile.compile(str(source), cfile=str(tmp_path / "onlycompiled.pyc"))
    source.unlink()
    monkeypatch.syspath_prepend(tmp_path)
    spec = importlib.machinery.PathFinder.find_spec("onlycompiled")
    assert [(row["id"], row["signature"]) for row in _Walk().module("onlycompiled", "onlycompiled", spec)] == [
        ("onlycompiled", ""),
        ("onlycompiled.hello", "(name)"),
    ]


@pytest.mark.parametrize(
    ("docstring", "summary"),
    [
        ("Return x.  More follows.", "Return x."),
        ("Join two\n    lines here\n\nand no more.", "Join two lines here"),
        ("Use e.g. this one. Not that.", "Use e.g. this one."),
        (
            "max(iterable, *[, key]) -> value\n\nWith an iterable, return its biggest item. Else.",
            "With an iterable, return its biggest item.",
        ),
        ("dict() -> new empty dictionary\ndict(mapping) -> new one", "new empty dictionary"),
        (">>> f(1)\n2\n\nDoubles its argument.", "Doubles its argument."),
        ("----\n\nA title under a rule", "A title under a rule"),
        ("x", ""),
        ("", ""),
    ],
)
def test_summaries(docstring, summary):
    assert summary_of(docstring) == summary


def test_as_a_corpus(rows):
    corpus = read(source="python:stdlib", limit=100)
    assert corpus.frame().column_names[:5] == ["id", "text", "source", "path", "error"]
    assert [row["id"] for row in corpus.rows()] == list(rows)[:100]
