"""What a confined process may use, and the resource limits that hold it to that."""

from __future__ import annotations

from dataclasses import dataclass

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Limits of one confined process. Raises ValueError for one that no process could live with.

    wall_seconds: from the moment the process is confined, then it is killed
    cpu_seconds: whole seconds of processor time, then the kernel kills it
    memory_bytes: address space, the interpreter's own 30 MiB included
    file_bytes: size of one file
    disk_bytes, num_files: of all files in its folder; looked at twenty times a second, then it is killed
    open_files: file descriptors
    output_bytes: of what it prints; the rest is thrown away
    message_bytes: of one call or answer; a longer one ends the process
    """

    wall_seconds: float = 5.0
    cpu_seconds: int = 5
    memory_bytes: int = 512 * MEBIBYTE
    file_bytes: int = 8 * MEBIBYTE
    disk_bytes: int = 32 * MEBIBYTE
    num_files: int = 200
    open_files: int = 32
    output_bytes: int = 64 << 10
    message_bytes: int = MEBIBYTE

    def __post_init__(self) -> None:
        if not 0 < self.wall_seconds <= 3600:
            raise ValueError(f"wall_seconds={self.wall_seconds}: give more than 0 and at most 3600")
        if self.cpu_seconds < 1:
            raise ValueError(f"cpu_seconds={self.cpu_seconds}: the kernel counts whole seconds; give 1 or more")
        if self.memory_bytes < 64 * MEBIBYTE:
            raise ValueError(f"memory_bytes={self.memory_bytes}: the interpreter itself needs 64 MiB; give more")
        if self.open_files < 16:
            raise ValueError(f"open_files={self.open_files}: imports need some; give 16 or more")
        for name in ("file_bytes", "disk_bytes", "num_files", "output_bytes", "message_bytes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} is negative: give 0 or more")
