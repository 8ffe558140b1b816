"""A fence around the file system for this process: it reads Python's own library and reads and writes one folder.

Landlock is the kernel's access control for processes without privileges (Linux 5.13 and later, where it is switched on). Under it nothing outside
the folder can be written, made, renamed, removed or cut, and nothing but the standard library and the system's shared libraries read: not the
home, not /proc, not a data set. From its fourth version it also refuses TCP, from its sixth signals to other processes.

In the folder only plain files can be made, no folders and no links: it stays flat, so that counting and removing what is in it cannot be made
a trap. Source: man 7 landlock; linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on every processor
PATH_BENEATH, ASK_VERSION = 1, 1
WRITE_FILE, READ_FILE, READ_DIR, REMOVE_FILE, MAKE_REG, TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 5, 1 << 8, 1 << 14
ALL_OF_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
TCP, SCOPES = 0b11, 0b11
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
OTHER_PACKAGES = ("site-packages", "dist-packages")


def version() -> int:
    """The kernel's version of Landlock, 0 where there is none or it is switched off."""
    if sys.platform != "linux":
        return 0
    return max(0, int(ctypes.CDLL(None).syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ASK_VERSION)))


def fence(folder: Path) -> None:
    """Restricts this process to reading Python's library and to `folder`. Raises OSError where the kernel refuses.

    Needs no_new_privs to be set.
    """
    found = version()
    handled = ALL_OF_VERSION[min(found, 5)]
    attributes = [handled, *([TCP] if found >= 4 else []), *([SCOPES] if found >= 6 else [])]
    packed = struct.pack(f"{len(attributes)}Q", *attributes)
    ruleset = _call(CREATE_RULESET, packed, ctypes.c_size_t(len(packed)), 0)
    for path, access in _rules(folder):
        _allow(ruleset, path, access & handled)
    _call(RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _rules(folder: Path) -> Iterator[tuple[Path, int]]:
    yield folder, READ_FILE | READ_DIR | WRITE_FILE | REMOVE_FILE | MAKE_REG | TRUNCATE
    yield Path("/dev/null"), READ_FILE | WRITE_FILE | TRUNCATE
    yield Path("/dev/urandom"), READ_FILE
    yield Path("/usr/share/zoneinfo"), READ_FILE | READ_DIR
    yield Path("/etc/ld.so.cache"), READ_FILE
    for library in {Path(path).resolve() for path in sys.path if Path(path).is_dir()}:
        yield (
            library,
            READ_DIR,
        )  # imports list it; what is read below is allowed entry by entry, without packages that may hold anything
        for entry in sorted(library.iterdir()):
            if entry.name not in OTHER_PACKAGES:
                yield entry, READ_FILE
    for name in LIBRARIES:
        shared = Path(name)
        yield from ((file, READ_FILE) for file in shared.glob("*.so*"))
        yield from ((entry, READ_FILE) for entry in shared.glob("*-linux-gnu*"))


def _allow(ruleset: int, path: Path, access: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # not on this system
        return
    try:
        if not path.is_dir():
            access &= READ_FILE | WRITE_FILE | TRUNCATE
        _call(ADD_RULE, ruleset, PATH_BENEATH, struct.pack("=Qi", access, handle), 0)
    finally:
        os.close(handle)


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    answer = int(libc.syscall(number, *arguments))
    if answer < 0:
        raise OSError(ctypes.get_errno(), f"Landlock refused a fence: {os.strerror(ctypes.get_errno())}")
    return answer
