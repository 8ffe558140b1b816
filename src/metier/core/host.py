"""Facts of the machine and the installed packages, kept beside every result."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any

PACKAGES = ("metier", "torch", "transformers", "accelerate", "peft", "daft", "pyarrow", "tokenizers", "numpy", "scipy")


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide results; packages that are not installed are left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def facts() -> dict[str, Any]:
    """platform, processor (its name), cores (usable by this process), memory_bytes, gpu (name, or None)."""
    import psutil

    return {
        "platform": platform.platform(aliased=True, terse=True),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpu": _gpu(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpu() -> str | None:
    torch = sys.modules.get("torch")  # a stage that never imported torch did not use a GPU, and importing it costs seconds
    if torch is None or not torch.cuda.is_available():
        return None
    return str(torch.cuda.get_device_name())
