"""The content of web pages: metier's ways and trafilatura's, the same pages, alternately, each run in its own process.

    python benchmarks/extract.py [--repeats 5]

The pages of scrapinghub's article-extraction-benchmark in ../shared/data/extraction beside the checkout; without them there is
nothing to measure. The measure is that benchmark's own: of each page the counts of 4-word shingles that are in both, in one only;
precision and recall averaged over pages, F1 of the two, with a 95% interval over 2,000 resamples of the pages (and one of the
difference from trafilatura, from the same resamples). Our rules were made on the pages whose id begins with 0 to 7; F1 of those and of the others stands beside. Seconds
are CPU seconds of extraction from decoded strings, after one page to load what is loaded once.
The last line of stdout is one JSON object, also stored in benchmarks/results/extract.json.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from side_by_side import DATA, in_process, median, store, the_job

FOLDER = DATA / "extraction"
OURS = ["fast", "two_step", "careful"]
PEER = "trafilatura"
ARMS = [*OURS, PEER, "trafilatura_fast", "trafilatura_precision", "resiliparse"]
RESAMPLES = 2000
Counts = tuple[float, float, float]  # shingles in both, in the extraction only, in the truth only; as shares of all


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm is not None:
        print(json.dumps(run(options.arm, the_job()["texts"])))
        return
    if not FOLDER.is_dir():
        raise SystemExit(f"{FOLDER} is not there: the pages of article-extraction-benchmark are needed")
    runs: list[dict[str, Any]] = []
    texts: dict[str, dict[str, str]] = {}
    for repeat in range(options.repeats):
        for arm in ARMS if repeat % 2 == 0 else reversed(ARMS):
            found = in_process(sys.executable, __file__, arm, {"texts": repeat == 0})
            texts[arm] = found.pop("texts") or texts[arm]
            runs.append({"arm": arm} | found)
            print(f"{arm:22} {found['seconds']:6.2f} s", flush=True)
    truth = {name: page["articleBody"] for name, page in json.loads((FOLDER / "ground-truth.json").read_text()).items()}
    size = sum(len(page.encode()) for page in pages().values())
    figures: dict[str, Any] = {"pages": len(truth), "megabytes": round(size / 1e6, 2), "repeats": options.repeats}
    matches = {arm: {name: match(text, texts[arm][name]) for name, text in truth.items()} for arm in ARMS}
    for arm in ARMS:
        seconds = median([one for one in runs if one["arm"] == arm], "seconds")
        figures[arm] = quality(matches[arm], matches[PEER]) | {
            "seconds": round(seconds, 3),
            "pages_per_second": round(len(truth) / seconds, 1),
            "megabytes_per_second": round(size / 1e6 / seconds, 2),
        }
    for arm in ARMS:
        figures[arm]["speed_ratio"] = round(figures[PEER]["seconds"] / figures[arm]["seconds"], 2)
        print(f"{arm}: {figures[arm]}")
    figures["versions"] = {name: version(name) for name in ("trafilatura", "resiliparse", "lxml")}
    store("extract", figures | {"runs": runs})


def pages() -> dict[str, str]:
    """The pages' source by id."""
    return {
        file.name.partition(".")[0]: gzip.decompress(file.read_bytes()).decode() for file in sorted(FOLDER.glob("html/*.html.gz"))
    }


def run(arm: str, with_texts: bool) -> dict[str, Any]:
    one, given = extractor(arm), pages()
    first = next(iter(given.values()))
    one(first)
    if arm == "two_step":
        extractor("careful")(first)  # which the first page alone may not load
    began = time.process_time()
    texts = {name: one(page) for name, page in given.items()}
    seconds = time.process_time() - began
    return {"seconds": seconds, "texts": texts if with_texts else None}


def extractor(arm: str) -> Callable[[str], str]:
    if arm in OURS:
        from metier.engines.data.extract import extract

        return lambda page: extract(page, how=arm)  # type: ignore[arg-type]
    if arm == "resiliparse":
        from resiliparse.extract.html2text import extract_plain_text

        return lambda page: extract_plain_text(
            page,
            preserve_formatting=True,
            main_content=True,
            list_bullets=False,
            alt_texts=False,
            comments=False,
            post_meta=False,
        )
    import trafilatura

    extra = {"trafilatura_fast": {"fast": True}, "trafilatura_precision": {"favor_precision": True}}.get(arm, {})
    return lambda page: trafilatura.extract(page, include_comments=False, **extra) or ""


def shingles(text: str) -> Counter[tuple[str, ...]]:
    words = re.findall(r"\w+", text)
    return Counter(tuple(words[start : start + 4]) for start in range(max(1, len(words) - 3)) if words)


def match(truth: str, found: str) -> Counts:
    right, ours = shingles(truth), shingles(found)
    counts = (right & ours).total(), (ours - right).total(), (right - ours).total()
    return tuple(count / max(1, sum(counts)) for count in counts)  # type: ignore[return-value]


def scores(matches: list[Counts]) -> tuple[float, float, float]:
    """F1, precision and recall over pages."""
    precision = statistics.mean(both / (both + more) for both, more, _ in matches if both + more > 0)
    recall = statistics.mean(both / (both + less) for both, _, less in matches if both + less > 0)
    return 2 * precision * recall / (precision + recall), precision, recall


def quality(ours: dict[str, Counts], peer: dict[str, Counts]) -> dict[str, Any]:
    generator, names = random.Random(0), sorted(ours)
    found, apart = [], []
    for _ in range(RESAMPLES):
        sample = generator.choices(names, k=len(names))
        found.append(scores([ours[name] for name in sample])[0])
        apart.append(found[-1] - scores([peer[name] for name in sample])[0])
    f1, precision, recall = scores(list(ours.values()))
    developed = [name for name in names if name[0] < "8"]
    return {
        "f1": round(f1, 4),
        "f1_interval": interval(found),
        "f1_minus_trafilatura_interval": interval(apart),
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "f1_developed_on": round(scores([ours[name] for name in developed])[0], 4),
        "f1_held_out": round(scores([ours[name] for name in names if name not in developed])[0], 4),
    }


def interval(values: list[float]) -> list[float]:
    ordered = sorted(values)
    return [round(ordered[round(share * (len(ordered) - 1))], 4) for share in (0.025, 0.975)]


if __name__ == "__main__":
    main()
