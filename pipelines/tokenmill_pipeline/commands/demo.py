"""`tokenmill demo`: the whole way of the data on one machine, with invented nodes."""

import signal
from pathlib import Path
from typing import Final

from tokenmill_pipeline.commands.base import Call, Commands, add_command

DESCRIPTION: Final = """\
Starts a broker, sends 26 hours of two invented nodes through it (a Hopper with a FOCUS bill, a Blackwell with a rate
card), lets the same nodes live for some seconds, ingests all of it, runs billing and build as Prefect flows on a local
server, and prints both tables. Everything is simulated and says so. No Java, no network; at most two minutes on two
quiet cores. The directory, .tokenmill/demo or --data-dir, is emptied first.
"""
DEFAULT_DIR: Final = Path(".tokenmill/demo")


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "demo", run, "a simulated fleet, end to end, in two minutes", DESCRIPTION)
    parser.add_argument("--no-flows", action="store_true", help="run the plain commands instead of the Prefect flows")


def run(call: Call) -> int:
    """Run the demo in a directory of its own."""
    from tokenmill_pipeline.demo.run import run_demo

    # A demo that is told to end takes its processes with it, as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run_demo(call.data_dir or DEFAULT_DIR, call.output, with_flows=not call.arguments.no_flows)
    return 0
