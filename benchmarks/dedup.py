"""Near-duplicate removal: curate.duplicates and datatrove's four MinHash stages on the same generated corpus, each in its own process.

    python benchmarks/dedup.py [--documents 100000] [--workers 2]

Documents of 200 to 400 words drawn from 50,000 by Zipf's law, in sentences; a tenth are exact copies of others, a quarter are near copies in which 0.5,
1, 2 or 3% of the words (a quarter of the copies each) were replaced by others; shuffled; the seed is fixed. The truth is which documents
come from the same original. Recall: copies removed, of all that could be (a family of k has k - 1), also by share of words replaced;
precision: removed documents that left another of their family, of all removed.

Both arms read the same four Parquet files and write Parquet files of what they keep. Both compare word 5-grams by 14 bands of 8 hashes, as FineWeb did.
`metier` looks at no pair again, so that both do the same work; `metier verified` keeps only pairs whose exact Jaccard similarity
is 0.72 or more; `metier default` has the method's own settings. Wall seconds are those of the work alone; CPU seconds are of the process and all
its children, with imports; memory is the largest sum of their resident sizes (proportional set size) at steps of a tenth of a second.
Then metier alone on a tenth of the documents: its memory must not grow with its input.
The last line of stdout is one JSON object, also stored in benchmarks/results/dedup.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from side_by_side import in_process, peer_python, store, the_job

PEER = ["datatrove[processing,io]==0.6.0", "spacy", "nltk", "xxhash<4"]  # datatrove hashes strings, which xxhash 4 refuses
BANDS, ROWS, NGRAM, THRESHOLD = 14, 8, 5, 0.72
VOCABULARY, FILES, ROW_GROUP = 50_000, 4, 2500
EXACT, NEAR, REPLACED = 0.10, 0.25, (0.005, 0.01, 0.02, 0.03)
SETTINGS = {
    "metier": {"threshold": None, "bands": BANDS, "rows": ROWS, "ngram": NGRAM},
    "metier verified": {"threshold": THRESHOLD, "bands": BANDS, "rows": ROWS, "ngram": NGRAM},
    "metier default": {},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--arms", nargs="+", default=[*SETTINGS, "datatrove"])
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm is not None:
        arm = run_datatrove if options.arm == "datatrove" else partial(run_metier, settings=SETTINGS[options.arm])
        print(json.dumps(arm(the_job())))
        return
    peer = peer_python("datatrove", PEER)
    with tempfile.TemporaryDirectory(prefix="dedup-") as folder:
        truth = generate(Path(folder) / "all", options.documents)
        figures: dict[str, Any] = {"documents": options.documents, "runs": []}
        for name in options.arms:
            figures["runs"].append(measured(name, peer, Path(folder), "all", truth, options.workers))
        part = generate(Path(folder) / "tenth", options.documents // 10)
        figures["runs"].append(measured("metier verified", peer, Path(folder), "tenth", part, options.workers))
    figures |= compare(figures["runs"])
    figures["versions"] = {run["arm"]: run.pop("versions") for run in figures["runs"]}
    store("dedup", figures)


def generate(folder: Path, count: int) -> dict[str, tuple[int, str]]:
    """Writes the corpus; id -> (family, how the document was made)."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    generator = np.random.default_rng(0)
    words = vocabulary(generator)
    weights = 1 / np.arange(1, VOCABULARY + 1)
    weights /= weights.sum()
    exact, near = int(EXACT * count), int(NEAR * count)
    originals = [generator.choice(VOCABULARY, int(generator.integers(200, 401)), p=weights) for _ in range(count - exact - near)]
    made = [(family, "original", text) for family, text in enumerate(originals)]
    for number in range(exact + near):
        family = int(generator.integers(len(originals)))
        share = REPLACED[number % len(REPLACED)] if number < near else 0.0
        text = originals[family].copy()
        chosen = generator.random(len(text)) < share
        text[chosen] = generator.choice(VOCABULARY, int(chosen.sum()), p=weights)
        made.append((family, f"{share:.1%} replaced" if number < near else "exact copy", text))
    order = generator.permutation(count)
    rows = [{"id": f"doc-{place:07d}", "text": prose(words[made[index][2]])} for place, index in enumerate(order)]
    folder.mkdir()
    for number in range(FILES):
        part = rows[number * count // FILES : (number + 1) * count // FILES]
        table = pa.Table.from_pylist([row | {"source": "generated"} for row in part])
        pq.write_table(
            table, folder / f"part-{number}.parquet", row_group_size=ROW_GROUP
        )  # as large in small files as in large ones
    return {row["id"]: made[index][:2] for row, index in zip(rows, order, strict=True)}


def vocabulary(generator: Any) -> Any:
    """50,000 different words of 2 to 10 letters."""
    import numpy as np

    found: dict[str, None] = {}
    while len(found) < VOCABULARY:
        found["".join(generator.choice(list("etaoinshrdlucmfwypvbgkjqxz"), int(generator.integers(2, 11))))] = None
    return np.array(list(found))


def prose(words: Any) -> str:
    """The words in sentences of 15, five to a paragraph."""
    sentences = [" ".join(words[start : start + 15]).capitalize() + "." for start in range(0, len(words), 15)]
    return "\n".join(" ".join(sentences[start : start + 5]) for start in range(0, len(sentences), 5))


def measured(name: str, peer: str, folder: Path, data: str, truth: dict[str, tuple[int, str]], workers: int) -> dict[str, Any]:
    """One arm's seconds, memory, recall and precision."""
    output = folder / "output"
    job = {"input": str(folder / data), "output": str(output), "workers": workers}
    with Watch() as watch:
        found = in_process(peer if name == "datatrove" else sys.executable, __file__, name, job)
    spent = {"cpu_seconds": watch.cpu_seconds(), "peak_memory_bytes": watch.peak}
    run = {"arm": name, "documents": len(truth)} | spent | found | quality(kept_ids(output), truth)
    shutil.rmtree(output)
    print(
        f"{name:16} {len(truth):7} documents  {run['seconds']:7.1f} s  {run['cpu_seconds']:7.1f} CPU s  {watch.peak / 1e6:6.0f} MB  "
        f"recall {run['recall']:.4f}  precision {run['precision']:.5f}",
        flush=True,
    )
    return run


def kept_ids(output: Path) -> set[str]:
    import pyarrow.parquet as pq

    return {name for file in sorted((output / "kept").glob("*.parquet")) for name in pq.read_table(file)["id"].to_pylist()}


def quality(kept: set[str], truth: dict[str, tuple[int, str]]) -> dict[str, Any]:
    """Recall and precision of what was removed. Which document of a family stays is the arm's choice."""
    sizes, left = Counter(family for family, _ in truth.values()), Counter(truth[name][0] for name in kept)
    right = sum(size - max(1, left[family]) for family, size in sizes.items())
    removed = len(truth) - len(kept)
    return {
        "removed": removed,
        "recall": right / (len(truth) - len(sizes)),
        "precision": right / removed if removed else 1.0,
        "recall_by_copy": recall_of_pairs(kept, truth),
    }


def recall_of_pairs(kept: set[str], truth: dict[str, tuple[int, str]]) -> dict[str, float]:
    """Of families of two, an original and one copy: the share that has one left, by how the copy was made."""
    sizes = Counter(family for family, _ in truth.values())
    left = Counter(truth[name][0] for name in kept)
    found: dict[str, list[bool]] = {}
    for family, how in truth.values():
        if sizes[family] == 2 and how != "original":
            found.setdefault(how, []).append(left[family] == 1)
    return {how: sum(hits) / len(hits) for how, hits in sorted(found.items())}


def compare(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Ratios of the peer's figures to metier's, and of metier's memory on all documents to that on a tenth."""
    by = {(run["arm"], run["documents"]): run for run in runs}
    most = max(run["documents"] for run in runs)
    small, large = by["metier verified", most // 10], by.get(("metier verified", most))
    found: dict[str, Any] = {}
    if large is not None:
        found["memory_of_ten_times_the_input"] = round(large["peak_memory_bytes"] / small["peak_memory_bytes"], 3)
    peer = by.get(("datatrove", most))
    for name in SETTINGS:
        ours = by.get((name, most))
        if peer is not None and ours is not None:
            found[f"datatrove against {name}"] = {
                "wall_ratio": round(peer["seconds"] / ours["seconds"], 2),
                "cpu_ratio": round(peer["cpu_seconds"] / ours["cpu_seconds"], 2),
                "memory_ratio": round(peer["peak_memory_bytes"] / ours["peak_memory_bytes"], 2),
                "recall": [round(peer["recall"], 4), round(ours["recall"], 4)],
                "precision": [round(peer["precision"], 5), round(ours["precision"], 5)],
            }
    return found


class Watch:
    """The largest memory that this process's children and theirs held together, and what processor time each of them took.

    By looking at them ten times a second: workers that their own server starts and ends are in nobody's accounts afterwards.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._seconds: dict[int, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def cpu_seconds(self) -> float:
        return sum(self._seconds.values())

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        import psutil

        while not self._ended.wait(0.1):
            total = 0
            for child in psutil.Process().children(recursive=True):
                try:
                    memory, times = child.memory_full_info(), child.cpu_times()
                except psutil.Error:  # ended meanwhile
                    continue
                total += getattr(memory, "pss", memory.rss)
                self._seconds[child.pid] = times.user + times.system
            self.peak = max(self.peak, total)


def run_metier(job: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    import daft

    from metier.artifacts import Corpus
    from metier.core import host
    from metier.curate.duplicates import duplicates

    began = time.perf_counter()
    corpus = Corpus(daft.read_parquet([str(file) for file in sorted(Path(job["input"]).glob("*.parquet"))]))
    duplicates(corpus, **settings).save(Path(job["output"]) / "kept")
    return {"seconds": time.perf_counter() - began, "versions": host.versions()}


def run_datatrove(job: dict[str, Any]) -> dict[str, Any]:
    import importlib.metadata

    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter

    output, workers = job["output"], job["workers"]
    config = MinhashConfig(n_grams=NGRAM, num_buckets=BANDS, hashes_per_bucket=ROWS, seed=1)
    reader = ParquetReader(job["input"])
    stages = [
        (FILES, [reader, MinhashDedupSignature(output_folder=f"{output}/signatures", config=config)]),
        (BANDS, [MinhashDedupBuckets(f"{output}/signatures", f"{output}/buckets", config=config)]),
        (1, [MinhashDedupCluster(f"{output}/buckets", f"{output}/remove", config=config)]),
        (FILES, [reader, MinhashDedupFilter(f"{output}/remove"), ParquetWriter(f"{output}/kept")]),
    ]
    seconds, began = [], time.perf_counter()
    for number, (tasks, pipeline) in enumerate(stages):
        stage = time.perf_counter()
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=workers, logging_dir=f"{output}/logs{number}").run()
        seconds.append(time.perf_counter() - stage)
    return {
        "seconds": time.perf_counter() - began,
        "stage_seconds": seconds,
        "versions": {name: importlib.metadata.version(name) for name in ("datatrove", "spacy", "numpy", "xxhash")},
    }


if __name__ == "__main__":
    main()
