"""The forwarder's configuration, to be copied to /etc/hpcsec/hpcsec_forward_config.py. Change what is marked SITE.

Where the audit record's events go: each sink has a cursor of its own, and holds up neither the record nor another sink.
It holds no secret: those stand in files of their own (0600, the gateway's user's).
"""

c = get_config()  # noqa: F821  # given by traitlets

c.HpcsecForward.audit_directory = "/var/lib/hpcsec/audit"
c.HpcsecForward.state_directory = "/var/lib/hpcsec/forward"
c.HpcsecForward.admin_socket = "/run/hpcsec/admin.sock"

c.HpcsecForward.sinks = {
    # A copy on this host that other programs may pick up. SITE
    "archive": {"type": "file", "path": "/var/log/hpcsec/events.jsonl", "rotate_daily": True, "keep": 90},
    # The site's log collector, by syslog over TLS. SITE
    # "siem": {
    #     "type": "syslog",
    #     "format": "ocsf",
    #     "host": "collector.cluster.example",
    #     "ca_file": "/etc/hpcsec/collector-ca.pem",
    #     "certificate_file": "/etc/hpcsec/forward.pem",
    #     "key_file": "/etc/hpcsec/forward.key",
    # },
}
