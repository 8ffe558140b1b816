"""Where steps over tables run: in this process, or on the workers of a Ray cluster. The code of the steps is the same."""

from __future__ import annotations

import os
from importlib.util import find_spec

LOCAL = "local"


def use_cluster(address: str) -> None:
    """From now on Daft runs on Ray: "local" for workers on this machine, or ray://host:port, or host:port, of a cluster.

    To be called before anything is read: Daft chooses once in a process. The workers import metier, so it must be installed there, and
    they read and write the run folder, so it must lie where all of them see it. Raises ValueError for an address of another form,
    ImportError without the `cluster` extra, ConnectionError where no cluster answers.
    """
    if address != LOCAL and (":" not in address or ("://" in address and not address.startswith("ray://"))):
        raise ValueError(f"--cluster {address}: give local, or the address of a Ray cluster, such as ray://head:10001")
    if find_spec("ray") is None:
        raise ImportError("a cluster needs Ray: pip install 'metier[cluster]'")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a worker without a GPU keeps what the user set
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # the library calls nobody
    import daft
    import ray

    try:
        if not ray.is_initialized():
            where = None if address == LOCAL else address
            ray.init(address=where, log_to_driver=False, include_dashboard=False, logging_level="error")
    except (ConnectionError, OSError, RuntimeError) as error:
        raise ConnectionError(f"no Ray cluster answers at {address}: {error}") from error
    daft.set_runner_ray(noop_if_initialized=True)
