"""Settings of the whole suite."""

import os

from hypothesis import settings

# Machines here are slow and shared: no deadlines; derandomised, so that a failure is the same for everyone.
settings.register_profile("metier", deadline=None, max_examples=40, derandomize=True, database=None)
settings.load_profile("metier")

# One thread a process: tiny models are too small for two, and threads that wait for each other crawl beside other work.
for name, value in {
    "DAFT_PROGRESS_BAR": "0",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
}.items():
    os.environ.setdefault(name, value)
