"""A confined process as its parent sees it: lines in, lines out, limits watched from outside, and an end that is certain.

The parent never waits for the process: what it writes and reads goes through buffers, of bounded size, that `pump` moves. Whatever comes from the
process is the word of untrusted code, all but its first line, which the confining code sends before anything untrusted runs.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from metier.engines.sandbox.limits import Limits

START = "import sys; sys.path.insert(0, sys.argv[1]); from metier.engines.sandbox.child import main; main()"
SOURCE = str(Path(__file__).parents[3])
START_SECONDS = 60.0  # for the interpreter to start and confine itself, on a busy machine
LOOK_SECONDS = 0.05  # between two looks at the clock and the folder
CHUNK = 1 << 16


@dataclass(frozen=True)
class Ending:
    """How a process ended. outcome: done, timeout, memory or killed"""

    outcome: str
    message: str


class Process:
    """One confined process; a context manager, after which it is gone and its folder too.

    lines: what it said and nobody took yet. barriers: what confines it, once it runs. ended: None while it runs. output: what it printed,
    cut at the limit. cpu_seconds: known once it ended.
    Raises RuntimeError in `pump` where the machine offers no barrier: nothing untrusted has run then.
    """

    def __init__(self, task: Mapping[str, Any], limits: Limits, *, hash_seed: int = 0, namespaces: bool = True) -> None:
        self.lines: deque[dict[str, Any]] = deque()
        self.barriers: list[str] | None = None
        self.ended: Ending | None = None
        self.cpu_seconds = 0.0
        self._limits, self._printed, self._incoming, self._outgoing = limits, bytearray(), bytearray(), bytearray()
        self._deadline, self._looked = time.monotonic() + START_SECONDS, 0.0
        self._folder = Path(tempfile.mkdtemp(prefix="metier-sandbox-"))
        self._answers, theirs = os.pipe()
        environment = {
            "PYTHONHASHSEED": str(hash_seed),
            "HOME": str(self._folder),
            "TMPDIR": str(self._folder),
            "LANG": "C.UTF-8",
        }
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-s", "-B", "-P", "-c", START, SOURCE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs,),
                cwd=self._folder,
                env=environment,
                start_new_session=True,
            )
        except OSError:
            os.close(self._answers)
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        finally:
            os.close(theirs)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._prints = self._process.stdin.fileno(), self._process.stdout.fileno()
        for descriptor in (self._requests, self._prints, self._answers):
            os.set_blocking(descriptor, False)
        self.send(
            {
                **task,
                "limits": asdict(limits),
                "answers": theirs,
                "folder": str(self._folder),
                "parent": os.getpid(),
                "source": SOURCE,
                "namespaces": namespaces,
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end("done", "")
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        os.close(self._answers)
        shutil.rmtree(self._folder, ignore_errors=True)  # flat, see landlock.py

    @property
    def output(self) -> str:
        return self._printed.decode("utf-8", "replace")

    def send(self, message: Mapping[str, Any]) -> None:
        try:
            self._outgoing += json.dumps(message).encode() + b"\n"
        except RecursionError:
            self.end("killed", "what it was to be sent is nested too deeply")

    def end(self, outcome: str, message: str) -> None:
        """Kills the process, all that could be of it, and waits for its death."""
        if self.ended is not None:
            return
        os.killpg(self._process.pid, signal.SIGKILL)
        self._bury(os.wait4(self._process.pid, 0))
        self.ended = Ending(outcome, message)

    def wanted(self) -> dict[int, int]:
        """Descriptors to poll, with what for. No further line is read before the last one was taken."""
        if self.ended is not None:
            return {}
        wanted = {self._prints: select.POLLIN} if self._prints >= 0 else {}
        if not self.lines:
            wanted[self._answers] = select.POLLIN
        if self._outgoing:
            wanted[self._requests] = select.POLLOUT
        return wanted

    def move(self, ready: Mapping[int, int]) -> None:
        """Reads and writes what is ready, then looks at the clock and the folder."""
        if self._prints in ready:
            self._read_prints()
        if self._requests in ready and self.ended is None:
            self._write()
        if self._answers in ready and self.ended is None:
            self._read_answers()
        if self.ended is None:
            self._look()

    def _read_prints(self) -> None:
        try:
            printed = os.read(self._prints, CHUNK)
        except BlockingIOError:
            return
        if not printed:
            self._prints = -1
        self._printed += printed[: self._limits.output_bytes - len(self._printed)]

    def _write(self) -> None:
        try:
            written = os.write(self._requests, self._outgoing[:CHUNK])
        except BlockingIOError:
            return
        except BrokenPipeError:
            written = len(self._outgoing)  # it reads no more; how it ended comes with its last answer
        del self._outgoing[:written]

    def _read_answers(self) -> None:
        try:
            read = os.read(self._answers, CHUNK)
        except BlockingIOError:
            return
        if not read:
            self._find_out()
            return
        self._incoming += read
        *whole, rest = self._incoming.split(b"\n")
        self._incoming = bytearray(rest)
        if max(map(len, (*whole, rest))) > self._limits.message_bytes:
            self.end("killed", f"it sent more than {self._limits.message_bytes} bytes at once")
            return
        for line in whole:
            if self.ended is None:
                self._take(bytes(line))

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            self.end("killed", "it wrote to the descriptor of its answers")
        elif self.barriers is not None:
            self.lines.append(message)
        elif "refused" in message:
            reason = message["refused"]
            self.end("killed", reason)
            raise RuntimeError(
                f"untrusted code cannot be confined on this machine, so it is not run: {reason}. Run it in a virtual machine"
            )
        else:
            self.barriers = message["ready"]
            self._deadline = time.monotonic() + self._limits.wall_seconds

    def _find_out(self) -> None:
        """It closed its answers: it ended, or is about to, or pretends to."""
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            gone = os.wait4(self._process.pid, os.WNOHANG)
            if gone[0]:
                self._bury(gone)
                break
            time.sleep(0.002)
        else:
            self.end("killed", "it closed the descriptor of its answers")
            return
        code = self._process.returncode
        if self.barriers is None:
            self.ended = Ending("killed", "it could not start")
            raise RuntimeError(
                f"the confined interpreter {sys.executable} ended with {code} before it was confined: {self.output[-500:]}"
            )
        if code is not None and code < 0:
            by_time = -code in (signal.SIGKILL, signal.SIGXCPU) and self.cpu_seconds > self._limits.cpu_seconds - 0.5
            self.ended = Ending(
                *("timeout", "processor time") if by_time else ("killed", f"it died of {signal.Signals(-code).name}")
            )
        else:
            self.ended = Ending("done", f"it ended with {code}")

    def _bury(self, gone: tuple[int, int, Any]) -> None:
        _, status, used = gone
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_seconds = used.ru_utime + used.ru_stime

    def _look(self) -> None:
        now = time.monotonic()
        if now > self._deadline:
            what = f"{self._limits.wall_seconds} s" if self.barriers is not None else f"{START_SECONDS} s before it was confined"
            self.end("timeout", what)
        elif now - self._looked > LOOK_SECONDS:
            self._looked = now
            sizes = _sizes(self._folder, most=self._limits.num_files + 1)
            if len(sizes) > self._limits.num_files or sum(sizes) > self._limits.disk_bytes:
                self.end("killed", f"{len(sizes)} files of {sum(sizes)} bytes in its folder")


def _sizes(folder: Path, most: int) -> list[int]:
    """Bytes of the first `most` files of a flat folder, while files come and go."""
    sizes: list[int] = []
    with os.scandir(folder) as entries:
        for entry in itertools.islice(entries, most):
            with contextlib.suppress(FileNotFoundError):
                sizes.append(entry.stat(follow_symlinks=False).st_size)
    return sizes


def pump(processes: Sequence[Process], timeout: float = LOOK_SECONDS) -> None:
    """Moves what can be moved, waiting for something to move at most `timeout` seconds."""
    poll = select.poll()
    for process in processes:
        for descriptor, events in process.wanted().items():
            poll.register(descriptor, events)
    ready = dict(poll.poll(timeout * 1000))
    for process in processes:
        if process.ended is None:
            process.move(ready)
