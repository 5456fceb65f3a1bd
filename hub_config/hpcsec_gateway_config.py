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

# Another host that cosigns the record (`hpcsec audit witness`): its public key (witness.vkey), and a file of this host
# with what it cosigned last. Both or neither. SITE
# c.HpcsecGateway.audit_witness = "witness.cluster.example/witness+1a2b3c4d+BA..."
# c.HpcsecGateway.audit_cosigned = "/srv/audit/hpcsec-cosigned"

# Days after which events go, and what was typed and shown, where that is earlier; 0 keeps all. How long they must and
# may be kept is for your law to say: docs/security/audit.md. SITE
c.HpcsecGateway.audit_retention_days = 0
c.HpcsecGateway.audit_values_days = 0

# How much of what people do is recorded: "metadata", "sources" (also the code that is run and what is typed) or
# "sources+outputs". Users are told which. SITE
c.HpcsecGateway.recording = "sources"
# Another level for members of a group of JupyterHub's; of several the fullest.
# c.HpcsecGateway.recording_by_group = {"clinical": "sources+outputs"}
# The SHA-256 of files that are read, saved and downloaded; costs time by the byte.
c.HpcsecGateway.recording_hashes_files = False
# Regular expressions of what is taken out of recorded texts, beside what is known to look like a secret. SITE
# c.HpcsecGateway.redaction_patterns = [r"PATIENT-[0-9]{8}"]

# Your own proxies in front of JupyterHub's (a load balancer): without it the record has their address for people's. The
# hub's own setting is JupyterHub.trusted_downstream_ips. SITE
# c.HpcsecGateway.trusted_proxies = ["10.0.0.10"]

# Metrics for a Prometheus on this host; all its users can read them there, no name of a user is in them. SITE
# c.HpcsecGateway.metrics_listen = "127.0.0.1:9464"

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

# Whether each session belongs to a project with an approved purpose and a review date: "required" starts none without
# one, so begin with `hpcsec project propose` or `import`; docs/admins/projects.md. SITE
c.HpcsecGateway.projects = "optional"
# Whom people write to about projects: they are shown it where a project keeps them out. SITE
# c.HpcsecGateway.project_office = "projects@cluster.example"

# A changed policy ends the sessions of those whose rules it changes, so many seconds after they were told.
c.HpcsecGateway.policy_grace_s = 600
