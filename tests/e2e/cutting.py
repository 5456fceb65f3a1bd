"""Cuts the tunnel of a quickstart that this process started, as a network does: every TCP connection of its gateway."""

import ctypes
import os
import socket

import psutil
from playwright.sync_api import Route

from tests.e2e.labpage import LabPage

PIDFD_GETFD = 438  # one number on every architecture


def _gateways() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "gateway" in process.cmdline() and process.net_connections("tcp"):
                found.append(process)
        except psutil.Error:  # it ended meanwhile
            continue
    return found


def cut() -> int:
    """End all connections from nodes; how many there were."""
    count = 0
    libc = ctypes.CDLL(None, use_errno=True)
    for process in _gateways():
        pidfd = os.pidfd_open(process.pid)
        try:
            for each in process.net_connections("tcp"):
                if each.status != psutil.CONN_ESTABLISHED:
                    continue
                descriptor = libc.syscall(PIDFD_GETFD, pidfd, each.fd, 0)
                if descriptor < 0:
                    continue
                try:
                    with socket.socket(fileno=descriptor) as connection:
                        connection.shutdown(socket.SHUT_RDWR)
                        count += 1
                except OSError:  # the connection, or its number, is another one's by now
                    continue
        finally:
            os.close(pidfd)
    return count


class Torn:
    """What happens to the answers of a download: the first ends too early, and during the second the tunnel is cut."""

    def __init__(self) -> None:
        self.ranges: list[str] = []

    def meet(self, route: Route) -> None:
        """For ``page.route``."""
        self.ranges.append(route.request.headers.get("range", ""))
        if len(self.ranges) == 1:
            answer = route.fetch()
            body = answer.body()
            route.fulfill(status=answer.status, headers=answer.headers, body=body[: len(body) // 3])
            return
        route.continue_()
        if len(self.ranges) == 2:
            cut()


class Trouble:
    """What happens to the pieces of an upload: the second is never answered, the third is reset, and the tunnel is cut
    before and after the fourth and the fifth go out."""

    def __init__(self, lab: LabPage) -> None:
        self._lab = lab
        self.pieces = self.cuts = 0

    def meet(self, route: Route) -> None:
        """For ``page.route``."""
        if route.request.method != "PATCH":
            route.continue_()
            return
        self.pieces += 1
        if self.pieces == 2:
            self._lab.hold(route)
            return
        if self.pieces == 3:
            route.abort("connectionreset")
            return
        is_cut = self.pieces in {4, 5}
        self.cuts += cut() if is_cut else 0
        route.continue_()
        self.cuts += cut() if is_cut else 0
