"""The real command in processes of its own: without a network, with a cache of its own, and with pipes instead of a terminal."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

NOWHERE = "http://127.0.0.1:9"  # the port that discards: nothing answers there


@pytest.fixture(scope="session")
def command() -> list[str]:
    script = Path(sys.executable).with_name("metier")
    assert script.is_file(), f"{script} is missing: install metier into this environment"
    return [str(script)]


@pytest.fixture(scope="session")
def environment(tmp_path_factory) -> dict[str, str]:
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), NOWHERE)
    return {
        **os.environ,
        **proxies,
        "no_proxy": "",
        "NO_PROXY": "",
        "PIP_INDEX_URL": f"{NOWHERE}/simple",
        "PIP_EXTRA_INDEX_URL": "",
        "HF_ENDPOINT": NOWHERE,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path_factory.mktemp("hub")),
        "METIER_CACHE": str(tmp_path_factory.mktemp("cache")),
        "COLUMNS": "160",
    }


@pytest.fixture
def metier(command, environment, tmp_path):
    """Runs `metier ARGUMENTS` in tmp_path. `stdin` is what is piped in; `extra` changes the environment."""

    def call(*arguments: object, stdin: str = "", extra: dict[str, str] | None = None) -> subprocess.CompletedProcess:
        return subprocess.run(
            [*command, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment | (extra or {}),
        )

    return call


@pytest.fixture
def documents(tmp_path) -> Path:
    """Thirty-six small documents of six kinds, in six subfolders."""
    topics = {
        "bread": "flour water salt yeast oven crust dough",
        "ships": "hull mast sail anchor harbour deck rudder",
        "stars": "light orbit dust comet planet distance telescope",
        "wool": "sheep yarn loom thread needle pattern dye",
        "law": "court judge contract witness appeal claim verdict",
        "bees": "hive honey queen flower pollen swarm wax",
    }
    folder = tmp_path / "papers"
    for topic, words in topics.items():
        (folder / topic).mkdir(parents=True)
        for number in range(6):
            chosen = words.split()[number % 4 :] + words.split()[: number % 3]
            sentences = [
                f"The {word} number {number} of {topic} comes before the {other} and needs {number + position} hours of work."
                for position, (word, other) in enumerate(pairwise(chosen))
            ]
            text = f"About {chosen[0]} {number} in {topic}\n\n" + " ".join(sentences) + "\n"
            (folder / topic / f"{topic}-{number}.txt").write_text(text)
    return folder
