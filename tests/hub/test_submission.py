import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.errors import Malformed, Refused
from jupyter_hpcsec.hub.account import Account
from jupyter_hpcsec.hub.batch import batchspawner
from jupyter_hpcsec.hub.jobpart import NAMES
from jupyter_hpcsec.hub.submission import (
    CA,
    GATEWAY,
    LOCAL_SCRIPT,
    LSF_SCRIPT,
    PBS_SCRIPT,
    SLURM_SCRIPT,
    TOKEN,
    check_keep,
    command_environment,
    job_variables,
    render_command,
    render_script,
)

ALICE = Account("alice", 1000, 1000, (1000, 2000), Path("/home/alice"), "/bin/bash")
VARIABLES: dict[str, str | int] = {
    **dict.fromkeys(NAMES, ""),
    "homedir": "/home/alice",
    "username": "alice",
    "keepvars": "HOME,HPCSEC_TOKEN",
    "logdir": "/home/alice/.hpcsec",
    "cmd": "/opt/env/bin/python -I -m jupyter_hpcsec.hub.launch",
}
SCRIPTS = [SLURM_SCRIPT, PBS_SCRIPT, LSF_SCRIPT, LOCAL_SCRIPT]


def directives(script: str, prefix: str) -> list[str]:
    return [line for line in script.splitlines() if line.startswith(prefix)]


def test_the_attack_works_on_plain_batchspawner() -> None:
    """A new line in a value starts a directive of its own: what ours refuses below."""
    template = batchspawner.SlurmSpawner.batch_script.default_value
    names = (
        "homedir",
        "keepvars",
        "partition",
        "runtime",
        "memory",
        "gres",
        "nprocs",
        "reservation",
        "options",
        "srun",
    )
    values = {**dict.fromkeys((*names, "prologue", "cmd", "epilogue"), ""), "partition": "main\n#SBATCH --uid=0"}
    assert "#SBATCH --uid=0" in batchspawner.format_template(template, **values).splitlines()


@pytest.mark.parametrize("template", SCRIPTS)
@pytest.mark.parametrize("ending", ["\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\0", "\x1b"])
@pytest.mark.parametrize("name", ["partition", "options", "cmd", "homedir", "keepvars"])
def test_a_value_of_two_lines_is_refused(template, ending, name) -> None:
    with pytest.raises(Refused, match=name) as refused:
        render_script(template, {**VARIABLES, name: f"x{ending}#SBATCH --uid=0"})
    assert refused.value.rule == "spawn.value" and "uid" not in refused.value.reason


@given(value=st.text(max_size=80))
def test_no_value_adds_a_line(value) -> None:
    plain = render_script(SLURM_SCRIPT, {**VARIABLES, "partition": "x"})
    try:
        script = render_script(SLURM_SCRIPT, {**VARIABLES, "partition": value})
    except Refused:
        return
    assert len(directives(script, "#SBATCH")) == len(directives(plain, "#SBATCH")) - (not value)


@pytest.mark.parametrize("text", ["{{ 7 * 7 }}", "{% for x in y %}", "{cmd}", "{# no #}"])
@pytest.mark.parametrize("template", ["#!/bin/sh\n# {{ partition }}\n", "#!/bin/sh\n# {partition}\n"])
def test_template_syntax_in_a_value_stays_text(text, template) -> None:
    assert text in render_script(template, {**VARIABLES, "partition": text})


@pytest.mark.parametrize(
    "template",
    [
        "#!/bin/sh\n{{ nothing }}",
        "#!/bin/sh\n{nothing}",
        "#!/bin/sh\n{% if %}",
        "#!/bin/sh\n{{ cmd.__class__.__mro__ }}",
        "#!/bin/sh\n{0}",
        "no shebang {{ cmd }}",
        "#!/bin/sh\n{{ 'x' * 300000 }}",
    ],
)
def test_a_template_that_is_wrong_says_where_to_mend_it(template) -> None:
    with pytest.raises(Malformed, match="batch_script"):
        render_script(template, VARIABLES)


def test_slurm_script() -> None:
    script = render_script(
        SLURM_SCRIPT,
        {**VARIABLES, "partition": "main", "runtime": "2:00:00", "memory": "8G", "nprocs": "2", "gres": "gpu:1"},
    )
    assert directives(script, "#SBATCH") == [
        "#SBATCH --job-name=jupyter",
        "#SBATCH --output=/dev/null",
        "#SBATCH --chdir=/home/alice",
        "#SBATCH --export=HOME,HPCSEC_TOKEN",
        "#SBATCH --no-requeue",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks=1",
        "#SBATCH --partition=main",
        "#SBATCH --time=2:00:00",
        "#SBATCH --mem=8G",
        "#SBATCH --cpus-per-task=2",
        "#SBATCH --gres=gpu:1",
    ]
    assert script.rstrip().endswith("exec /opt/env/bin/python -I -m jupyter_hpcsec.hub.launch")
    assert "srun" not in script


def test_pbs_script() -> None:
    script = render_script(
        PBS_SCRIPT, {**VARIABLES, "queue": "work", "host": "head", "nprocs": "4", "memory": "8G", "ngpus": "1"}
    )
    assert "#PBS -q work@head" in script.splitlines()
    assert "#PBS -l select=1:ncpus=4:mem=8gb:ngpus=1" in script.splitlines()
    assert "#PBS -r n" in script.splitlines()
    assert "#PBS -l select=1:ncpus=1" in render_script(PBS_SCRIPT, VARIABLES).splitlines()


def test_lsf_script() -> None:
    script = render_script(LSF_SCRIPT, {**VARIABLES, "queue": "work", "nprocs": "4", "memory": "8G", "minutes": 90})
    assert '#BSUB -env "HOME, HPCSEC_TOKEN"' in script.splitlines()
    assert {"#BSUB -W 90", "#BSUB -n 4", "#BSUB -M 8GB", "#BSUB -rn"} <= set(script.splitlines())


@pytest.mark.parametrize("template", SCRIPTS)
def test_every_script_keeps_no_log_where_none_is_wanted_and_quotes_its_place(template) -> None:
    assert ".log" not in render_script(template, {**VARIABLES, "logdir": ""})
    assert "mkdir -p -- '/home/al ice;$(id)/.hpcsec'" in render_script(
        template, {**VARIABLES, "logdir": "/home/al ice;$(id)/.hpcsec"}
    )


def test_prologue_and_epilogue_are_the_administrators_shell() -> None:
    script = render_script(
        LOCAL_SCRIPT, {**VARIABLES, "prologue": "module load x\nulimit -c 0", "epilogue": "echo done"}
    )
    assert script.rstrip().endswith(f"module load x\nulimit -c 0\n{VARIABLES['cmd']}\necho done")


@pytest.mark.parametrize(
    "template", ["squeue | cat", "squeue; id", "squeue $HOME", "squeue `id`", "a && b", "a > b", "a\nb"]
)
def test_a_command_that_needs_a_shell_is_refused(template) -> None:
    with pytest.raises(Malformed, match="shell"):
        render_command(template, VARIABLES)


@pytest.mark.parametrize("template", ["squeue {nothing}", "squeue 'x", "squeue {"])
def test_a_command_that_does_not_render_is_refused(template) -> None:
    with pytest.raises(Malformed, match="does not render"):
        render_command(template, VARIABLES)


@given(value=st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=30))
def test_a_value_stays_within_its_argument(value) -> None:
    try:
        argv = render_command("scancel {job_id}", {"job_id": value})
    except Refused:
        return
    assert argv == ["scancel", value]


def test_commands_of_the_batch_systems() -> None:
    assert render_command("", VARIABLES) == []
    assert render_command("squeue --format='%T %B' -j {job_id}", {"job_id": "7"}) == [
        "squeue",
        "--format=%T %B",
        "-j",
        "7",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "JUPYTERHUB_API_TOKEN",
        "CONFIGPROXY_AUTH_TOKEN",
        "JUPYTERHUB_CRYPT_KEY",
        "AWS_SECRET",
        "DB_PASSWORD",
        "JPY_X",
        "a=b",
        "A B",
        "",
    ],
)
def test_a_secret_of_the_hub_may_not_be_kept(name) -> None:
    with pytest.raises(Malformed, match="batch_env_keep"):
        check_keep([name])


def test_batch_commands_get_only_what_is_listed() -> None:
    hub = {
        "PATH": "/bin",
        "JUPYTERHUB_CRYPT_KEY": "secret",
        "SLURM_CONF": "/etc/slurm.conf",
        "HOME": "/root",
        "USER": "root",
    }
    assert command_environment(hub, ["PATH", "SLURM_CONF", "TZ"], ALICE) == {
        "PATH": "/bin",
        "SLURM_CONF": "/etc/slurm.conf",
        "HOME": "/home/alice",
        "USER": "alice",
        "LOGNAME": "alice",
        "SHELL": "/bin/bash",
    }


def test_the_jobs_three_variables() -> None:
    variables = job_variables("a.b.c", ["h1:8443", "[::1]:8443"], b"\x00\xff")
    assert variables == {TOKEN: "a.b.c", GATEWAY: "h1:8443,[::1]:8443", CA: base64.b64encode(b"\x00\xff").decode()}
