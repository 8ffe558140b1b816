"""The version of a method's source follows its code, and only its code."""

import importlib
import sys

import pytest

from metier.core import source_version as module
from metier.core.source_version import source_version


@pytest.fixture
def version_of(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def version(source: str) -> str:
        (tmp_path / "some_method.py").write_text(source)
        for cached in (module._closure_hash, module._file, module._tree, module._code_hash):
            cached.cache_clear()
        importlib.invalidate_caches()
        sys.modules.pop("some_method", None)
        return source_version(importlib.import_module("some_method").work)

    return version


def test_comments_docstrings_and_formatting_do_not_count_and_code_does(version_of):
    plain = version_of("def work(a):\n    return a + 1\n")
    assert version_of('"""A module."""\n\n\ndef work( a ):\n    """Adds."""\n    # one\n    return a+1\n') == plain
    assert version_of("def work(a):\n    return a + 2\n") != plain


def test_code_behind_an_import_of_metier_counts(version_of):
    alone = version_of("def work(a):\n    return a + 1\n")
    leaning = version_of("from metier.progress import track\ndef work(a):\n    return a + 1\n")
    inside = version_of("def work(a):\n    from metier.progress import track\n    return a + 1\n")
    assert len({alone, leaning, inside}) == 3
    assert "metier.progress" in set(module._imports("some_method"))
