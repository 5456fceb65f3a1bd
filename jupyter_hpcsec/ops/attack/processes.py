"""Attempts on processes outside: the agent, the server, any that was named. None of them is stopped or changed.

Each attempt goes to every process that is known; one that gets through is enough.
"""

import ctypes
import errno
import os
import resource
import signal
import struct
from collections.abc import Callable
from pathlib import Path

from jupyter_hpcsec.ops.attack import native
from jupyter_hpcsec.ops.attack.making import DENIED, attempt, beyond, collect, descriptor, need, opened
from jupyter_hpcsec.ops.attack.targets import Targets, Victim
from jupyter_hpcsec.ops.attack.values import Group, Stop, not_tried

TRACE = {Stop.LANDLOCK: 1}
"""From its first version Landlock lets nobody look into a process that is less restricted."""
SIGNAL = {Stop.LANDLOCK: 6}
CALL = {Stop.SECCOMP: 0}
PTRACE_SEIZE = 0x4206


def on_each(t: Targets, act: Callable[[Victim], str]) -> str:
    """What came of the first process that it succeeds on, else the first refusal."""
    refusal: OSError | None = None
    for victim in t.victims:
        try:
            return f"{victim.role} ({victim.pid}): {act(victim)}"
        except OSError as error:
            refusal = refusal or OSError(error.errno, f"{victim.role} ({victim.pid}): {error.strerror}")
    if refusal is None:
        not_tried("no process outside is known: it may be hidden; name one with --pid")
    raise refusal


def proc(name: str) -> Callable[[Victim], str]:
    """Open one file of a process and read."""
    return lambda victim: opened(f"/proc/{victim.pid}/{name}")


@attempt(Group.PROCESSES, "environ", "Read its environment", TRACE)
def environ(t: Targets) -> str:
    """Open /proc/PID/environ, where tokens would be."""
    return on_each(t, proc("environ"))


@attempt(Group.PROCESSES, "maps", "Read its memory map", TRACE)
def maps(t: Targets) -> str:
    """Open /proc/PID/maps."""
    return on_each(t, proc("maps"))


@attempt(Group.PROCESSES, "mem", "Open its memory", TRACE)
def mem(t: Targets) -> str:
    """Open /proc/PID/mem for reading and writing, or else for reading."""

    def act(victim: Victim) -> str:
        path = f"/proc/{victim.pid}/mem"
        try:
            with descriptor(path, os.O_RDWR):
                return "opened for reading and writing"
        except OSError:
            with descriptor(path, os.O_RDONLY):
                return "opened for reading"

    return on_each(t, act)


@attempt(Group.PROCESSES, "fd-list", "Look where its descriptors lead", TRACE)
def list_descriptors(t: Targets) -> str:
    """Follow /proc/PID/fd/0 by readlink(2)."""

    def act(victim: Victim) -> str:
        os.readlink(f"/proc/{victim.pid}/fd/0")  # noqa: PTH115 - a magic link
        return "it was told"

    return on_each(t, act)


@attempt(Group.PROCESSES, "fd-open", "Open its descriptors", TRACE)
def open_descriptor(t: Targets) -> str:
    """Open /proc/PID/fd/0 with O_PATH."""

    def act(victim: Victim) -> str:
        with descriptor(f"/proc/{victim.pid}/fd/0", os.O_PATH):
            return "opened its descriptor 0"

    return on_each(t, act)


@attempt(Group.PROCESSES, "cwd", "Look where it works", TRACE)
def current_directory(t: Targets) -> str:
    """Follow /proc/PID/cwd, which leads into its file tree."""

    def act(victim: Victim) -> str:
        os.readlink(f"/proc/{victim.pid}/cwd")  # noqa: PTH115 - a magic link
        return "its current directory was told"

    return on_each(t, act)


@attempt(Group.PROCESSES, "root", "Read a denied file by its root", TRACE)
def root(t: Targets) -> str:
    """Go through /proc/PID/root to the file tree as it is outside, and read there."""
    return on_each(t, lambda victim: opened(f"/proc/{victim.pid}/root{need(t.denied, DENIED)}"))


@attempt(Group.PROCESSES, "ptrace", "Trace it", TRACE)
def ptrace(t: Targets) -> str:
    """PTRACE_SEIZE, which does not stop it; the end of this process lets it go."""

    def act(victim: Victim) -> str:
        native.syscall("ptrace", PTRACE_SEIZE, victim.pid, 0, 0)
        return "traced"

    return on_each(t, act)


@attempt(Group.PROCESSES, "read-memory", "Read its memory by process_vm_readv", TRACE)
def read_memory(t: Targets) -> str:
    """Read at an address that nothing has: allowed, it ends in 'Bad address'."""

    def act(victim: Victim) -> str:
        local = ctypes.create_string_buffer(8)
        here = struct.pack("=QQ", ctypes.addressof(local), 8)
        there = struct.pack("=QQ", 8, 8)
        try:
            native.syscall("process_vm_readv", victim.pid, here, 1, there, 1, 0)
        except OSError as error:
            if error.errno != errno.EFAULT:
                raise
        return "allowed"

    return on_each(t, act)


@attempt(Group.PROCESSES, "get-fd", "Take one of its descriptors", TRACE)
def take_descriptor(t: Targets) -> str:
    """pidfd_getfd of its descriptor 0."""

    def act(victim: Victim) -> str:
        pidfd = os.pidfd_open(victim.pid)
        try:
            os.close(native.syscall("pidfd_getfd", pidfd, 0, 0))
        finally:
            os.close(pidfd)
        return "took a copy of its descriptor 0"

    return on_each(t, act)


@attempt(Group.PROCESSES, "compare", "Compare kernel objects with it", TRACE)
def compare(t: Targets) -> str:
    """kcmp(2): tells whether two processes share memory, files, or descriptors."""

    def act(victim: Victim) -> str:
        native.syscall("kcmp", os.getpid(), victim.pid, 1, 0, 0)
        return "compared"

    return on_each(t, act)


@attempt(Group.PROCESSES, "move-pages", "Ask where its memory lies", TRACE)
def move_pages(t: Targets) -> str:
    """move_pages(2) without a target: tells of each page on which memory node it is."""

    def act(victim: Victim) -> str:
        page, status = struct.pack("=Q", 4096), ctypes.create_string_buffer(4)
        native.syscall("move_pages", victim.pid, 1, page, 0, status, 0)
        return "told"

    return on_each(t, act)


@attempt(Group.PROCESSES, "signal", "Signal it", SIGNAL)
def signal_it(t: Targets) -> str:
    """kill(2) with signal 0, which asks for the right and sends nothing."""

    def act(victim: Victim) -> str:
        os.kill(victim.pid, 0)
        return "could be killed"

    return on_each(t, act)


@attempt(Group.PROCESSES, "signal-pidfd", "Signal it by a descriptor", SIGNAL)
def signal_by_descriptor(t: Targets) -> str:
    """pidfd_send_signal(2) with signal 0."""

    def act(victim: Victim) -> str:
        pidfd = os.pidfd_open(victim.pid)
        try:
            signal.pidfd_send_signal(pidfd, 0)
        finally:
            os.close(pidfd)
        return "could be killed"

    return on_each(t, act)


@attempt(Group.PROCESSES, "signal-group", "Signal its process group", SIGNAL)
def signal_group(t: Targets) -> str:
    """kill(2) of its group with signal 0."""

    def act(victim: Victim) -> str:
        group = os.getpgid(victim.pid)
        if group == os.getpgrp():
            not_tried("it is in the suite's own group")
        os.killpg(group, 0)
        return "the group could be killed"

    return on_each(t, act)


@attempt(Group.PROCESSES, "limits", "Set its limits", CALL)
def limits(t: Targets) -> str:
    """prlimit(2) with the limits that it has; a limit of one second of CPU would end it, without any signal sent."""

    def act(victim: Victim) -> str:
        found = resource.prlimit(victim.pid, resource.RLIMIT_CPU)
        resource.prlimit(victim.pid, resource.RLIMIT_CPU, found)
        return "its CPU limit could be set"

    return on_each(t, act)


@attempt(Group.PROCESSES, "oom-score", "Offer it to the out-of-memory killer", {Stop.MOUNTS: 0, Stop.LANDLOCK: 1})
def out_of_memory_score(t: Targets) -> str:
    """Open /proc/PID/oom_score_adj for writing."""

    def act(victim: Victim) -> str:
        with descriptor(f"/proc/{victim.pid}/oom_score_adj", os.O_WRONLY):
            return "opened for writing"

    return on_each(t, act)


@attempt(Group.PROCESSES, "perf", "Count its events", TRACE)
def perf(t: Targets) -> str:
    """perf_event_open(2) on it, without the kernel's own events: enough for timing side channels."""

    def act(victim: Victim) -> str:
        os.close(native.open_counter(victim.pid, -1))
        return "a counter was opened"

    return on_each(t, act)


@attempt(Group.PROCESSES, "shared-memory", "Attach System V shared memory", {Stop.IPC: 0})
def shared_memory(t: Targets) -> str:
    """Attach, for reading, a segment of the same user outside."""
    number = next(iter([t.memory] if t.memory is not None else _of_user("shm", os.geteuid())), None)
    native.syscall("shmat", need(number, "no segment of this user is known; name one with --shm"), 0, 0o10000)
    return "attached"


@attempt(Group.PROCESSES, "message-queue", "Read a System V message queue", {Stop.IPC: 0})
def message_queue(t: Targets) -> str:
    """Ask a queue of the same user outside for a message of a type that none has: allowed, it ends in 'no message'."""
    number = next(iter([t.queue] if t.queue is not None else _of_user("msg", os.geteuid())), None)
    queue = need(number, "no queue of this user is known; name one with --queue")
    no_wait, room = 0o4000, ctypes.create_string_buffer(64)
    return beyond(lambda: native.syscall("msgrcv", queue, room, 8, 2**40, no_wait), errno.ENOMSG)


def _of_user(kind: str, uid: int) -> list[int]:
    """Numbers of a user's System V objects that are to be seen (proc_sysvipc(5): key, id, …, uid in the eighth)."""
    rows = [line.split() for line in Path(f"/proc/sysvipc/{kind}").read_text(encoding="ascii").splitlines()[1:]]
    return [int(row[1]) for row in rows if int(row[7]) == uid]


ATTEMPTS = collect(vars())
