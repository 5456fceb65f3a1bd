"""A batch system for one computer, for the local demo: submit a script, ask for its state, cancel it.

``python -I -m jupyter_hpcsec.hub.localjob submit|state|cancel``. No queue, no limits, no other users, no daemon: each
job has a supervisor of its own, which outlives the hub, ends everything that the job started, and writes down how it
ended. Nothing here is attested: whoever runs as this user can be this user's job.
"""

import argparse
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from jupyter_hpcsec.errors import HpcsecError, Malformed, Unavailable
from jupyter_hpcsec.hub.localjob_records import CANCEL_GRACE_S, SCRIPT_LIMIT, Record, Records, State
from jupyter_hpcsec.hub.localjob_supervisor import READY

START_LIMIT_S = 30.0
"""Seconds until a supervisor must have started its script."""


def submit(records: Records, script: bytes, environment: Mapping[str, str], now: float) -> str:
    """Start a script (``#!…``) under a supervisor; the new job's id. ``Malformed``, ``Unavailable``."""
    if len(script) > SCRIPT_LIMIT or not script.startswith(b"#!"):
        raise Malformed(f"A job script begins with '#!' and has at most {SCRIPT_LIMIT} bytes.")
    records.forget_old(now)
    job_id = records.create(script)
    with records.output(job_id).open("xb") as output:
        supervisor = subprocess.Popen(
            [sys.executable, "-I", "-m", "jupyter_hpcsec.hub.localjob_supervisor", str(records.directory), job_id],
            env=dict(environment),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            start_new_session=True,
        )
    answer = supervisor.stdout
    if answer is None or not select.select([answer], [], [], START_LIMIT_S)[0]:
        supervisor.kill()
        raise Unavailable(f"The job did not start within {START_LIMIT_S:g} s; is this computer overloaded?")
    told = answer.read()  # until the supervisor closes its end: it has started the script, or is dead
    if told.decode() != READY:
        reason = records.tail(job_id)
        records.drop(job_id)
        raise Unavailable(f"The job did not start: {reason or 'its supervisor gave no reason'}")
    return job_id


def show(record: Record) -> str:
    """``RUNNING host``, ``COMPLETED 0``, ``FAILED 3`` or ``CANCELLED``."""
    match record.state:
        case State.RUNNING:
            return f"{record.state} {record.host}"
        case State.CANCELLED:
            return str(record.state)
        case _:
            return f"{record.state} {record.exit}"


def describe(records: Records, record: Record) -> str:
    """The record as one JSON object, with the path of the job's output."""
    return json.dumps({**record.as_dict(), "output": str(records.output(record.id))}, sort_keys=True)


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(prog="localjob", description="A batch system for one computer (demo).")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("submit", help="start the script on standard input; prints the job's id")
    state = commands.add_parser("state", help="print a job's state")
    state.add_argument("--json", action="store_true", help="as one JSON object, with pid and path of the output")
    cancel = commands.add_parser(
        "cancel", help=f"SIGTERM, after {CANCEL_GRACE_S:g} s or a second cancel SIGKILL, for all that the job started"
    )
    for command in (state, cancel):
        command.add_argument("id")
    return parser


def main(argv: Sequence[str] | None = None, *, clock: Callable[[], float] = time.time) -> int:
    """Run one command; 0 when it worked, 1 with a sentence on stderr when not."""
    args = build_parser().parse_args(argv)
    try:
        records = Records.open(os.environ)
        if args.command == "submit":
            print(submit(records, sys.stdin.buffer.read(SCRIPT_LIMIT + 1), os.environ, clock()))
        elif args.command == "state":
            record = records.get(args.id)
            print(describe(records, record) if args.json else show(record))
        else:
            records.cancel(args.id)
    except HpcsecError as error:
        print(f"localjob: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
