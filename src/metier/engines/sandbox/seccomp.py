"""A filter of system calls for this process: what Python needs to compute and to use its own files, and nothing else.

A list of what is allowed, not of what is forbidden, so that a call the kernel learns tomorrow is refused. What is missing on purpose: sockets
(no network), clone and exec (no processes, no threads), kill and its relatives, ptrace, mount, io_uring, shared memory and message queues that
outlive a process, and all that changes a file's mode, owner, times or attributes, which Landlock does not cover.

Refused calls answer EPERM. The filter needs no privileges, and cannot be taken off again. Source: man 2 seccomp; struct sock_filter in
linux/filter.h.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import NamedTuple

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000 | 1, 0x80000000  # REFUSE answers error 1, EPERM
LOAD, EQUAL, AND, RETURN = 0x20, 0x15, 0x54, 0x06
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16  # offsets in struct seccomp_data
TRUNCATE = 0x200  # O_TRUNC


class Condition(NamedTuple):
    """The call is allowed when (argument & mask) is one of `values`; only the argument's low 32 bits, which is all the kernel reads here."""

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF


# Opening to truncate without opening to write escapes Landlock before its third version.
OPEN_MASK, OPEN_VALUES = 3 | TRUNCATE, (0, 1, 2, 1 | TRUNCATE, 2 | TRUNCATE)
# Neither the owner of a file's signals (it could be sent any signal) nor the size of a pipe.
FCNTL = Condition(1, (0, 1, 2, 3, 4, 5, 6, 7, 1030, 1032))
IOCTL = Condition(1, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451))  # TCGETS TIOCGWINSZ FIONREAD FIONBIO FIONCLEX FIOCLEX
SELF = Condition(0, (0,))


class Machine(NamedTuple):
    """A processor's audit number and its numbers for the calls that are allowed always, and on a condition."""

    audit: int
    always: tuple[int, ...]
    conditions: dict[int, Condition]
    tgkill: int


MACHINES = {
    "x86_64": Machine(
        0xC000003E,
        (
            *(0, 1, *range(3, 16)),  # read write close stat fstat lstat poll lseek mmap ... rt_sigreturn
            *range(17, 29),  # pread64 ... access pipe select sched_yield mremap msync mincore madvise
            *(*range(32, 40), 60, 63, *range(73, 76), *range(77, 82)),  # dup ... getpid exit uname flock ... fchdir
            *(82, 87, 89, 95, 96, 97, 98, 99, 100, 102, 104, 107, 108, 110, 111),  # rename unlink readlink umask ... getpgrp
            *(115, 118, 120, 121, 124, 127, 128, 130, 131, 137, 138, 140, 143, 145, 146, 147, 158),  # getgroups ... arch_prctl
            *(186, 201, 202, 204, 217, 218, 219, 221, 228, 229, 230, 231, 232, 233),  # gettid time futex ... epoll_ctl
            *(262, 263, 264, 267, 269, 270, 271, 273, 281, 290, 291, 292, 293, 295, 296, 309),  # newfstatat unlinkat ... getcpu
            *(316, 318, 324, 332, 334, 436, 439),  # renameat2 getrandom membarrier statx rseq close_range faccessat2
        ),
        {
            2: Condition(1, OPEN_VALUES, OPEN_MASK),
            257: Condition(2, OPEN_VALUES, OPEN_MASK),
            72: FCNTL,
            16: IOCTL,
            302: SELF,  # prlimit64
        },
        tgkill=234,
    ),
    "aarch64": Machine(
        0xC00000B7,
        (
            *(17, *range(19, 25), 32, 35, 38),  # getcwd eventfd2 epoll dup flock unlinkat renameat
            *(43, 44, 46, *range(48, 51), 57, 59),  # statfs fstatfs ftruncate faccessat chdir fchdir close pipe2
            *(61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 72, 73, 78, 79, 80, 82, 83),  # getdents64 lseek read write ... fdatasync
            *(93, 94, 96, 98, 99, 101, 102, 103, 113, 114, 115, 120, 121, 123, 124, 125, 126, 128),  # exit ... restart_syscall
            *(132, 133, 134, 135, 136, 137, 139, 141, 148, 150, 153, 155, 156, 158, 160, 163, 165, 166),  # sigaltstack ... umask
            *(168, 169, 172, 173, 174, 175, 176, 177, 178, 179),  # getcpu gettimeofday getpid ... sysinfo
            *(*range(214, 217), 222, 223, 226, 227, 232, 233),  # brk munmap mremap mmap fadvise64 mprotect ... madvise
            *(276, 278, 283, 291, 293, 436, 439),  # renameat2 getrandom membarrier statx rseq close_range faccessat2
        ),
        {
            56: Condition(2, OPEN_VALUES, OPEN_MASK),
            25: FCNTL,
            29: IOCTL,
            261: SELF,  # prlimit64
        },
        tgkill=131,
    ),
}


def filter_calls() -> None:
    """Puts the filter on this process. Raises OSError where the kernel refuses it, NotImplementedError for a processor not listed."""
    processor = os.uname().machine
    machine = MACHINES.get(processor)
    if machine is None:
        raise NotImplementedError(f"no table of system calls for the processor {processor}; there is one for {sorted(MACHINES)}")
    program = assemble(machine, own_process=os.getpid())
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in [(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, MODE_FILTER, header, 0, 0)]:
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), f"the kernel refused a filter of system calls: {os.strerror(ctypes.get_errno())}")


def assemble(machine: Machine, own_process: int) -> bytes:
    """The filter as instructions of 8 bytes. A call made for another processor's numbers (32-bit code) kills the process."""
    code = [(LOAD, 0, 0, ARCHITECTURE_AT), (EQUAL, 1, 0, machine.audit), (RETURN, 0, 0, KILL), (LOAD, 0, 0, NUMBER_AT)]
    for number in machine.always:
        code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW)]
    conditions = {**machine.conditions, machine.tgkill: Condition(0, (own_process,))}
    for number, condition in conditions.items():
        test = [(LOAD, 0, 0, ARGUMENTS_AT + 8 * condition.argument), (AND, 0, 0, condition.mask)]
        for value in condition.values:
            test += [(EQUAL, 0, 1, value), (RETURN, 0, 0, ALLOW)]
        test.append((RETURN, 0, 0, REFUSE))
        code += [(EQUAL, 0, len(test), number), *test]
    code.append((RETURN, 0, 0, REFUSE))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)
