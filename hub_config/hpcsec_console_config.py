"""The security console's configuration, to be copied to /etc/hpcsec/hpcsec_console_config.py.

Change what is marked SITE. It holds no secret: the token is in a file of its own. JupyterHub's part is the section "The
console" of jupyterhub_config.py.
"""

c = get_config()  # noqa: F821  # given by traitlets

# Where JupyterHub's proxy finds it: the same as the service's url in jupyterhub_config.py. This host only.
c.HpcsecConsole.listen = "127.0.0.1:8445"

# The accounts of the proxy and of the hub: the kernel is asked who connects, and others are not heard.
c.HpcsecConsole.proxy_users = ["jupyterhub-proxy", "jupyterhub"]

# The names by which browsers reach the hub, without port; requests for other names are refused. SITE
c.HpcsecConsole.hosts = ["jupyter.cluster.example"]

# The service's token (0600, the console's user's), the same as HPCSEC_CONSOLE_TOKEN in /etc/jupyterhub/console.env.
c.HpcsecConsole.api_token_file = "/etc/hpcsec/console.token"  # noqa: S105  # a path

# The Hub API as this host sees it, and JupyterHub's base_url.
c.HpcsecConsole.hub_api_url = "http://127.0.0.1:8081/hub/api"
c.HpcsecConsole.hub_base_url = "/"

# The gateway's: its admin socket, and the record that it keeps.
c.HpcsecConsole.admin_socket = "/run/hpcsec/admin.sock"
c.HpcsecConsole.audit_directory = "/var/lib/hpcsec/audit"

# Your own proxies in front of JupyterHub's, as HpcsecGateway.trusted_proxies. SITE
# c.HpcsecConsole.trusted_proxies = ["10.0.0.10"]

# Seconds for which the hub's word on a visitor is believed (at most 60); what changes something asks anew.
c.HpcsecConsole.cache_s = 15
