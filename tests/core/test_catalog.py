"""Methods are described from source as they would be by importing them."""

import inspect
import subprocess
import sys

import pytest

from metier.core import catalog
from metier.core.errors import InputError
from metier.core.signature import signature_of
from metier.method import find, record_of


def test_names_are_paths_and_sorted():
    names = catalog.names()
    assert names == sorted(names)
    assert {"data.read", "data.sample", "pretrain.continued", "evaluate.head_to_head", "report.page"} <= set(names)


@pytest.mark.parametrize("name", catalog.names())
def test_the_description_equals_the_imported_function(name):
    description, function = catalog.describe(name), find(name)
    signature = signature_of(function)
    assert description.claim == record_of(function).claim != ""
    assert description.paper == record_of(function).paper
    assert list(description.flows) == list(signature.flows)
    assert [setting.name for setting in description.settings] == list(signature.settings)
    for setting in description.settings:
        assert (setting.default is None) == (setting.name in signature.required)
    assert inspect.getdoc(function).startswith(description.summary)


@pytest.mark.parametrize("name", catalog.names())
def test_every_setting_but_the_seed_is_explained(name):
    assert [setting.name for setting in catalog.describe(name).settings if setting.help == "" and setting.name != "seed"] == []


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(InputError, match=r"did you mean 'pretrain\.continued'"):
        catalog.describe("pretrain.continud")


def test_describing_all_methods_imports_nothing_heavy():
    script = (
        "import sys; from metier.core import catalog; assert len(catalog.methods()) > 9;"
        "print([name for name in ('torch', 'transformers', 'daft', 'pyarrow', 'numpy') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "[]"
