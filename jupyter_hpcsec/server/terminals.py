"""Terminals get what kernels get: no secrets in the environment, and a sandbox of their own."""

import os
from typing import Any

from jupyter_server_terminals.terminalmanager import TerminalManager
from terminado.management import PtyWithClients

from jupyter_hpcsec.audit.kinds.node import NodeTerminalOpened
from jupyter_hpcsec.server.confine import confined, inside, private_directory
from jupyter_hpcsec.server.events import tell


class HpcsecTerminalManager(TerminalManager):
    """Jupyter's, with another command and another environment."""

    def make_term_env(self, *args: Any, **kwargs: Any) -> dict[str, str]:
        """The shell's environment."""
        return inside(super().make_term_env(*args, **kwargs))

    def new_terminal(self, **kwargs: Any) -> PtyWithClients:
        """Start a shell."""
        command = kwargs.pop("shell_command", self.shell_command)
        return super().new_terminal(**kwargs, shell_command=confined(command, private_directory(os.environ)))

    def new_named_terminal(self, **kwargs: Any) -> tuple[str, PtyWithClients]:
        """Likewise, with its name told."""
        name, terminal = super().new_named_terminal(**kwargs)
        tell(NodeTerminalOpened(terminal=name))
        return name, terminal

    def show_to_all(self, sentence: str) -> None:
        """Write a line into each open terminal's window, also for who looks at it later; no program reads it."""
        line = f"\r\n\a{sentence}\r\n"
        for terminal in list(self.terminals.values()):
            terminal.read_buffer.append(line)
            for client in list(terminal.clients):
                client.on_pty_read(line)
