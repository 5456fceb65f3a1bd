"""Whatever a configuration says of kernel managers, their kernels are reached by unix sockets."""

from jupyter_client.manager import AsyncKernelManager
from jupyter_server.services.kernels.kernelmanager import ServerKernelManager
from traitlets.config import Config

from jupyter_hpcsec.server.kernels import keep_kernels_local

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what a user might write


def test_without_us_a_kernel_listens_on_tcp() -> None:
    assert ServerKernelManager(config=Config()).transport == "tcp"


def test_an_empty_configuration_is_enough() -> None:
    config = Config()
    assert keep_kernels_local(config) == []
    assert ServerKernelManager(config=config).transport == "ipc"
    assert ServerKernelManager(config=config).transport_encryption == "auto"


def test_what_leads_to_the_network_is_taken_out_and_named_and_the_rest_stays() -> None:
    config = Config(
        {
            "KernelManager": {"transport": "tcp", "ip": EVERYWHERE, "autorestart": False},
            "AsyncKernelManager": {"shell_port": 5000, "transport": "ipc", "transport_encryption": "disabled"},
            "MappingKernelManager": {"cull_idle_timeout": 60},
            "ServerApp": {"ip": EVERYWHERE},
        }
    )
    assert keep_kernels_local(config) == [
        "AsyncKernelManager.shell_port",
        "AsyncKernelManager.transport_encryption",
        "KernelManager.ip",
        "KernelManager.transport",
    ]
    manager = AsyncKernelManager(config=config)
    assert manager.transport == "ipc"
    assert manager.shell_port == 0
    assert manager.autorestart is False
    assert config.MappingKernelManager.cull_idle_timeout == 60
    assert config.ServerApp.ip == EVERYWHERE, "another class's business"
