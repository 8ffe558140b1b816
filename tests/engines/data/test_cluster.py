"""On a Ray cluster: the same rows in the same order, also when a worker is killed in the middle."""

import os
import subprocess
import sys

import pytest

from metier.engines.data.cluster import use_cluster

SCRIPT = """
import os, signal, sys, threading, time
from pathlib import Path
import psutil
from metier.artifacts import Corpus
from metier.engines.data.cluster import use_cluster
from metier.engines.data.read import read
from metier.engines.data.step import map_step

def louder(batch):
    time.sleep(0.02)
    return {"text": [text.upper() for text in batch["text"]], "size": [len(text) for text in batch["text"]]}

def kill_one():
    killed = False
    while not killed:
        for process in psutil.Process().children(recursive=True):
            try:
                name = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if name.startswith("ray::") and "UDF" in name:
                os.kill(process.pid, signal.SIGKILL)
                killed = True
                (Path(sys.argv[1]) / "killed").touch()
                break
        time.sleep(0.05)

folder, cluster, kill = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "kill"
if cluster != "native":
    use_cluster(cluster)
docs = read(source=str(folder / "input"), workdir=folder / cluster / "work").save(folder / cluster / "docs")
if kill:
    threading.Thread(target=kill_one, daemon=True).start()
out = map_step(map_step(docs, louder, batch_rows=20), louder, batch_rows=30).save(folder / cluster / "out")
(folder / cluster / "rows").write_text(repr(list(out.rows())) + str(out.funnel()) + str(len(out)))
"""


def rows_of(folder, cluster, kill="no"):
    command = [sys.executable, "-c", SCRIPT, str(folder), cluster, kill]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]
    return (folder / cluster / "rows").read_text()


def test_ray_gives_the_same_rows_when_a_worker_is_killed(tmp_path):
    pytest.importorskip("ray")
    (tmp_path / "input").mkdir()
    for part in range(3):
        lines = (f'{{"id": "{part}-{row}", "text": "text {part} {row}"}}\n' for row in range(500))
        (tmp_path / "input" / f"{part}.jsonl").write_text("".join(lines))
    assert rows_of(tmp_path, "local", "kill") == rows_of(tmp_path, "native")
    assert (tmp_path / "killed").exists()


@pytest.mark.parametrize("address", ["somewhere", "http://head:1"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(ValueError, match=r"--cluster .*: give local, or the address"):
        use_cluster(address)
