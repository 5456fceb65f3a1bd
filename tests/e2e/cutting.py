"""Cuts the tunnel of a quickstart that this process started, as a network does: every TCP connection of its gateway."""

import ctypes
import os
import socket

import psutil

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
