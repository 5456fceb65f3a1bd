"""JupyterHub with hpcsec: a configuration for production, to be copied to /etc/jupyterhub/jupyterhub_config.py.

Change what is marked SITE, or better, leave this file as it is and put your own settings into
/etc/jupyterhub/conf.d/*.py, which are read at the end, in the order of their names, and win. HPCSEC_HUB_CONF_D names
another directory. The end-to-end tests load this very file.
"""

import os
from pathlib import Path

from jupyter_hpcsec.hub import consoleroles
from jupyter_hpcsec.hub.pages import TEMPLATES

c = get_config()  # noqa: F821  # given by traitlets

# The spawner ---------------------------------------------------------------------------------------------------------

# SITE: hpcsec-slurm, hpcsec-pbs or hpcsec-lsf.
c.JupyterHub.spawner_class = "hpcsec-slurm"

# SITE: the Python on the compute nodes, in an environment that root owns.
c.HpcsecSpawnerMixin.node_python = "/opt/jupyter/bin/python3"

# Where the gateway listens for the hub. Its configuration is hpcsec_gateway_config.py. It is started by systemd
# (hpcsec-gateway.service), and a start of a server waits for it for so many seconds.
c.HpcsecSpawnerMixin.admin_socket = "/run/hpcsec/admin.sock"
c.HpcsecSpawnerMixin.gateway_timeout = 30

# SITE: what users may choose from: a profile, and numbers in its ranges. The hub checks them, however they are sent.
# Nothing else that a user sends reaches a job script.
c.HpcsecSpawnerMixin.profiles = [
    {
        "name": "small",
        "title": "Small",
        "description": "For a first look at data",
        "cpus": {"min": 1, "max": 8, "default": 2},
        "memory_gib": {"min": 1, "max": 32, "default": 4},
        "minutes": {"min": 30, "max": 480, "default": 120},
    },
    # {
    #     "name": "gpu",
    #     "title": "One GPU",
    #     "partition": "gpu",
    #     "cpus": 8,
    #     "memory_gib": 64,
    #     "gpus": 1,
    #     "minutes": {"min": 30, "max": 240, "default": 120},
    #     "groups": ["gpu-users"],  # JupyterHub groups; without it, everybody
    # },
]

# The time from the click to a ready server, the wait in the queue included. The gateway's token_lifetime_s should not
# be shorter: the job's token must live as long as its job waits.
c.HpcsecSpawnerMixin.start_timeout = 3600

# SITE: the GPU watch (docs/gpu.md), in minutes: a kernel that holds a GPU and does nothing is warned about twice, then
# shut down. These are its defaults; "actions": {"R3": "notify"} beside "idle" shuts nothing down.
c.HpcsecSpawnerMixin.gpu_watch = {
    "idle": {"first_warning": 60, "second_warning": 105, "end": 120, "extend_by": 120, "extend_in_all": 480},
    # "groups": {"long-runs": {"end": 480}},  # of JupyterHub; whoever is in several has the longest
}

# A template of your own: begin with hub_config/job_template.sh.
# c.HpcsecSlurmSpawner.batch_script = Path("/etc/jupyterhub/job_template.sh").read_text()

# Where Slurm shows people only their own jobs (PrivateData=jobs), ask as the user; see sudoers.
# c.HpcsecSpawnerMixin.query_as_user = True

# Servers start without the configuration files in people's homes: those are read by the kernels alone.
c.Spawner.disable_user_config = True
c.Spawner.default_url = "/lab"

# Who may log in ------------------------------------------------------------------------------------------------------

# SITE: PAM asks this host; needs the hub to be root, or in the group that may read the shadow file. OAuth and LDAP
# authenticators work as well, if login names are those of Unix accounts.
c.JupyterHub.authenticator_class = "pam"
c.LocalAuthenticator.allowed_groups = {"jupyter"}  # the same Unix group as in sudoers
c.Authenticator.admin_users = set()

# Logins, logouts, tokens, shares and servers are recorded by the gateway; while it is down nobody can log in. Where a
# load balancer stands in front of the proxy, its address, so that the record has people's own:
# c.JupyterHub.trusted_downstream_ips = ["10.0.0.10"]

# The page that people see while a node is away says so, instead of telling them to restart their server.
c.JupyterHub.template_paths = [TEMPLATES]

# What survives what --------------------------------------------------------------------------------------------------

# Restarting the hub or the proxy ends no server. After a restart the hub goes on after a second and checks running
# servers in the background, for the gateway may need a while until it has its sessions back.
c.JupyterHub.cleanup_servers = False
c.JupyterHub.cleanup_proxy = False
c.JupyterHub.init_spawners_timeout = 1

# A proxy that was restarted has no routes. The hub looks as often as this, in seconds; by itself every five minutes.
c.JupyterHub.last_activity_interval = 10

# Logging out leaves the server running, as batch users expect. True: it ends server, job and session.
c.JupyterHub.shutdown_on_logout = False

# Addresses -----------------------------------------------------------------------------------------------------------

# The proxy is a service of its own (jupyterhub-proxy.service) and terminates TLS. Hub and proxy share the token in
# /etc/jupyterhub/proxy.env: CONFIGPROXY_AUTH_TOKEN=$(openssl rand -hex 32).
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:8001"
c.JupyterHub.bind_url = "https://:443"  # SITE

# The Hub API on this host alone. Jobs reach the few paths of it that they need through the tunnel.
c.JupyterHub.hub_bind_url = "http://127.0.0.1:8081"
# SITE: PostgreSQL for more than some hundred users
c.JupyterHub.db_url = "sqlite:////var/lib/jupyterhub/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "/var/lib/jupyterhub/cookie_secret"  # noqa: S105  # a path

# SITE: with a wildcard certificate, a host name of its own for each user keeps people's pages apart in the browser.
# c.JupyterHub.subdomain_host = "https://jupyter.example"

# Limits --------------------------------------------------------------------------------------------------------------

c.JupyterHub.allow_named_servers = True
c.JupyterHub.named_server_limit_per_user = 3
c.JupyterHub.concurrent_spawn_limit = 100
c.JupyterHub.active_server_limit = 0  # no limit: the batch system has its own

# SITE: the hub runs squeue for each session so often (seconds). 300 where there are thousands of sessions.
c.Spawner.poll_interval = 30

# The console ---------------------------------------------------------------------------------------------------------

# The security console (hpcsec-console.service, hpcsec_console_config.py) at /services/hpcsec/. Its token is in
# /etc/jupyterhub/console.env, which jupyterhub.service reads: HPCSEC_CONSOLE_TOKEN=$(openssl rand -hex 32); and alone
# in the console's own file. Without the variable there is no console.
c.JupyterHub.custom_scopes = consoleroles.CUSTOM_SCOPES

# SITE: who reads the record and ends sessions, and who approves projects, by login name. What each role holds is in
# docs/security/console.md; "user" lets everybody see their own records.
c.JupyterHub.load_roles = consoleroles.roles(security_staff=[], project_office=[])
if "HPCSEC_CONSOLE_TOKEN" in os.environ:
    c.JupyterHub.services.append(
        consoleroles.service("http://127.0.0.1:8445", api_token=os.environ["HPCSEC_CONSOLE_TOKEN"])
    )

# The gateway as a service that the hub starts, instead of systemd: see docs/admins/gateway.md. It then stops and starts
# with the hub, and sessions outlive both. One that was killed is back within half a minute, the hub's own interval.
# c.JupyterHub.services.append(
#     {
#         "name": "hpcsec-gateway",
#         "command": ["/opt/jupyterhub/bin/hpcsec", "gateway", "--config", "/etc/hpcsec/hpcsec_gateway_config.py"],
#         # "user": "hpcsec",  # where the hub is root; else the gateway runs as the hub's user
#         # "environment": {"SLURM_CONF": "/etc/slurm/slurm.conf"},  # where scontrol needs more than PATH
#     }
# )

# Your own settings ---------------------------------------------------------------------------------------------------

for path in sorted(Path(os.environ.get("HPCSEC_HUB_CONF_D", "/etc/jupyterhub/conf.d")).glob("*.py")):
    load_subconfig(str(path))  # noqa: F821  # given by traitlets
