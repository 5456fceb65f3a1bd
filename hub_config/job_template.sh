#!/bin/bash
#SBATCH --job-name=jupyter
#SBATCH --output=/dev/null
#SBATCH --chdir={{ homedir }}
#SBATCH --export={{ keepvars }}
#SBATCH --no-requeue
#SBATCH --nodes=1
#SBATCH --ntasks=1
{% if partition %}#SBATCH --partition={{ partition }}
{% endif %}{% if account %}#SBATCH --account={{ account }}
{% endif %}{% if qos %}#SBATCH --qos={{ qos }}
{% endif %}{% if reservation %}#SBATCH --reservation={{ reservation }}
{% endif %}{% if constraint %}#SBATCH --constraint={{ constraint }}
{% endif %}{% if runtime %}#SBATCH --time={{ runtime }}
{% endif %}{% if memory %}#SBATCH --mem={{ memory }}
{% endif %}{% if nprocs %}#SBATCH --cpus-per-task={{ nprocs }}
{% endif %}{% if gres %}#SBATCH --gres={{ gres }}
{% endif %}{% if options %}#SBATCH {{ options }}
{% endif %}
{#
A Jinja template: this note is not in the script. What is here is what HpcsecSlurmSpawner uses by itself. Keep:
  --export={{ keepvars }}  the job's token and three names more; ALL would pass on what sudo adds
  --no-requeue             a token works once; a job that comes back would be refused
  exec {{ cmd }}           the agent is the job's own process: no srun, which opens three ports
Every value is one line, put in once; what users choose is numbers. req_prologue and req_epilogue are your shell code.
#}
{% if logdir %}
if (umask 077; mkdir -p -- {{ logdir | quote }}); then
  exec >>{{ logdir | quote }}/job-"${SLURM_JOB_ID:-${PBS_JOBID:-${LSB_JOBID:-local}}}".log 2>&1
fi
{% endif %}
{{ prologue }}
{% if epilogue %}
{{ cmd }}
{{ epilogue }}
{% else %}
exec {{ cmd }}
{% endif %}
