"""System calls that Python has no function for. Each raises OSError as the kernel says; no judgement here."""

import ctypes
import os
import platform
import struct

from jupyter_hpcsec.ops.attack.values import not_tried

libc = ctypes.CDLL(None, use_errno=True)

# Numbers from 424 on are the same on every architecture (linux/scripts/syscall.tbl).
# fmt: off
COMMON = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "open_tree": 428, "move_mount": 429, "fsopen": 430,
    "clone3": 435, "pidfd_getfd": 438, "mount_setattr": 442,
}
NUMBERS = {
    "x86_64": {
        **COMMON,
        "shmat": 30, "clone": 56, "msgrcv": 70, "ptrace": 101, "syslog": 103, "pivot_root": 155,
        "mount": 165, "umount2": 166, "swapon": 167, "reboot": 169, "sethostname": 170, "init_module": 175,
        "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272, "move_pages": 279,
        "perf_event_open": 298, "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308,
        "process_vm_readv": 310, "kcmp": 312, "renameat2": 316, "seccomp": 317, "bpf": 321, "userfaultfd": 323,
    },
    "aarch64": {
        **COMMON,
        "umount2": 39, "mount": 40, "pivot_root": 41, "unshare": 97, "kexec_load": 104,
        "init_module": 105, "syslog": 116, "ptrace": 117, "reboot": 142, "sethostname": 161, "msgrcv": 188,
        "shmat": 196, "add_key": 217, "request_key": 218, "keyctl": 219, "clone": 220, "swapon": 224,
        "move_pages": 239, "perf_event_open": 241, "name_to_handle_at": 264, "open_by_handle_at": 265, "setns": 268,
        "process_vm_readv": 270, "kcmp": 272, "renameat2": 276, "seccomp": 277, "bpf": 280, "userfaultfd": 282,
    },
}
# fmt: on

AT_FDCWD = -100
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x20000, 0x10000000, 0x40000000


def syscall(name: str, *words: object) -> int:
    """One system call by name."""
    numbers = NUMBERS.get(platform.machine())
    if numbers is None:
        not_tried(f"the numbers of system calls on {platform.machine()} machines are not known to the suite")
    ctypes.set_errno(0)
    result = int(libc.syscall(ctypes.c_long(numbers[name]), *map(_word, words)))
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _word(word: object) -> object:
    """Integers fill a register; ctypes would pass 32 bits."""
    if isinstance(word, int):
        return ctypes.c_long(word)
    return os.fsencode(word) if isinstance(word, os.PathLike) else word


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """mount(2)."""
    syscall("mount", source.encode(), target.encode(), kind.encode(), flags, options.encode())


def alone_with(flags: int) -> None:
    """New namespaces for this process; with a new user namespace it is itself there, mapped to its own ids."""
    uid, gid = os.geteuid(), os.getegid()
    syscall("unshare", flags)
    if flags & CLONE_NEWUSER:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - one write, as it has to be
                file.write(text)


def open_counter(pid: int, processor: int) -> int:
    """perf_event_open(2) of the cpu-clock, without the kernel's own events (``struct perf_event_attr``)."""
    attributes = bytearray(struct.pack("=IIQ", 1, 112, 0) + bytes(96))
    struct.pack_into("=Q", attributes, 40, 0b1100001)  # disabled, exclude_kernel, exclude_hv
    return syscall("perf_event_open", bytes(attributes), pid, processor, -1, 0)


def link_followed(source: str, target: str) -> None:
    """linkat(2) with AT_SYMLINK_FOLLOW, which os.link does not pass."""
    if libc.linkat(AT_FDCWD, source.encode(), AT_FDCWD, target.encode(), 0x400) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
