"""From an administrator's templates to what is handed to the batch system: script, command line, environment.

Pure. Templates come from configuration only; values are put in once and never rendered again, so that template syntax
in a value stays text. Every value is one line (a new line would start a directive of its own), except prologue and
epilogue, which are the administrator's shell code. The job's token travels in the environment alone: never in a script
or on a command line.
"""

import base64
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from jupyter_hpcsec.errors import Malformed, Refused
from jupyter_hpcsec.hub.account import Account

TOKEN, GATEWAY, CA = "HPCSEC_TOKEN", "HPCSEC_GATEWAY", "HPCSEC_CA"  # names of variables, no secrets
JOB_VARIABLES = (TOKEN, GATEWAY, CA)
"""What a job is given beside the batch system's own surroundings; see ``hub.launch``."""
KEEP = (
    "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ",
    "SLURM_CONF", "SLURM_CLUSTERS",
    "PBS_CONF_FILE", "PBS_SERVER", "PBS_EXEC",
    "LSF_ENVDIR", "LSF_SERVERDIR", "LSF_FULL_VERSION", "LSF_LIBDIR", "LSF_BINDIR",
)  # fmt: skip
"""What batch commands need of the hub's own environment, which also holds secrets: nothing else is passed."""
ENVIRONMENT_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
NEVER_KEPT = re.compile(r".*(TOKEN|SECRET|PASSW|KEY|COOKIE|CREDENTIAL).*")
"""Names that an administrator may not add to the list of kept ones."""
MULTI_LINE = frozenset({"prologue", "epilogue"})
SHELL_OPERATORS = frozenset("();<>|&")
SCRIPT_LIMIT = 256 * 1024

_ENVIRONMENT = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True)
_ENVIRONMENT.filters["quote"] = lambda value: shlex.quote(str(value))


def check_lines(variables: Mapping[str, str | int]) -> None:
    """Refuse a value that could start a line of its own: ``Refused("spawn.value")``, with the variable's name."""
    for name, value in variables.items():
        if isinstance(value, str) and name not in MULTI_LINE and any(not c.isprintable() for c in value):
            raise Refused("spawn.value", f"The value of {name!r} for the job script must be one printable line.")


def render_script(template: str, variables: Mapping[str, str | int]) -> str:
    """The job script. Jinja2 when the template has ``{{`` or ``{%``, else ``str.format``, as in batchspawner.

    Raises ``Malformed`` for a template that does not render, ``Refused`` for a value of more than one line.
    """
    check_lines(variables)
    try:
        if "{{" in template or "{%" in template:
            script = _ENVIRONMENT.from_string(template).render(variables)
        else:
            script = template.format_map(dict(variables))
    except (TemplateError, KeyError, IndexError, ValueError, AttributeError) as error:
        raise Malformed(
            f"The job template does not render: {error!r}. Mend batch_script in jupyterhub_config.py."
        ) from error
    if len(script) > SCRIPT_LIMIT or not script.startswith("#!"):
        raise Malformed("The job script must begin with '#!' and be at most 256 KiB. Mend batch_script.")
    return script


def render_command(template: str, variables: Mapping[str, str | int]) -> list[str]:
    """A batch command as an argument list; no shell ever sees it, and every value stays within its argument.

    Raises ``Malformed`` when the template needs a shell or does not render.
    """
    check_lines(variables)
    if _needs_shell(template):
        raise Malformed(
            f"The batch command {template!r} needs a shell, but none is used; put it in a script of its own."
        )
    quoted: dict[str, Any] = {
        name: shlex.quote(value) if isinstance(value, str) else value for name, value in variables.items()
    }
    try:
        return shlex.split(template.format_map(quoted))
    except (KeyError, IndexError, ValueError) as error:
        raise Malformed(f"The batch command {template!r} does not render: {error!r}.") from error


def _needs_shell(template: str) -> bool:
    """Whether an administrator expects expansion, or an operator that stands outside of quotes."""
    if any(c in template for c in "$`\n"):
        return True
    lexer = shlex.shlex(template, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        return any(SHELL_OPERATORS.issuperset(word) for word in lexer if word)
    except ValueError:
        return False  # an open quotation mark, which the rendering refuses


def check_keep(names: Iterable[str]) -> None:
    """Refuse names that may hold a secret of the hub, or that are no names. ``Malformed`` names the one."""
    for name in names:
        if (
            not ENVIRONMENT_NAME.fullmatch(name)
            or NEVER_KEPT.fullmatch(name)
            or name.startswith(("JUPYTERHUB_", "JPY_"))
        ):
            raise Malformed(f"{name!r} may not be passed from the hub to batch jobs; take it out of batch_env_keep.")


def command_environment(hub: Mapping[str, str], keep: Sequence[str], account: Account) -> dict[str, str]:
    """What a batch command runs with: kept variables of the hub, and the account's own surroundings."""
    check_keep(keep)
    return {
        **{name: hub[name] for name in keep if name in hub},
        "HOME": str(account.home),
        "USER": account.name,
        "LOGNAME": account.name,
        **({"SHELL": account.shell} if account.shell else {}),
    }


def job_variables(token: str, endpoints: Sequence[str], ca: bytes) -> dict[str, str]:
    """The three variables of a job. ``ca`` is DER; endpoints are ``host:port``. The token is the only secret."""
    return {TOKEN: token, GATEWAY: ",".join(endpoints), CA: base64.b64encode(ca).decode()}


# What follows the directives. The job itself opens the log: batch systems do not make its directory.
BODY = """
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
"""

# No srun: it would open three ports. No requeue: the job's token can be used once. Output: see BODY.
SLURM_SCRIPT = (
    """#!/bin/bash
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
{% endif %}"""
    + BODY
)

PBS_SCRIPT = (
    """#!/bin/bash
#PBS -N jupyter
#PBS -j oe
#PBS -o /dev/null
#PBS -r n
#PBS -v {{ keepvars }}
{% if queue %}#PBS -q {{ queue }}{% if host %}@{{ host }}{% endif %}

{% endif %}{% if account %}#PBS -A {{ account }}
{% endif %}{% if runtime %}#PBS -l walltime={{ runtime }}
{% endif %}#PBS -l select=1:ncpus={{ nprocs or 1 }}{% if memory %}:mem={{ memory | lower }}b{% endif %}
{% if ngpus %}:ngpus={{ ngpus }}{% endif %}

{% if options %}#PBS {{ options }}
{% endif %}"""
    + BODY
)

LSF_SCRIPT = (
    """#!/bin/bash
#BSUB -J jupyter
#BSUB -o /dev/null
#BSUB -rn
#BSUB -env "{{ keepvars | replace(',', ', ') }}"
#BSUB -R "span[hosts=1]"
{% if queue %}#BSUB -q {{ queue }}
{% endif %}{% if account %}#BSUB -P {{ account }}
{% endif %}{% if minutes %}#BSUB -W {{ minutes }}
{% endif %}{% if nprocs %}#BSUB -n {{ nprocs }}
{% endif %}{% if memory %}#BSUB -M {{ memory }}B
{% endif %}{% if ngpus %}#BSUB -gpu "num={{ ngpus }}"
{% endif %}{% if options %}#BSUB {{ options }}
{% endif %}"""
    + BODY
)

LOCAL_SCRIPT = "#!/bin/bash\n" + BODY
