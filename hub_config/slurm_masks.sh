#!/bin/sh
# Only for nodes without user namespaces (user.max_user_namespaces = 0): makes, as root, the masks that a session there
# can't make for itself. Everywhere else sessions need nothing of this.
#
# Where Slurm gives each job a mount namespace (job_container.conf or namespace.yaml), set this as the script that runs
# in the new namespace, CloneNSScript: the masks are the job's alone and go with it. On nodes that one user has for
# himself it can be the Prolog; then masks are the whole node's until it is booted or they are unmounted.
#
# A path that does not exist, or that is reached by a symbolic link, is not masked: the session then says so and does
# not start.
user="${SLURM_JOB_USER:-${SLURM_JOB_UID:?not started by Slurm}}"
exec /opt/jupyter/bin/python3 -I -m jupyter_hpcsec.access.prepare "$user" /etc/hpcsec/masks.conf
