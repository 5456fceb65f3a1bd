"""A pytest plugin for jupyter_server's own tests: they get our contents manager, checkpoints and files handler.

``test_contents_upstream`` loads it by ``-p``. The classes are put in the places that those tests import from, before
they are collected; the rules of a session let everything below pytest's directory be written.
"""

import os
from pathlib import Path

import jupyter_server.base.handlers as base_handlers
import msgspec
import pytest
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.contents import filecheckpoints, filemanager, largefilemanager

from jupyter_hpcsec.access.checkpoints import HpcsecCheckpoints
from jupyter_hpcsec.access.contents import HpcsecContentsManager
from jupyter_hpcsec.access.files import HpcsecFilesHandler
from jupyter_hpcsec.access.gate import ACCESS_VARIABLE
from jupyter_hpcsec.access.values import Enforcement, Entry, Network, Resolved, Right, Subject


def pytest_configure(config: pytest.Config) -> None:
    place = Path(os.environ["HPCSEC_TEST_PLACE"])
    subject = Subject(user="alice", uid=os.getuid(), gid=os.getgid(), home=str(place))
    entry = Entry(path=str(place / "files"), right=Right.WRITE, rule=1, line=1, who="*")
    resolved = Resolved(
        subject=subject, policy="0" * 64, enforcement=Enforcement.REQUIRED, minimum_abi=1, network=Network(),
        entries=(entry,),
    )  # fmt: skip
    rules = place / "rules"
    rules.mkdir()
    (rules / "access.json").write_bytes(msgspec.json.encode({"rules": resolved}))
    os.environ[ACCESS_VARIABLE] = str(rules / "access.json")
    for name in ("FileContentsManager", "AsyncFileContentsManager"):
        setattr(filemanager, name, HpcsecContentsManager)
    for name in ("LargeFileManager", "AsyncLargeFileManager"):
        setattr(largefilemanager, name, HpcsecContentsManager)
    for name in ("FileCheckpoints", "GenericFileCheckpoints"):
        setattr(filecheckpoints, name, HpcsecCheckpoints)
        setattr(filecheckpoints, f"Async{name}", HpcsecCheckpoints)
    base_handlers.AuthenticatedFileHandler = HpcsecFilesHandler
    ServerApp.contents_manager_class.default_value = HpcsecContentsManager
