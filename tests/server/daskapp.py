"""What people do in a notebook: a Dask cluster with its pages, and a directory of files. Run with a directory."""

import os
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from tests.server.toyapps import end_with

FILES = 20011


def main(directory: Path) -> None:
    """Say the link that a client shows, and the sum that the workers made."""
    from distributed import Client, LocalCluster

    (directory / "files").mkdir()
    (directory / "files" / "read me.txt").write_text("hello")
    handler = partial(SimpleHTTPRequestHandler, directory=str(directory / "files"))
    server = ThreadingHTTPServer(("127.0.0.1", FILES), handler)  # what python -m http.server runs
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True) as cluster,
        Client(cluster) as client,
    ):
        total = client.submit(sum, client.map(abs, range(-10, 0))).result()
        (directory / "said.part").write_text(f"{cluster.dashboard_link} {total}")
        (directory / "said.part").rename(directory / "said")
        server.serve_forever()


if __name__ == "__main__":
    Thread(target=end_with, args=[os.getppid()], daemon=True).start()
    main(Path(sys.argv[1]))
