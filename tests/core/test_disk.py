"""A disk that fills up, for real: a small file system in memory."""

import os
import subprocess

import pytest

from metier.artifacts import Corpus
from metier.artifacts.files import atomic_folder, atomic_write
from metier.core.errors import RunError
from metier.core.plan import plan
from metier.core.recipe import parse
from metier.core.run import run

RECIPE = """\
name: toys
stages:
  docs: {use: "toys:numbers", count: 200000}
"""


class Silent:
    def begins(self, stage):
        pass

    def ends(self, stage, folder, facts, reused):
        pass


def go(folder):
    return run(plan(parse(RECIPE), folder / "run"), Silent())


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True).returncode
    ):
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_named_leaves_nothing_that_looks_whole_and_the_run_goes_on_once_there_is_room(small_disk, calls):
    with pytest.raises(RunError, match=r"stage 'docs' .* no space left on the device.*run the same command"):
        go(small_disk)
    assert not [path for path in (small_disk / "run" / "stages").iterdir() if not path.name.endswith(".partial")]
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    folders = go(small_disk)
    assert len(Corpus.open(folders["docs"])) == 200_000


def test_a_file_or_folder_that_could_not_be_written_does_not_appear(small_disk):
    (small_disk / "kept.json").write_text("old")
    with pytest.raises(OSError, match="No space left"):
        atomic_write(small_disk / "kept.json", "x" * 2**21)
    assert (small_disk / "kept.json").read_text() == "old"
    with pytest.raises(OSError, match="No space left"), atomic_folder(small_disk / "made") as partial:
        (partial / "big").write_bytes(b"x" * 2**21)
    assert {path.name for path in small_disk.iterdir()} == {"kept.json"}
