"""What people run every day works in the sandbox, as an ordinary user, with nothing but the home granted."""

import sys
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.access import landlock, mounts
from tests.access.inside import a_home, give, inside

pytestmark = pytest.mark.skipif(
    landlock.abi() < 4 or bool(mounts.probe()), reason="needs Landlock ABI 4 and user namespaces"
)


@pytest.fixture
def home() -> Iterator[Path]:
    with a_home() as made:
        give(made.parent)
        yield made


def run(program: str, home: Path, **settings: Any) -> str:
    done = inside(program, rules=[(home, "write")], cwd=home, **settings)
    assert done.status == 0, done.refused or done.out
    return done.out


def test_pandas_and_matplotlib(home: Path) -> None:
    program = """
        import matplotlib; matplotlib.use("agg")
        import matplotlib.pyplot as plt, pandas as pd
        pd.DataFrame({"a": [1, 2]}).to_csv("a.csv"); pd.read_csv("a.csv").plot()
        plt.title("Überschrift"); plt.savefig("a.png"); print("done")
    """
    assert run(program, home).endswith("done\n")
    assert (home / "a.png").stat().st_size > 1000


def test_processes_shared_memory_locks_and_forks(home: Path) -> None:
    (home / "many.py").write_text(textwrap.dedent(MANY))  # a file: spawned children import it
    give(home)
    done = inside([sys.executable, str(home / "many.py")], rules=[(home, "write")], cwd=home)
    assert done.out == "fork 1 7000.0\nspawn 1 7000.0\nforkserver 1 7000.0\n", done


MANY = """
    import multiprocessing as mp, numpy as np
    from multiprocessing import shared_memory
    def work(name):
        memory = shared_memory.SharedMemory(name=name)
        np.ndarray((1000,), buffer=memory.buf)[:] = 7
        memory.close()
    def main():
        for method in ("fork", "spawn", "forkserver"):
            context = mp.get_context(method)
            memory = shared_memory.SharedMemory(create=True, size=8000)
            queue, lock = context.Queue(), context.Lock()
            with lock: queue.put(1)
            with context.Pool(2) as pool: pool.map(work, [memory.name] * 4)
            print(method, queue.get(), np.ndarray((1000,), buffer=memory.buf).sum(), flush=True)
            memory.close(); memory.unlink()
    if __name__ == "__main__": main()
"""


def test_git(home: Path) -> None:
    program = """
        import subprocess
        for words in ("init -q r", "-C r config user.email a@b", "-C r config user.name a",
                      "-C r commit -q --allow-empty -m x", "clone -q r s", "-C s log --oneline"):
            subprocess.run(["git", *words.split()], check=True)
        print("done")
    """
    assert run(program, home).endswith("done\n")


def test_pip_installs_to_the_home(home: Path) -> None:
    with zipfile.ZipFile(home / "hpcsec_test_p-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("hpcsec_test_p.py", "x = 42")
        about = "hpcsec_test_p-1.dist-info"
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: hpcsec-test-p\nVersion: 1\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    give(home)
    program = """
        import glob, subprocess, sys
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--target", "lib"]
        subprocess.run([*pip, *glob.glob("*.whl")], check=True)
        sys.path.insert(0, "lib"); import hpcsec_test_p; print(hpcsec_test_p.x)
    """
    assert run(program, home).endswith("42\n")


def test_terminals(home: Path) -> None:
    program = """
        import os, pty
        pid, terminal = pty.fork()
        if pid == 0: os.execvp("sh", ["sh", "-c", "tty; stty size; ls /dev/pts; echo done > /dev/tty"])
        said = b""
        try:
            while part := os.read(terminal, 1000): said += part
        except OSError: pass
        os.waitpid(pid, 0)
        print(said.decode().split())
    """
    assert run(program, home) == "['/dev/pts/0', '0', '0', '0', 'ptmx', 'done']\n"


def test_a_kernel_over_unix_sockets(home: Path) -> None:
    program = """
        import os
        os.environ["JUPYTER_RUNTIME_DIR"] = os.path.join(os.environ["HOME"], "j")
        from jupyter_client import KernelManager
        manager = KernelManager(transport="ipc"); manager.start_kernel()
        client = manager.blocking_client(); client.start_channels(); client.wait_for_ready(timeout=60)
        code = "import subprocess, numpy; print(6 * 7, subprocess.run('id -u', shell=True).returncode)"
        client.execute_interactive(code, timeout=60)
        client.stop_channels(); manager.shutdown_kernel(); print("done")
    """
    out = run(program, home)
    assert "42 0\n" in out and out.endswith("done\n")


def test_names_of_users_and_certificates_are_there(home: Path) -> None:
    program = """
        import os, pwd, ssl
        print(pwd.getpwuid(os.getuid()).pw_uid == os.getuid(), os.path.exists(ssl.get_default_verify_paths().capath))
    """
    assert run(program, home) == "True True\n"
