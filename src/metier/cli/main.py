"""The `metier` command. Each command is a file beside this one; heavy imports happen inside the commands, so that --help is instant."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from metier import __version__
from metier.cli import chat, compare, doctor, evaluate, init, methods, plan, prove, run

app = typer.Typer(
    name="metier",
    help="Makes a specialist of a pretrained language model from a pile of documents, and proves that it is one.",
    epilog="Begin with: metier run quickstart    Your own documents: metier init FOLDER, then metier run FOLDER.yaml",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run", epilog=run.EXAMPLES)(run.run)
app.command("init", epilog=init.EXAMPLES)(init.init)
app.command("eval", epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command("compare", epilog=compare.EXAMPLES)(compare.compare)
app.command("chat", epilog=chat.EXAMPLES)(chat.chat)
app.add_typer(plan.app, name="plan")
app.add_typer(methods.app, name="methods")
app.command("prove", epilog=prove.EXAMPLES)(prove.prove)
app.command("doctor", epilog=doctor.EXAMPLES)(doctor.doctor)

_INTERRUPTED = 130


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"metier {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """What all commands share: nothing but --version."""


def main() -> None:
    """Runs the command line. Exit codes: 0 done, 1 the run failed, 2 bad input, 130 interrupted."""
    _prepare_libraries()
    from metier.core.errors import InputError, RunError

    try:
        app()
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # typer has turned Ctrl-C into this, without a word
            _fail("interrupted; what was finished is kept, and the same command goes on from there", _INTERRUPTED)
        raise
    except InputError as error:
        _fail(str(error), 2)
    except RunError as error:
        _fail(str(error), 1)
    except (ValueError, FileNotFoundError, NotADirectoryError, PermissionError) as error:
        _fail(str(error), 2)
    except OSError as error:  # no network, no space left: not what was asked is wrong, but what is needed for it
        _fail(str(error), 1)


def _fail(message: str, code: int) -> None:
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, soft_wrap=True).print(Text("metier: ", style="bold red") + Text(message))
    sys.exit(code)


def _prepare_libraries() -> None:
    """The libraries' own bars and notices stay off, and their threads share the cores, unless the user has set it otherwise."""
    for name, value in {
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TQDM_DISABLE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
        "DAFT_PROGRESS_BAR": "0",
        "DO_NOT_TRACK": "1",
        # Idle threads sleep instead of spinning: beside any other work on the same cores, spinning made training ten times slower here.
        "OMP_WAIT_POLICY": "passive",
    }.items():
        os.environ.setdefault(name, value)
