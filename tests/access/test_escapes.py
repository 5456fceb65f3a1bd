"""The file part of the sandbox on this kernel: each way to what is denied succeeds without it, and fails with it."""

import json
import os
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_hpcsec.access import landlock, mounts
from tests.access.inside import a_home, give, inside, outside
from tests.nobody import prefix

pytestmark = pytest.mark.skipif(
    landlock.abi() < 6 or bool(mounts.probe()), reason="needs Landlock ABI 6 and user namespaces"
)

ATTEMPTS = """
    import ctypes, errno, json, os, socket, struct, subprocess, sys, tempfile
    home, victim, abstract, queue = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    libc, results = ctypes.CDLL(None, use_errno=True), {}
    os.chdir(home)

    def check(result):
        if result < 0: raise OSError(ctypes.get_errno(), "")
        return result
    def attempt(name):
        def run(function):
            try: function(); results[name] = "done"
            except OSError as error: results[name] = errno.errorcode.get(error.errno, str(error))
        return run
    def read(path):
        with open(path) as file: file.read()
    def write(path):
        with open(path, "a") as file: file.write("x")
    def simple(name, function): attempt(name)(function)

    simple("denied: read", lambda: read("secret/key"))
    simple("denied: list", lambda: os.listdir("secret"))
    simple("denied: create", lambda: write("secret/new"))
    simple("denied: stat inside", lambda: os.stat("secret/key"))
    simple("denied: read a file", lambda: read("secret-file"))
    simple("denied: absolute, doubled slashes and dots", lambda: read(f"/{home}//./secret/../secret/key"))
    simple("denied: by /proc/self/cwd", lambda: read("/proc/self/cwd/secret/key"))
    simple("denied: by /proc/self/root", lambda: read(f"/proc/self/root{home}/secret/key"))
    simple("denied: change mode", lambda: os.chmod("secret", 0o755))
    simple("denied: rename away", lambda: (os.rename("secret", "open"), read("open/key"), os.rename("open", "secret")))
    simple("denied: put a directory in its place", lambda: (
        os.rename("deep/a/secret", "deep/moved"), os.mkdir("deep/a/secret"), write("deep/a/secret/x"),
        os.unlink("deep/a/secret/x"), os.rmdir("deep/a/secret"), os.rename("deep/moved", "deep/a/secret")))
    simple("denied: rename a directory above", lambda: (os.rename("deep/a", "deep/b"), os.rename("deep/b", "deep/a")))
    simple("denied: make what was not there", lambda: (os.mkdir("later"), os.rmdir("later")))
    simple("denied: link a file out", lambda: (os.link("secret/key", "linked"), os.unlink("linked")))
    simple("denied: by a symbolic link", lambda: (os.symlink("secret/key", "sym"), read("sym")))
    def start(*argv): check(-subprocess.run(argv, stdout=-3, stderr=-3).returncode)
    simple("denied: by a program", lambda: start("cat", "secret/key"))
    simple("denied: run it by the loader", lambda: start("/lib64/ld-linux-x86-64.so.2", f"{home}/secret/program"))
    simple("absent: read", lambda: read("../other/file"))
    simple("absent: list the parent", lambda: os.listdir("../other"))
    simple("absent: a name that begins alike", lambda: read("../home-secret/file"))
    simple("absent: run it by the loader", lambda: start("/lib64/ld-linux-x86-64.so.2", "../other/program"))

    @attempt("absent: a service's socket")
    def _():
        with socket.socket(socket.AF_UNIX) as s: s.connect("../other/service.sock")
    @attempt("absent: by another process's root")
    def _(): read(f"/proc/{victim}/root{home}/../other/file")
    @attempt("absent: by another process's directory")
    def _(): os.listdir(f"/proc/{victim}/cwd")

    simple("read-only: write", lambda: write("ro/file"))
    simple("read-only: truncate", lambda: os.truncate("ro/file", 0))
    simple("read-only: create", lambda: write("ro/new"))
    simple("read-only: mode", lambda: os.chmod("ro/file", 0o640))
    simple("read-only: times", lambda: os.utime("ro/file", (1, 1)))
    simple("read-only: attributes", lambda: os.setxattr("ro/file", "user.x", b"1"))
    simple("read-only: rename inside", lambda: (os.rename("ro/file", "ro/f"), os.rename("ro/f", "ro/file")))
    simple("read-only: rename it", lambda: (os.rename("ro", "rx"), os.rename("rx", "ro")))
    simple("read-only: link out and write", lambda: (os.link("ro/file", "l"), write("l"), os.unlink("l")))
    simple("read-only: through its descriptor", lambda: write(f"/proc/self/fd/{os.open('ro/file', os.O_RDONLY)}"))
    @attempt("read-only: map shared and write")
    def _():
        import mmap
        with mmap.mmap(os.open("ro/file", os.O_RDWR), 1) as m: m[0] = 65
    simple("read-only: remove", lambda: (os.unlink("ro/gone")))

    @attempt("processes: trace")
    def _(): check(libc.ptrace(0x4206, victim, 0, 0)); libc.ptrace(17, victim, 0, 0)
    simple("processes: memory", lambda: open(f"/proc/{victim}/mem", "rb").close())
    simple("processes: environment", lambda: read(f"/proc/{victim}/environ"))
    simple("processes: descriptors", lambda: os.readlink(f"/proc/{victim}/fd/0"))
    simple("processes: signal", lambda: os.kill(victim, 0))
    @attempt("processes: take a descriptor")
    def _(): check(libc.syscall(ctypes.c_long(438), os.pidfd_open(victim), 0, 0))
    @attempt("processes: abstract socket")
    def _():
        with socket.socket(socket.AF_UNIX) as s: s.connect(chr(0) + abstract)
    @attempt("processes: System V message queue")
    def _(): check(libc.msgctl(queue, 2, ctypes.create_string_buffer(256)))

    @attempt("kernel: another user namespace")
    def _(): start("unshare", "-U", "true")
    @attempt("kernel: a device that hides files")
    def _(): os.mknod("whiteout", 0o020600, 0); os.unlink("whiteout")
    @attempt("kernel: userfaultfd")
    def _(): check(libc.syscall(ctypes.c_long(323), 1 | 2048))
    print(json.dumps(results))
"""
EXPECTED = {
    "denied: read": "EACCES",
    "denied: list": "EACCES",
    "denied: create": "EACCES",
    "denied: stat inside": "EACCES",
    "denied: read a file": "EACCES",
    "denied: absolute, doubled slashes and dots": "EACCES",
    "denied: by /proc/self/cwd": "EACCES",
    "denied: by /proc/self/root": "EACCES",
    "denied: change mode": "EROFS",
    "denied: rename away": "EBUSY",
    "denied: put a directory in its place": "EXDEV",
    "denied: rename a directory above": "EBUSY",
    "denied: make what was not there": "EEXIST",
    "denied: link a file out": "EACCES",
    "denied: by a symbolic link": "EACCES",
    "denied: by a program": "failed",
    "denied: run it by the loader": "failed",
    "absent: read": "ENOENT",
    "absent: list the parent": "ENOENT",
    "absent: a name that begins alike": "ENOENT",
    "absent: run it by the loader": "failed",
    "absent: a service's socket": "ENOENT",
    "absent: by another process's root": "EACCES",
    "absent: by another process's directory": "EACCES",
    **dict.fromkeys(
        ("read-only: write", "read-only: truncate", "read-only: create", "read-only: mode", "read-only: times",
         "read-only: attributes", "read-only: rename inside", "read-only: through its descriptor",
         "read-only: map shared and write", "read-only: remove"),
        "EROFS",
    ),
    "read-only: rename it": "EBUSY",
    "read-only: link out and write": "EXDEV",
    "processes: trace": "EPERM",
    "processes: memory": "EACCES",
    "processes: environment": "EACCES",
    "processes: descriptors": "EACCES",
    "processes: signal": "EPERM",
    "processes: take a descriptor": "EPERM",
    "processes: abstract socket": "EPERM",
    "processes: System V message queue": "EINVAL",
    "kernel: another user namespace": "failed",
    "kernel: a device that hides files": "EACCES",
    "kernel: userfaultfd": "EPERM",
}  # fmt: skip
"""What each attempt meets inside; ``failed``: a program's exit status says no more."""

VICTIM = """
    import ctypes, os, socket, sys, time
    s = socket.socket(socket.AF_UNIX); s.bind(chr(0) + sys.argv[1]); s.listen()
    service = socket.socket(socket.AF_UNIX); service.bind(sys.argv[2] + "/service.sock"); service.listen()
    print(os.getpid(), ctypes.CDLL(None).msgget(0, 0o1600), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home() -> Iterator[Path]:
    with a_home() as made:
        for name in ("secret", "ro", "deep/a/secret", "../other", "../home-secret"):
            (made / name).mkdir(parents=True)
        for name in ("secret/key", "secret-file", "ro/file", "ro/gone", "../other/file", "../home-secret/file"):
            (made / name).write_text("text")
        for name in ("secret/program", "../other/program"):
            (made / name).write_bytes(Path("/bin/true").read_bytes())
            (made / name).chmod(0o755)
        give(made.parent)
        yield made


def test_every_way_to_what_is_denied_is_open_outside_and_closed_inside(home: Path) -> None:
    name = f"hpcsec-test-{os.getpid()}"
    victim = subprocess.Popen(
        [*prefix(), sys.executable, "-c", textwrap.dedent(VICTIM), name, str(home.parent / "other")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=home.parent / "other",
    )  # fmt: skip
    assert victim.stdin is not None and victim.stdout is not None
    try:
        pid, queue = victim.stdout.readline().split()
        words = (str(home), pid, name, queue)
        free = json.loads(outside(ATTEMPTS, *words, cwd=home))
        assert {name for name, outcome in free.items() if outcome != "done"} == set(), free
        (home / "sym").unlink()
        (home / "ro/gone").touch()
        rules = [
            (home, "write"), (home / "secret", "none"), (home / "secret-file", "none"), (home / "ro", "read"),
            (home / "deep/a/secret", "none"), (home / "later", "none"),
        ]  # fmt: skip
        give(home)
        done = inside(ATTEMPTS, *words, rules=rules, cwd=home)
    finally:
        victim.communicate()
    assert done.status == 0, done.refused or done.out
    found = json.loads(done.out)
    assert set(found) == set(free)
    assert {
        name: "failed" if EXPECTED[name] == "failed" and found[name] != "done" else found[name] for name in found
    } == EXPECTED
    assert done.receipt["masks"] == "4 hidden, 1 read-only"
    assert done.receipt["made"] == f"{home}/later"


SWAPS = """
    import os, signal, sys
    home, tries, target = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    os.chdir(home)
    for name in ("swap", "swap-a", "swap-b"):
        if os.path.lexists(name): os.unlink(name)
    os.symlink("open", "swap"); os.symlink("open", "swap-a"); os.symlink(target, "swap-b")
    if (child := os.fork()) == 0:
        while True:
            os.rename("swap-a", "swap"); os.symlink("open", "swap-a")
            os.rename("swap-b", "swap"); os.symlink(target, "swap-b")
    won = refused = read = 0
    for _ in range(tries):
        try:
            descriptor = os.open("swap/key", os.O_RDONLY)
            if os.read(descriptor, 16) == b"open": read += 1
            else: won += 1
            os.close(descriptor)
        except OSError: refused += 1
    os.kill(child, signal.SIGKILL)
    print(won, refused, read)
"""


@pytest.mark.parametrize("target", ["secret", "../other"])
def test_symbolic_links_swapped_while_a_path_is_walked_never_win(home: Path, target: str) -> None:
    (home / "open").mkdir()
    (home / "open/key").write_text("open")
    (home / "secret/key").write_text("denied")
    (home.parent / "other/key").write_text("denied")
    give(home.parent)
    won, _, read = map(int, outside(SWAPS, str(home), "20000", target, cwd=home).split())
    assert won > 0 and read > 0, "the race is one"
    done = inside(SWAPS, str(home), "50000", target, rules=[(home, "write"), (home / "secret", "none")], cwd=home)
    won, refused, read = map(int, done.out.split())
    assert won == 0
    assert refused > 0 and read > 0, "both ends of the race were met"


def test_all_of_the_node_can_be_given_and_something_taken_back(home: Path) -> None:
    program = """
        import os
        print(open("../other/file").read(), os.path.exists("/etc/hostname"), open("/dev/shm/x", "w").write("1"))
        for attempt in (lambda: open("secret/key"), lambda: open("ro/new", "w"), lambda: open("/var/tmp/x", "w")):
            try: attempt(); print("done")
            except OSError as error: print(error.strerror)
        open("new", "w"), open("/tmp/new", "w")
    """
    rules = [(Path("/"), "read"), (home, "write"), (home / "secret", "none"), (home / "ro", "read")]
    done = inside(program, rules=rules, cwd=home)
    denied, read_only = "Permission denied", "Read-only file system"
    assert done.out.split("\n")[:-1] == ["text True 1", denied, read_only, read_only], done.refused


class TestFailClosed:
    def test_a_missing_required_path(self, home: Path) -> None:
        done = inside("print(1)", rules=[(home, "write"), (home / "nowhere", "read!")], cwd=home)
        assert (done.status, done.out) == (126, "")
        assert "requires" in done.refused and "which is missing on this node" in done.refused

    def test_no_namespaces_and_nothing_else_in_place(self, home: Path) -> None:
        done = inside("print(1)", rules=[(home, "write"), (home / "secret", "none")], cwd=home, namespaces=False)
        assert (done.status, done.out) == (126, "")
        assert "user namespaces or masks that the node's prolog prepares; this node has neither" in done.refused

    def test_a_kernel_below_the_minimum(self, home: Path) -> None:
        done = inside("print(1)", rules=[(home, "write")], cwd=home, minimum_abi=64)
        assert (done.status, done.out) == (126, "")
        assert "the policy requires ABI 64: no session starts on this node" in done.refused

    def test_a_place_on_which_no_mask_can_lie(self, home: Path) -> None:
        rules = [(home, "write"), (home / "secret-file/x", "none")]
        done = inside("print(1)", rules=rules, cwd=home)
        assert (done.status, done.out) == (126, "")
        assert f"{home}/secret-file/x could not be put into the session's root: Not a directory" in done.refused

    def test_a_directory_that_nobody_may_read_is_no_false_alarm(self, home: Path) -> None:
        (home / "closed").mkdir()
        give(home)
        (home / "closed").chmod(0)
        done = inside("print(1)", rules=[(home / "closed", "read")], cwd=home)
        assert (done.status, done.out) == (0, "1\n"), done.refused
        assert "a read refused, as without a sandbox" in str(done.receipt)

    def test_a_link_that_the_user_could_exchange(self, home: Path) -> None:
        (home / "link").symlink_to(home.parent / "other")
        give(home)
        os.lchown(home / "link", home.stat().st_uid, -1)
        done = inside("print(1)", rules=[(home, "write"), (home / "link", "none")], cwd=home)
        assert (done.status, done.out) == (126, "")
        assert "symbolic link that others than root could exchange" in done.refused


def test_advisory_enforces_no_file_rule_and_says_so(home: Path) -> None:
    done = inside(
        "print(open('secret/key').read())", cwd=home, enforcement="advisory",
        rules=[(home, "write"), (home / "secret", "none")],
    )  # fmt: skip
    assert done.out == "text\n"
    assert done.receipt["files"] == "advisory: file rules are shown, NOT enforced"
    assert done.receipt["enforcement"] == "advisory"


def test_without_namespaces_landlock_alone_holds_what_it_can(home: Path) -> None:
    program = """
        import os
        for path in ("free/x", "secret/key", "../other/file", "/etc/shadow"):
            try: print(open(path).read())
            except OSError as error: print(error.strerror)
        try: open("free/x", "a")
        except OSError as error: print(error.strerror)
        import tempfile; print(os.path.dirname(tempfile.mkdtemp()) == os.environ["TMPDIR"])
    """
    (home / "free").mkdir()
    (home / "free/x").write_text("x")
    give(home)
    done = inside(program, rules=[(home, "read"), (home / "secret", "none")], cwd=home, namespaces=False)
    denied = "Permission denied"
    assert done.out.split("\n")[:-1] == ["x", denied, denied, denied, denied, "True"]
    assert "the node's root directory, names are seen" in done.receipt["files"]


def test_the_environment_names_no_service_outside_and_a_temporary_directory_that_is_there(home: Path) -> None:
    program = "import os, tempfile; print(sorted(os.environ)); print(tempfile.gettempdir())"
    environment = {"SSH_AUTH_SOCK": "/x", "XDG_RUNTIME_DIR": "/x", "TMPDIR": str(home.parent / "other"), "A": "1"}
    done = inside(program, rules=[(home, "write")], cwd=home, environment=environment)
    assert done.out == "['A', 'HOME', 'LC_CTYPE', 'PATH', 'RES_OPTIONS']\n/tmp\n"


def test_nothing_of_the_users_runs_before_the_sandbox_is_on(home: Path) -> None:
    """Variables by which Python and the loader run somebody's code: they act on the program, not on the sandbox."""
    (home / "early").mkdir()
    (home / "early/sitecustomize.py").write_text("import os; print('ran', os.path.exists('/var/tmp'), flush=True)")
    give(home)
    environment = {"PYTHONPATH": str(home / "early"), "LD_PRELOAD": str(home / "nothing.so")}
    done = inside("pass", rules=[(home, "write")], cwd=home, environment=environment)
    assert done.out == "ran True\n", "once, in the program itself"
    done = inside(["/bin/true"], rules=[(home, "write")], cwd=home, environment=environment)
    assert (done.out, done.status) == ("", 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a node's mounts shared, as systemd does")
def test_what_the_node_mounts_later_does_not_come_in(home: Path) -> None:
    """A later mount would lie over masks, and could be written where a rule only reads."""
    policy = home.parent / "policy.yaml"
    policy.write_text(f'version: 1\nrules:\n  - {{who: "*", allow: {{write: ["{home}"]}}}}\n')
    user = shlex.join([*prefix(), "env", f"HOME={home}"])
    count = "awk '/shared:|master:/ { n++ } END { print n + 0 }' /proc/self/mountinfo"
    run = shlex.join(
        [sys.executable, "-m", "jupyter_hpcsec.cli.main", "access", "run", "--policy", str(policy), "--user", "nobody"]
    )
    script = f"mount --make-rshared / && {user} {count} && {user} {run} -- {count}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=100, check=False, cwd=home
    )
    outside, inside_the_session = map(int, done.stdout.split())
    assert outside > 0, done.stderr
    assert inside_the_session == 0
