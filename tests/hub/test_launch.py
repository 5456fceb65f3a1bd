"""What a batch job runs, as a program: closed to others of the same user, clear about why it does not start."""

import base64
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_hpcsec.access import landlock
from jupyter_hpcsec.hub.launch import MALFORMED, UNAVAILABLE
from jupyter_hpcsec.identity.keys import KeyRing
from jupyter_hpcsec.identity.tokens import JobClaims, mint
from tests.hub.standin import SESSION
from tests.nobody import prefix, run_python

LAUNCH = ["-I", "-m", "jupyter_hpcsec.hub.launch"]
UNPROTECTED = [
    "-c",
    "import jupyter_hpcsec.hub.launch as l, sys; l.close_to_others = lambda: 0o22; sys.exit(l.main())",
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A job's, with a gateway that never answers: nothing listens on port 1."""
    ring = KeyRing.open(tmp_path_factory.mktemp("keys") / "keys", now=1, trust_domain="example.org")
    kid, key = ring.signing_key()
    claims = JobClaims(issuer="i", audience="a", session=SESSION, jti="0" * 32, not_before=1, expires=2)
    return {
        "PATH": os.environ["PATH"],
        "HPCSEC_TOKEN": mint(key, kid, claims),
        "HPCSEC_GATEWAY": "127.0.0.1:1",
        "HPCSEC_CA": base64.b64encode(ring.authority().certificate_der).decode(),
        "HPCSEC_LOCAL_JOB_ID": "0123456789ab",
    }


@contextlib.contextmanager
def job(environment: dict[str, str], arguments: list[str]) -> "Iterator[subprocess.Popen[str]]":
    """A job of an ordinary user that has made its key and dials its gateway."""
    with subprocess.Popen(
        [*prefix(), sys.executable, *arguments], env=environment, stderr=subprocess.PIPE, text=True, cwd="/"
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "can't be reached" in line:
                break
        try:
            yield process
        finally:
            process.terminate()  # not SIGKILL: it removes its directory
            process.communicate()


PROBE = """
    import ctypes, os, sys
    pid, libc = {pid}, ctypes.CDLL(None, use_errno=True)
    def attempt(name, call):
        try: print(name, call())
        except OSError as error: print(name, type(error).__name__)
    def memory():
        with open(f"/proc/{{pid}}/maps") as maps: start = next(int(l.split("-")[0], 16) for l in maps if "[heap]" in l)
        with open(f"/proc/{{pid}}/mem", "rb") as file: file.seek(start); return len(file.read(4096))
    def attach():
        if libc.ptrace(16, pid, None, None): raise OSError(ctypes.get_errno(), "")
        os.waitpid(pid, 0x40000000); libc.ptrace(17, pid, None, None); return "attached"
    def descriptor():
        fd = libc.syscall(438, os.pidfd_open(pid), 2, 0)
        if fd < 0: raise OSError(ctypes.get_errno(), "")
        return "fetched"
    attempt("environ", lambda: "HPCSEC_TOKEN=" in open(f"/proc/{{pid}}/environ").read())
    attempt("mem", memory)
    attempt("ptrace", attach)
    attempt("pidfd_getfd", descriptor)
    attempt("fd", lambda: os.readlink(f"/proc/{{pid}}/fd/2") != "")
"""


def test_others_of_the_same_user_can_not_read_the_key(environment: dict[str, str]) -> None:
    with job(environment, UNPROTECTED) as process:
        found = run_python(PROBE.format(pid=process.pid)).splitlines()
    assert found == ["environ True", "mem 4096", "ptrace attached", "pidfd_getfd fetched", "fd True"]

    with job(environment, LAUNCH) as process:
        found = run_python(PROBE.format(pid=process.pid)).splitlines()
    assert found == [f"{name} PermissionError" for name in ("environ", "mem", "ptrace", "pidfd_getfd", "fd")]


@pytest.mark.skipif(landlock.abi() < 4, reason="needs Landlock ABI 4")
def test_the_session_itself_can_not_read_it_either(environment: dict[str, str]) -> None:
    """Beside the above, Landlock: no tracing of what is outside of one's own domain, dumpable or not."""
    with job(environment, UNPROTECTED) as process:
        program = textwrap.dedent(PROBE.format(pid=process.pid))
        found = run_python(f"""
            from jupyter_hpcsec.access.landlock import NO_TCP_BIND, restrict_thread
            restrict_thread(NO_TCP_BIND)
            exec({program!r})
        """).splitlines()
    assert found == [f"{name} PermissionError" for name in ("environ", "mem", "ptrace", "pidfd_getfd", "fd")]


def test_a_closed_process_can_still_load_its_own_key(environment: dict[str, str]) -> None:
    """The key goes to OpenSSL through an anonymous file; an undumpable process has to get at its own."""
    out = run_python("""
        import os, resource
        from jupyter_hpcsec.hub.launch import close_to_others
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        os.umask(0o027)
        print(oct(close_to_others()), oct(os.umask(0)), resource.getrlimit(resource.RLIMIT_CORE) == (0, hard))
        from jupyter_hpcsec.hub.credentials import JobCredentials
        from jupyter_hpcsec.identity.authority import Authority
        from jupyter_hpcsec.identity.subject import JobSubject
        from jupyter_hpcsec.tunnel.tls import client_context
        import time
        now = int(time.time())
        authority, credentials = Authority.create("example.org", now), JobCredentials()
        subject = JobSubject(trust_domain="example.org", user="a", server="", job="1", session="0" * 32)
        credentials.install(authority.issue_client(credentials.request(), subject, now=now, not_after=now + 60))
        shown = (credentials.certificate_pem(), credentials.key_pem())
        client_context("hpcsec-lane/1", authority.certificate_der, shown)
        print("loaded")
    """)
    assert out.split() == ["0o27", "0o77", "True", "loaded"]


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"HPCSEC_TOKEN": ""}, MALFORMED, "hpcsec: HPCSEC_TOKEN is not set. This program is run by a batch job"),
        ({"HPCSEC_GATEWAY": "hub"}, MALFORMED, "hpcsec: HPCSEC_GATEWAY is not a list of host:port"),
        ({"HPCSEC_LOCAL_JOB_ID": ""}, MALFORMED, "hpcsec: None of HPCSEC_LOCAL_JOB_ID, SLURM_JOB_ID"),
        ({"HPCSEC_TOKEN": "a.b.c"}, 77, "hpcsec: a segment of the token is not"),
    ],
)
def test_a_job_that_can_not_start_says_why_in_one_line(
    environment: dict[str, str], change: dict[str, str], status: int, sentence: str
) -> None:
    done = subprocess.run(
        [*prefix(), sys.executable, *LAUNCH], env={**environment, **change},
        capture_output=True, text=True, check=False, timeout=60, cwd="/",
    )  # fmt: skip
    assert done.returncode == status
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith(sentence)
    assert "Traceback" not in done.stderr


def test_a_node_without_a_place_for_sockets_is_unavailable(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run_python(f"""
        import os
        os.environ.clear(); os.environ.update({environment!r})
        from jupyter_hpcsec.hub import launch, runtime_directory
        runtime_directory.candidates = lambda environment: []
        print(launch.main(), [name for name in os.environ if name.startswith("HPCSEC")])
    """)
    assert out.split() == [str(UNAVAILABLE), "[]"]


def test_a_job_that_waits_for_its_gateway_ends_when_the_batch_system_says_so(environment: dict[str, str]) -> None:
    with job(environment, LAUNCH) as process:
        directories = set(Path("/var/tmp").glob("hpcsec-*/j"))
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert said.splitlines()[-1].startswith("hpcsec: The batch system ended the job (SIGTERM)")
    assert any(not directory.exists() for directory in directories), "its own is removed"
