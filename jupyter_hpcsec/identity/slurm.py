"""Asks Slurm about jobs and nodes, by ``scontrol``.

``scontrol show job`` prints text that the job's owner wrote (name, comment, command, paths) among the fields that
decide, and escapes nothing. :func:`parse_scontrol` therefore takes a deciding field only where it stands exactly
once in the whole answer: a job name such as ``x UserId=root(0)`` makes the answer :class:`Malformed`, which is its
owner's loss.
"""

import asyncio
import re
import socket
from calendar import timegm
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import strptime

from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.identity.commands import Answer, run_command
from jupyter_hpcsec.identity.jobs import NODE, Address, JobFacts, parse_address

TEXT_LIMIT = 64 * 1024
"""Bytes of one answer; paths and comments make some thousand."""
NODES_LIMIT = 16384
JOBS_LIMIT = 2**32
"""Slurm's job ids are 32 bits wide."""

_JOB_ID = re.compile(r"[1-9][0-9]{0,9}")
_USER = re.compile(r"[^\s()=]{1,255}\((0|[1-9][0-9]{0,9})\)")
_STATE = re.compile(r"[A-Z_]{1,32}")
_NODE_LIST = re.compile(r"[A-Za-z0-9._,\[\]-]{1,4096}")
_LIMIT = re.compile(r"(?:([0-9]{1,5})-)?([0-9]{2}):([0-9]{2}):([0-9]{2})")
_UNKNOWN_JOB = "Invalid job id specified"
_NONE = {"(null)", "None", "Unknown", "N/A", ""}


@dataclass(frozen=True)
class JobRecord:
    """One job as ``scontrol`` prints it: the facts, with the nodes still in Slurm's short form (``gpu[1-4,7]``)."""

    facts: JobFacts
    node_list: str


def parse_scontrol(text: str) -> JobRecord:
    """Read the answer of ``scontrol --oneliner show job ID`` (Slurm 20.11 and later), or raise :class:`Malformed`."""
    # 1. Small, and one job: an array's id prints all its tasks.
    if len(text) > TEXT_LIMIT:
        raise Malformed("scontrol's answer about the job is too long")
    line = text.rstrip(" \n")
    if "\n" in line:
        raise Malformed("scontrol's answer has several lines; a session needs a job of its own, with a plain name")
    # 2. The field that nobody but Slurm can put first.
    if not line.startswith("JobId="):
        raise Malformed("scontrol's answer does not begin with a job id")
    job_id = _field(line, "JobId", _JOB_ID)
    # 3. The fields that decide, each exactly once.
    uid = _number(_USER, _field(line, "UserId", _USER))
    state = _field(line, "JobState", _STATE)
    restarts = _field(line, "Restarts", re.compile(r"[0-9]{1,9}"))
    is_batch = _field(line, "BatchFlag", re.compile(r"[0-9]{1,3}")) != "0"
    node_list, batch_host = _nodes(line)
    if is_batch and state == "RUNNING" and batch_host is None:
        raise Malformed("scontrol does not say on which node the job's script runs")
    # 4. The fields that inform.
    reason = _field(line, "Reason", re.compile(r"\S{1,255}"))
    facts = JobFacts(
        job_id=job_id,
        uid=uid,
        state=state,
        nodes=(),
        reason="" if reason in _NONE else reason,
        time_limit_s=_seconds(_field(line, "TimeLimit", re.compile(r"\S{1,64}"))),
        end_time=_time(_field(line, "EndTime", re.compile(r"\S{1,64}"))),
        batch_host=batch_host if is_batch else None,
        restarts=int(restarts),
    )
    return JobRecord(facts, node_list)


def _field(line: str, name: str, form: re.Pattern[str]) -> str:
    """Return the value of ``name``; twice in the text, in whatever place, is once too often."""
    # The look-behind keeps ReqNodeList= and ExcNodeList= apart from NodeList=.
    found = list(re.finditer(rf"(?<![A-Za-z]){name}=", line))
    if len(found) != 1:
        raise Malformed(f"scontrol's answer holds {name} {len(found)} times; does the job's name or comment hold it?")
    value = line[found[0].end() :].split(" ", 1)[0]
    if not form.fullmatch(value):
        raise Malformed(f"scontrol's answer holds a {name} of an unknown form")
    return value


def _number(form: re.Pattern[str], value: str) -> int:
    match = form.fullmatch(value)
    if match is None:
        raise Malformed("BUG: a value was not of the form that it was checked for")
    return int(match[1])


def _nodes(line: str) -> tuple[str, str | None]:
    """Return the node list and the batch host, two fields that stand beside each other."""
    node_list = _field(line, "NodeList", re.compile(r".{0,4096}"))
    if node_list in _NONE:
        node_list = ""
    elif not _NODE_LIST.fullmatch(node_list):
        raise Malformed("scontrol's answer holds a node list of an unknown form")
    # BatchHost= is left out where there is none: it counts only in its own place, where no text of a user's can stand.
    if not re.search(r"(?<![A-Za-z])NodeList=[^ ]* (BatchFeatures=[^ ]* )?BatchHost=", line):
        return node_list, None
    return node_list, _field(line, "BatchHost", NODE)


def _seconds(value: str) -> int | None:
    """``1-02:00:00`` -> 93600; None where there is no limit, or Slurm's own name for the partition's."""
    match = _LIMIT.fullmatch(value)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(group or 0) for group in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _time(value: str) -> int | None:
    """``2026-11-21T05:40:11`` in UTC, as asked for in the environment -> Unix seconds; None where there is none."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}", value, re.ASCII):
        return None
    try:
        return timegm(strptime(value, "%Y-%m-%dT%H:%M:%S"))
    except ValueError as error:
        raise Malformed("scontrol's answer holds an impossible time") from error


class SlurmScheduler:
    """Slurm, asked by ``scontrol`` at most ``parallel`` at a time. Keeps no answer: each one is about now.

    ``command`` is ``scontrol`` with what must stand before its arguments (``("sudo", "-n", "scontrol")``, say);
    ``env`` is its whole environment but for language and time zone (``PATH``, ``SLURM_CONF``).
    """

    def __init__(
        self,
        command: Sequence[str] = ("scontrol",),
        env: Mapping[str, str] | None = None,
        *,
        timeout_s: float = 10,
        parallel: int = 8,
    ) -> None:
        self._command = tuple(command)
        self._env = {**(env or {}), "SLURM_TIME_FORMAT": "standard"}
        self._timeout_s = timeout_s
        self._running = asyncio.Semaphore(parallel)

    async def job(self, job_id: str) -> JobFacts | None:
        """Return what Slurm says of the job now, None where it knows none; :class:`Unavailable` if it says nothing."""
        if not _JOB_ID.fullmatch(job_id) or int(job_id) >= JOBS_LIMIT:
            raise Refused("attest.job-id", "that is not the id of a Slurm job")
        answer = await self._ask("--all", "--oneliner", "show", "job", job_id)
        if answer.returncode and _UNKNOWN_JOB in answer.stderr:
            return None
        record = parse_scontrol(self._text(answer))
        if record.facts.job_id != job_id:
            raise Malformed("scontrol answered about another job")
        nodes = await self._expand(record.node_list)
        return replace(record.facts, nodes=nodes)

    async def addresses(self, node: str) -> frozenset[Address]:
        """Return the addresses that Slurm itself uses for ``node`` (NodeAddr, resolved where it is a name)."""
        if not NODE.fullmatch(node):
            raise Refused("attest.node", "that is not the name of a node")
        text = self._text(await self._ask("--all", "--oneliner", "show", "node", node)).strip()
        if not text.startswith(f"NodeName={node} "):
            raise Malformed("scontrol answered about another node")
        host = _field(text, "NodeAddr", re.compile(r"[A-Za-z0-9._:%-]{1,253}"))
        try:
            return frozenset({parse_address(host)})
        except Malformed:
            return await _resolve(host)

    async def _expand(self, node_list: str) -> tuple[str, ...]:
        """Write a node list out; a plain name costs no second command."""
        if not node_list:
            return ()
        if NODE.fullmatch(node_list):
            return (node_list,)
        nodes = tuple(self._text(await self._ask("show", "hostnames", node_list)).split())
        if not nodes or len(nodes) > NODES_LIMIT or not all(NODE.fullmatch(node) for node in nodes):
            raise Malformed("scontrol wrote the job's node list out in an unknown form")
        return nodes

    async def _ask(self, *arguments: str) -> Answer:
        async with self._running:
            return await run_command([*self._command, *arguments], env=self._env, timeout_s=self._timeout_s)

    def _text(self, answer: Answer) -> str:
        if answer.returncode:
            said = answer.stderr.strip().splitlines()[-1:] or [f"exit status {answer.returncode}"]
            raise Unavailable(f"{self._command[-1]} failed: {said[0]}")
        try:
            return answer.stdout.decode()
        except UnicodeDecodeError as error:
            raise Malformed("scontrol's answer is not UTF-8") from error


async def _resolve(host: str) -> frozenset[Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unavailable(f"the address of node {host} can't be looked up") from error
    return frozenset(parse_address(str(entry[4][0])) for entry in found)
