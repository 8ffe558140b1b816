"""Help, version, completion, mistyped commands; and that none of it imports anything heavy."""

import subprocess
import sys

import pytest

COMMANDS = ("run", "init", "eval", "chat", "methods", "prove", "doctor")
HEAVY = ("torch", "transformers", "daft", "pyarrow", "peft", "scipy", "numpy", "datasets")


def test_help_names_every_command(metier):
    done = metier("--help")
    assert done.returncode == 0
    for name in COMMANDS:
        assert f" {name} " in done.stdout


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "methods"])
def test_every_command_has_help_with_examples(metier, name):
    done = metier(name, "--help")
    assert done.returncode == 0
    assert f"metier {name}" in done.stdout.partition("Examples:")[2]


def test_version(metier):
    from metier import __version__

    assert metier("--version").stdout == f"metier {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_generated(metier, shell):
    done = metier("--show-completion", shell)
    assert done.returncode == 0
    assert "_METIER_COMPLETE" in done.stdout


def test_completion_completes_commands(metier):
    done = metier(extra={"_METIER_COMPLETE": "complete_bash", "COMP_WORDS": "metier do", "COMP_CWORD": "1"})
    assert done.stdout.split() == ["doctor"]


@pytest.mark.parametrize(
    ("arguments", "suggestion"), [(["metods"], "methods"), (["run", "x", "--dryrun"], "--dry-run"), (["evall"], "eval")]
)
def test_a_mistyped_command_or_option_suggests_the_nearest(metier, arguments, suggestion):
    done = metier(*arguments)
    assert done.returncode == 2
    assert suggestion in done.stderr.partition("id you mean")[2] or suggestion in done.stderr.partition("Possible options")[2]


@pytest.mark.parametrize("arguments", [["--help"], ["methods"], ["methods", "--json"], ["run", "--help"]])
def test_nothing_heavy_is_imported(environment, arguments):
    code = f"""
import sys
sys.argv = ["metier", *{arguments!r}]
from metier.cli.main import main
try:
    main()
except SystemExit as end:
    assert end.code in (0, None), end.code
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stderr.splitlines()[-1:] == ["[]"], done.stderr


def test_a_pipe_that_closes_early_is_no_error(command, environment):
    process = subprocess.Popen([*command, "methods", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.wait()
