"""A process with limits, without privileges and, where the kernel permits it, without a network to see.

Modules that a confined process imports are few and light: it is started for every run, and its imports are most of what a run costs.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
from collections.abc import Mapping
from pathlib import Path

NEW_USER, NEW_NETWORK, NEW_IPC = 0x10000000, 0x40000000, 0x08000000
PR_SET_KEEPCAPS, PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, SIGKILL = 8, 1, 38, 9
CAPABILITY_VERSION, READ_ANYTHING = 0x20080522, 2  # CAP_DAC_READ_SEARCH
NOBODY = 65534


def limit_resources(limits: Mapping[str, int]) -> None:
    """Sets the limits (fields of limits.Limits) on this process, soft and hard, so that it cannot raise them again.

    No process and no thread can be started: RLIMIT_NPROC counts all of a user's processes, so any other number would depend on what else
    runs on the machine.
    """
    values = {
        resource.RLIMIT_CPU: limits["cpu_seconds"],
        resource.RLIMIT_AS: limits["memory_bytes"],
        resource.RLIMIT_FSIZE: limits["file_bytes"],
        resource.RLIMIT_NOFILE: limits["open_files"],
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    for name, value in values.items():
        hard = resource.getrlimit(name)[1]
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (allowed, allowed))


def own_network() -> bool:
    """Moves this process to a network namespace of its own, which holds no device; True when the kernel permitted it.

    Root moves as it is. Others need a user namespace as well, in which their user number stays what it is.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    if user == 0 and libc.unshare(NEW_NETWORK | NEW_IPC) == 0:
        return True
    if libc.unshare(NEW_USER | NEW_NETWORK | NEW_IPC) != 0:
        return False
    own = Path("/proc/self")
    (own / "setgroups").write_text("deny")
    (own / "uid_map").write_text(f"{user} {user} 1")
    (own / "gid_map").write_text(f"{group} {group} 1")
    return True


def drop_privileges(folder: Path, parent: int) -> str:
    """Makes root the user nobody (who is given `folder`) and takes all capabilities from anyone; says whose rights remain.

    One capability stays where nobody could not read Python's library (an interpreter below /root): that of reading any file, which the
    fence around the file system then narrows to the library. From here on nothing this process does can give it privileges, and it
    dies with the process that started it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    keep = 0
    if os.geteuid() == 0 and _become_nobody(folder):
        keep = 0 if os.access(os.__file__, os.R_OK) else 1 << READ_ANYTHING
    header, sets = struct.pack("Ii", CAPABILITY_VERSION, 0), struct.pack("6I", keep, keep, 0, 0, 0, 0)
    _check(libc.capset(header, sets), "capset")
    _check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    _check(libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "prctl")
    if os.getppid() != parent:
        raise OSError("the process that asked for this run has ended")
    return f"user {os.geteuid()}" + (", may read Python's library" if keep else "")


def _become_nobody(folder: Path) -> bool:
    """False in a container that knows no such user: root stays root there, without a capability."""
    _check(ctypes.CDLL(None).prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "prctl")
    try:
        os.chown(folder, NOBODY, NOBODY)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError:
        return False
    return True


def _check(answer: int, name: str) -> None:
    if answer != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
