"""The gateway's configuration, to be copied to /etc/hpcsec/hpcsec_gateway_config.py. Change what is marked SITE.

It holds no secret. It is Python: whoever may write it is the gateway, so it is root's (0644).
"""

c = get_config()  # noqa: F821  # given by traitlets

# The one port that compute nodes must reach, and what they dial; each name is tried in turn. SITE
c.HpcsecGateway.listen = ["0.0.0.0:8443", "[::]:8443"]
c.HpcsecGateway.public_endpoints = ["hub.cluster.example:8443"]

# Names your site in every certificate. SITE; do not change it while sessions run.
c.HpcsecGateway.trust_domain = "cluster.example"

# Keys and the session database (0700), and the sockets. systemd makes both.
c.HpcsecGateway.state_directory = "/var/lib/hpcsec"
c.HpcsecGateway.run_directory = "/run/hpcsec"

# Where the audit record's checkpoints are kept a second time, so that a record that was rolled back is found out: the
# better the less whoever owns this host can change it there (another host's file system, chattr +a). SITE
# c.HpcsecGateway.audit_checkpoints = "/srv/audit/hpcsec-checkpoints"

# The hub's account may register and end sessions; the proxy's may connect to sessions' sockets and nothing else. And a
# group that both are in: the kernel is asked who connects, so that the group alone opens nothing.
c.HpcsecGateway.allowed_peers = ["jupyterhub"]
c.HpcsecGateway.proxy_users = ["jupyterhub-proxy"]
c.HpcsecGateway.socket_group = "hpcsec-peers"

# The Hub API as this host sees it, and JupyterHub's base_url.
c.HpcsecGateway.hub_api_url = "http://127.0.0.1:8081/hub/api"
c.HpcsecGateway.hub_base_url = "/"

# All of them must agree that a job that enrols is the one that was started. Without munge: ["scheduler"]. The scheduler
# attestor asks Slurm; see docs/admins/gateway.md for others.
c.HpcsecGateway.attestors = ["scheduler", "munge"]

# The longest wait in the queue: HpcsecSpawnerMixin.start_timeout, and not less.
c.HpcsecGateway.token_lifetime_s = 3600

# Who may read and write what, and what sessions may do on the network: no session starts without it. Root's, 0644; read
# anew when it changes. `hpcsec access check` says whether it loads. SITE
c.HpcsecGateway.policy_file = "/etc/hpcsec/policy.yaml"

# What applies it on the nodes (jupyter-hpcsec, its Python, the directories above) has to be root's, or no session
# starts. Where a software account owns it, name that account here. SITE
c.HpcsecGateway.code_owners = []

# A changed policy ends the sessions of those whose rules it changes, so many seconds after they were told.
c.HpcsecGateway.policy_grace_s = 600
