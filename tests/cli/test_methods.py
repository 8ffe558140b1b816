"""`metier methods`: the list, one method, and the machine-readable form."""

import json

from metier.core import catalog


def test_json_is_a_list_with_fixed_keys(metier):
    done = metier("methods", "--json")
    assert done.returncode == 0
    listed = json.loads(done.stdout)
    assert [entry["name"] for entry in listed] == catalog.names()
    for entry in listed:
        assert list(entry) == ["name", "kind", "paper", "claim", "settings", "evidence"]
        assert isinstance(entry["name"], str) and isinstance(entry["kind"], str) and entry["claim"]
        assert entry["paper"] is None or isinstance(entry["paper"], str)
        for setting in entry["settings"]:
            assert list(setting) == ["name", "type", "default", "help"]
        if entry["evidence"] is not None:
            assert list(entry["evidence"]) == ["verdict", "effect", "interval", "seconds"]


def test_one_method_is_shown_with_its_settings(metier):
    done = metier("methods", "show", "data.split")
    assert done.returncode == 0
    assert "data.split" in done.stdout and "corpus: Corpus" in done.stdout
    assert "share of the characters to hold out" in " ".join(done.stdout.split())
    one = json.loads(metier("methods", "show", "data.split", "--json").stdout)
    assert next(setting for setting in one["settings"] if setting["name"] == "held_out")["default"] == "0.1"


def test_an_unknown_method_suggests_the_nearest(metier):
    done = metier("methods", "show", "data.raed")
    assert done.returncode == 2
    assert "did you mean 'data.read'?" in done.stderr
    assert metier("prove", "data.raed").returncode == 2


def test_the_list_holds_no_escape_codes_when_piped(metier):
    done = metier("methods")
    assert "\x1b" not in done.stdout
    assert "data.read" in done.stdout
