"""Answers stay on disk, through interruptions, other processes and broken files; and no cache is better than a failure."""

import logging
import os
import sqlite3
import subprocess
import sys

import pytest

from metier.engines.generate import cache as cache_module
from metier.engines.generate.cache import AnswerCache, key_of
from metier.models.language_model import Completion, Score


@pytest.fixture
def cache(tmp_path):
    return AnswerCache(tmp_path / "deep" / "answers.sqlite")


def test_answers_come_back_equal(cache):
    completion, score = Completion("é\ud800 \0 日本", 3, "length"), Score(-1.2345678901234567e-300, 2, 9, None)
    cache.put([("a", completion), ("b", score)])
    again = AnswerCache(cache.file)
    assert again.get(["a", "x"], Completion) == {"a": completion}
    assert again.get(["b"], Score) == {"b": score}


def test_more_keys_than_a_query_takes(cache):
    answers = {f"k{n}": Score(-float(n), n, n, True) for n in range(1300)}
    cache.put(list(answers.items()))
    assert cache.get([*answers, "other"], Score) == answers


def test_errors_are_not_kept(cache):
    cache.put([("a", Completion("", error="HTTP 500"))])
    assert cache.get(["a"], Completion) == {}


def test_keys_follow_everything_that_matters():
    same = key_of("model", "score", ["a", "b"], {"x": 1, "y": 2})
    assert same == key_of("model", "score", ("a", "b"), {"y": 2, "x": 1})
    others = [
        key_of("other", "score", ["a", "b"], {"x": 1, "y": 2}),
        key_of("model", "generate", ["a", "b"], {"x": 1, "y": 2}),
        key_of("model", "score", ["ab", ""], {"x": 1, "y": 2}),
        key_of("model", "score", ["a", "b"], {"x": 1, "y": 3}),
    ]
    assert len({same, *others}) == 5


def test_an_interrupted_stream_loses_nothing_that_was_answered(cache):
    def answers():
        yield 0, Score(-1.0, 1, 1)
        yield 1, Score(-2.0, 1, 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(cache.keeping(["a", "b", "c"], answers()))
    assert set(cache.get(["a", "b", "c"], Score)) == {"a", "b"}


def test_a_killed_process_loses_one_batch_at_most(cache, monkeypatch):
    monkeypatch.setattr(cache_module, "FLUSH_ANSWERS", 2)
    stream = cache.keeping(["a", "b", "c"], ((n, Score(-1.0, 1, 1)) for n in range(3)))
    for _ in range(3):
        next(stream)
    assert set(AnswerCache(cache.file).get(["a", "b", "c"], Score)) == {
        "a",
        "b",
    }  # the stream has not ended, and nobody closed it


def test_a_broken_file_is_moved_aside(cache, caplog):
    cache.file.parent.mkdir()
    cache.file.write_bytes(b"this is no database at all" * 100)
    with caplog.at_level(logging.WARNING):
        assert cache.get(["a"], Score) == {}
    cache.put([("a", Score(-1.0, 1, 1))])
    assert cache.get(["a"], Score) == {"a": Score(-1.0, 1, 1)}
    assert "is broken" in caplog.text
    assert len(list(cache.file.parent.glob("*.broken-*"))) == 1


def test_a_file_broken_in_the_middle_is_moved_aside_and_what_comes_is_kept(cache, caplog):
    cache.put([(f"{n:064d}", Completion("x" * 500)) for n in range(200)])
    with sqlite3.connect(cache.file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray(cache.file.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    cache.file.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        cache.put([("a", Score(-1.0, 1, 1))])
    assert cache.get(["a"], Score) == {"a": Score(-1.0, 1, 1)}


def test_where_no_file_can_be_it_goes_on_with_one_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("a file where the folder should be")
    cache = AnswerCache(tmp_path / "file" / "answers.sqlite")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            cache.put([("a", Score(-1.0, 1, 1))])
            assert cache.get(["a"], Score) == {}
    assert len(caplog.records) == 1 and "answers are not kept on disk" in caplog.text


def test_a_full_disk_is_survived(cache, caplog):
    cache.put([("a", Score(-1.0, 1, 1))])
    connect = cache._connect

    def small():  # SQLite itself says "database or disk is full" when a file may not grow
        connection = connect()
        connection.execute("PRAGMA max_page_count = 2")
        return connection

    cache._connect = small
    with caplog.at_level(logging.WARNING):
        cache.put([(f"k{n}", Completion("x" * 5000)) for n in range(50)])
        cache.put([(f"l{n}", Completion("x" * 5000)) for n in range(50)])
    assert len(caplog.records) == 1 and "full" in caplog.text
    assert AnswerCache(cache.file).get(["a", "k0"], Score) == {"a": Score(-1.0, 1, 1)}


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_a_read_only_folder_is_survived(cache, caplog):
    cache.put([("a", Score(-1.0, 1, 1))])
    cache.file.parent.chmod(0o500)
    try:
        with caplog.at_level(logging.WARNING):
            cache.put([("b", Score(-1.0, 1, 1))])
            cache.put([("c", Score(-1.0, 1, 1))])
    finally:
        cache.file.parent.chmod(0o700)
    assert len(caplog.records) == 1 and "answers are not kept on disk" in caplog.text


def test_several_processes_write_at_once(cache):
    code = (
        "import sys; from pathlib import Path; from metier.engines.generate.cache import AnswerCache\n"
        "from metier.models.language_model import Score\n"
        "cache = AnswerCache(Path(sys.argv[1]))\n"
        "for n in range(60): cache.put([(f'{sys.argv[2]}-{n}', Score(-float(n), n, n))])\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(cache.file), str(p)]) for p in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert len(cache.get([f"{p}-{n}" for p in range(3) for n in range(60)], Score)) == 180
