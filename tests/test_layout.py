"""What the layout promises: imports point one way, the light modules are light, every method can be found and is documented."""

import subprocess
import sys
from pathlib import Path

import pytest

import metier
from metier.core import catalog
from metier.method import find, record_of

ROOT = Path(__file__).parents[1]
PACKAGE = Path(metier.__file__).parent
HEAVY = ("torch", "transformers", "daft", "pyarrow", "peft", "scipy", "numpy", "datasets")
FILLED_BY_THE_RUNNER = ("seed", "workdir")


def test_imports_point_one_way():
    script = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([script, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def light_modules() -> list[str]:
    """core, cli and report, every __init__, and the leaves."""
    files = [file for family in ("core", "cli") for file in (PACKAGE / family).glob("*.py")]
    files += PACKAGE.rglob("__init__.py")
    files += [PACKAGE / "method.py", PACKAGE / "progress.py", PACKAGE / "models" / "source.py"]
    parts = [("metier", *file.relative_to(PACKAGE).with_suffix("").parts) for file in files]
    return sorted({".".join(part[:-1] if part[-1] == "__init__" else part) for part in parts})


def test_light_modules_import_nothing_heavy():
    lines = "\n".join(f"import {name}" for name in light_modules())
    code = f"import sys\n{lines}\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stdout + done.stderr


def test_artifacts_import_nothing_heavy():
    names = ", ".join(f"metier.artifacts.{file.stem}" for file in (PACKAGE / "artifacts").glob("*.py") if file.stem != "__init__")
    code = f"import sys, {names}\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stdout + done.stderr


@pytest.mark.parametrize("name", catalog.names())
def test_every_method_is_found_by_its_name_and_says_what_it_claims(name):
    described = catalog.describe(name)
    function = find(name)
    assert function.__name__ == name.rpartition(".")[2]
    assert record_of(function).claim == described.claim
    assert described.claim and described.summary.endswith((".", ":"))
    assert described.returns, "the return type says what flows on"
    assert all(described.flows.values()), "everything that flows has a type"


@pytest.mark.parametrize("name", catalog.names())
def test_every_setting_is_typed_and_documented(name):
    for setting in catalog.describe(name).settings:
        assert setting.type, f"{setting.name} has no type"
        assert setting.help or setting.name in FILLED_BY_THE_RUNNER, f"{setting.name} stands in no Settings block"


@pytest.mark.parametrize("name", catalog.names())
def test_every_method_has_its_tests_where_its_name_says(name):
    *families, slug = name.split(".")
    places = [ROOT / "tests" / Path(*families), ROOT / "tests" / "engines" / Path(*families)]
    assert any((place / f"test_{slug}.py").is_file() for place in places), f"no test_{slug}.py in {' or '.join(map(str, places))}"


def test_no_library_module_prints_or_configures_logging():
    for file in PACKAGE.rglob("*.py"):
        if file.parent.name != "cli":
            text = file.read_text()
            assert "logging.basicConfig" not in text and "\n    print(" not in text, file
