#!/bin/sh
# Slurm's Epilog on nodes with GPUs (slurm.conf: Epilog=.../gpu_epilog.sh): looks, as root, at what the job left on its
# GPUs, tells it to syslog, drains the node for what --drain names, and removes the job's map.
#
# Slurm drains a node whose Epilog fails. What was told (3), or drained for with a reason (4), is no failure here;
# anything else is.
said=$(/opt/jupyter/bin/python3 -I -m jupyter_hpcsec.cli.main gpu node epilog --drain processes,memory,device,blind 2>&1)
code=$?
[ -z "$said" ] || /usr/bin/logger -t hpcsec-gpu -- "$said"
case "$code" in
  0 | 3 | 4) exit 0 ;;
  *) exit "$code" ;;
esac
