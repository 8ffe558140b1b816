"""The real command in processes of its own: without a network, with a cache of its own, and with pipes instead of a terminal."""

import os
import random
import subprocess
import sys
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
        "OMP_NUM_THREADS": "1",  # for tiny models beside other work: threads that wait for each other take six times as long
    }


@pytest.fixture
def metier(command, environment, tmp_path):
    """Runs `metier ARGUMENTS` in tmp_path. `stdin` is what is piped in; `extra` changes the environment."""

    def call(*arguments: object, stdin: str = "", extra: dict[str, str] | None = None) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [*command, *map(str, arguments)],
            input=stdin.encode(),
            capture_output=True,
            cwd=tmp_path,
            env=environment | (extra or {}),
        )
        # Decoded here: subprocess's own text mode would change line ends, and random models write any.
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return call


COMMON = (
    "old new small large quiet early late often never always near under behind between beyond carries holds finds leaves keeps "
    "brings turns meets opens closes follows another several every third window table letter garden hour winter village colour"
).split()


@pytest.fixture
def documents(tmp_path) -> Path:
    """Thirty-six small documents of random sentences, of six kinds in six subfolders."""
    topics = {
        "bread": "flour water salt yeast oven crust dough loaf miller baker",
        "ships": "hull mast sail anchor harbour deck rudder keel captain tide",
        "stars": "light orbit dust comet planet distance telescope night moon eclipse",
        "wool": "sheep yarn loom thread needle pattern dye cloth weaver shears",
        "law": "court judge contract witness appeal claim verdict statute lawyer clause",
        "bees": "hive honey queen flower pollen swarm wax comb nectar keeper",
    }
    generator, folder = random.Random(0), tmp_path / "papers"
    for topic, words in topics.items():
        (folder / topic).mkdir(parents=True)
        for number in range(6):
            sentences = [" ".join(generator.sample(words.split(), 4) + generator.sample(COMMON, 5)) for _ in range(9)]
            text = " ".join(f"The {sentence}." for sentence in sentences)
            (folder / topic / f"{topic}-{number}.txt").write_text(text + "\n")
    return folder
