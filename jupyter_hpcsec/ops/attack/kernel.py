"""Attempts by system calls that a session has no use for. Where one would act, it is called so that it can't.

``beyond`` names the error that comes only after the kernel has allowed the call.
"""

import ctypes
import errno
import mmap
import os
import platform
import struct

from jupyter_hpcsec.access.values import Bind
from jupyter_hpcsec.ops.attack import native
from jupyter_hpcsec.ops.attack.making import attempt, beyond, collect
from jupyter_hpcsec.ops.attack.targets import Targets
from jupyter_hpcsec.ops.attack.values import Group, Stop, not_tried

FILTER = {Stop.SECCOMP: 0}
NO_GUARD = frozenset({Bind.PRIVATE, Bind.UNSAFE_ALLOW})
"""Nobody is asked about listening there."""
POWER = {Stop.CAPABILITIES: 0, Stop.SECCOMP: 0}
RETURN_ALLOW = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
KEY_SESSION = -3


@attempt(Group.SYSCALLS, "bpf", "Load a program into the kernel", POWER, privileged=True)
def bpf(_: Targets) -> str:
    """bpf(2): make a map."""
    os.close(native.syscall("bpf", 0, struct.pack("=4I", 2, 4, 4, 1) + bytes(112), 128))
    return "a map was made"


@attempt(Group.SYSCALLS, "perf", "Count events of the whole node", {Stop.CAPABILITIES: 0}, privileged=True)
def perf(_: Targets) -> str:
    """perf_event_open(2) on a processor, whoever runs there: enough for timing side channels."""
    os.close(native.open_counter(-1, 0))
    return "a counter was opened"


@attempt(Group.SYSCALLS, "userfaultfd", "Handle page faults", FILTER)
def userfaultfd(_: Targets) -> str:
    """userfaultfd(2) for user mode only: it stops the kernel at a chosen moment, a part of many exploits."""
    os.close(native.syscall("userfaultfd", os.O_CLOEXEC | 1))
    return "made"


@attempt(Group.SYSCALLS, "io-uring", "Make system calls by a queue", FILTER)
def io_uring(_: Targets) -> str:
    """io_uring_setup(2): what goes through it, no seccomp filter sees."""
    os.close(native.syscall("io_uring_setup", 1, ctypes.create_string_buffer(120)))
    return "a ring was made"


@attempt(Group.SYSCALLS, "keyring-read", "Read the keyring of the login", FILTER)
def keyring_read(_: Targets) -> str:
    """keyctl(2): list the session keyring, where file systems and Kerberos keep keys."""
    found = native.syscall("keyctl", 11, KEY_SESSION, 0, 0)
    return f"listed {found // 4} keys"


@attempt(Group.SYSCALLS, "keyring-add", "Leave a key in a keyring", FILTER)
def keyring_add(_: Targets) -> str:
    """add_key(2) to the keyring of this process only, which ends with it."""
    native.syscall("add_key", b"user", b"hpcsec-attack", b"x", 1, -2)
    return "added"


@attempt(Group.SYSCALLS, "keyring-request", "Have the kernel start a program for a key", FILTER)
def keyring_request(_: Targets) -> str:
    """request_key(2) for a key that is not there, with nothing to start: allowed, it ends in 'not available'."""
    return beyond(lambda: native.syscall("request_key", b"user", b"hpcsec-attack-none", None, 0), errno.ENOKEY)


@attempt(Group.SYSCALLS, "module", "Load a kernel module", POWER, privileged=True)
def module(_: Targets) -> str:
    """init_module(2) of nothing: allowed, it ends in 'Exec format error'."""
    return beyond(lambda: native.syscall("init_module", bytes(8), 8, b""), errno.ENOEXEC, errno.ENOSYS)


@attempt(Group.SYSCALLS, "kexec", "Start another kernel", POWER, privileged=True)
def kexec(_: Targets) -> str:
    """kexec_load(2) with flags that mean nothing: allowed, it ends in 'Invalid argument'."""
    try:
        return beyond(lambda: native.syscall("kexec_load", 0, 0, 0, 0xFFF0), errno.EINVAL)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            not_tried("this kernel can't start another")
        raise


@attempt(Group.SYSCALLS, "reboot", "Restart the node", POWER, privileged=True)
def reboot(_: Targets) -> str:
    """reboot(2) without the magic number: allowed, it ends in 'Invalid argument'."""
    return beyond(lambda: native.syscall("reboot", 0, 0, 0, 0), errno.EINVAL)


@attempt(Group.SYSCALLS, "swapon", "Add swap space", POWER, privileged=True)
def swapon(_: Targets) -> str:
    """swapon(2) of no address: allowed, it ends in 'Bad address'."""
    return beyond(lambda: native.syscall("swapon", 0, 0), errno.EFAULT)


@attempt(Group.SYSCALLS, "hostname", "Rename the node", POWER, privileged=True)
def hostname(_: Targets) -> str:
    """sethostname(2) with a negative length: allowed, it ends in 'Invalid argument'."""
    return beyond(lambda: native.syscall("sethostname", b"", -1), errno.EINVAL)


@attempt(Group.SYSCALLS, "kernel-log", "Read the kernel's log", POWER, privileged=True)
def kernel_log(_: Targets) -> str:
    """syslog(2): read what is there."""
    native.syscall("syslog", 3, ctypes.create_string_buffer(64), 64)
    return "read"


@attempt(Group.SYSCALLS, "second-guard", "Answer for the sandbox's own guard", FILTER, lawful=NO_GUARD)
def second_guard(_: Targets) -> str:
    """Install a seccomp filter with a listener of one's own, which could answer calls that ours asks about."""
    native.libc.prctl(38, 1, 0, 0, 0)
    instructions = ctypes.create_string_buffer(RETURN_ALLOW, len(RETURN_ALLOW))
    os.close(native.syscall("seccomp", 1, 1 << 3, struct.pack("HxxxxxxP", 1, ctypes.addressof(instructions))))
    return "installed"


def _machine_code(code: bytes) -> int:
    """What x86-64 instructions return in eax."""
    if platform.machine() != "x86_64":
        not_tried("only x86-64 processors have a second calling convention")
    place = mmap.mmap(-1, len(code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    place.write(code)
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(place)))
    return int(function())


@attempt(Group.SYSCALLS, "32-bit", "Make system calls as a 32-bit program", FILTER)
def thirty_two_bit(_: Targets) -> str:
    """getpid by 'int 0x80': another table of numbers, on which a filter for 64 bits says something else."""
    found = _machine_code(bytes.fromhex("b814000000cd80c3"))
    if found != os.getpid():
        not_tried("this kernel has no 32-bit calls")
    return "answered"


@attempt(Group.SYSCALLS, "x32", "Make system calls of the x32 table", FILTER)
def x32(_: Targets) -> str:
    """getpid with bit 30 set."""
    found = _machine_code(bytes.fromhex("b8270000400f05c3"))
    if found == -errno.ENOSYS:
        not_tried("this kernel has no x32 calls")
    if found < 0:
        raise OSError(-found, os.strerror(-found))
    return "answered"


ATTEMPTS = collect(vars())
