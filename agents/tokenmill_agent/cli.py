"""The `tokenmill-agent` command: run, once and check."""

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, Final

from tokenmill_agent.assembly import (
    Parts,
    live_clock,
    make_agent,
    make_sink,
    real_parts,
    simulated_nodes,
    simulated_parts,
)
from tokenmill_agent.check import Finding, check, page
from tokenmill_agent.clock import MICROSECONDS
from tokenmill_agent.config import SCENARIOS, SINKS, Config, load
from tokenmill_agent.errors import TokenmillError
from tokenmill_agent.loop import Agent
from tokenmill_agent.messages import agent_version
from tokenmill_agent.sink import Sink
from tokenmill_agent.telemetry import Telemetry

_log = logging.getLogger("tokenmill_agent")

_EPILOG: Final = """exit codes: 0 done, 1 failed, 2 wrong usage, 75 start me again (the driver was changed or hangs).
Settings come from tokenmill.toml, TOKENMILL_... variables over it, flags over both; agents/README.md lists them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(
        stream=sys.stderr, level=arguments.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s"
    )
    # The client logs every failed connection; the agent says once what is wrong.
    logging.getLogger("kafka").propagate = False
    try:
        code = int(arguments.command(arguments))
        sys.stdout.flush()
    except TokenmillError as error:
        print(f"tokenmill-agent: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the output has seen enough; what is left of it must not be complained about at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _run(arguments: argparse.Namespace) -> int:
    config = _config(arguments)
    stop = threading.Event()
    telemetry = Telemetry()
    _stop_on_signals(stop)
    stop_serving = telemetry.serve(config.agent.telemetry_address, config.agent.telemetry_port)
    sink = make_sink(config, telemetry)
    try:
        agents = [
            (parts, make_agent(parts, settings=config.agent, kafka=config.kafka, sink=sink, telemetry=telemetry))
            for parts in _all_parts(config, telemetry)
        ]
        _run_all(agents, stop, arguments.seconds)
    finally:
        lost = sink.close(config.agent.max_close_seconds)
        stop_serving()
    if kept := getattr(sink, "spooled", 0):
        _log.warning("%d messages wait on disk for the next run%s", kept, _because(sink))
    if lost:
        raise TokenmillError(f"{lost} messages were not delivered before the end{_because(sink)}")
    return 0


def _run_all(agents: Sequence[tuple[Parts, Agent]], stop: threading.Event, seconds: float | None) -> None:
    """Run all agents until `stop` is set; several, which only simulated ones are, in a thread each."""
    failures: list[TokenmillError] = []

    def run_one(parts: Parts, agent: Agent) -> None:
        until_us = parts.clock.monotonic_us() + round(seconds * MICROSECONDS) if seconds is not None else None
        _log.info("%s runs%s", parts.node, ", simulated" if parts.simulated else "")
        try:
            agent.run(stop, until_monotonic_us=until_us)
        except TokenmillError as error:
            failures.append(error)
            stop.set()
        finally:
            if parts.reader is not None:
                parts.reader.close()

    others = [threading.Thread(target=run_one, args=one, name=one[0].node) for one in agents[1:]]
    for thread in others:
        thread.start()
    run_one(*agents[0])
    for thread in others:
        thread.join()
    if failures:
        raise failures[0]


def _once(arguments: argparse.Namespace) -> int:
    config = _config(arguments)
    telemetry = Telemetry()
    sink = make_sink(config, telemetry)
    for parts in _all_parts(config, telemetry):
        make_agent(parts, settings=config.agent, kafka=config.kafka, sink=sink, telemetry=telemetry).once()
        if parts.reader is not None:
            parts.reader.close()
    lost = sink.close(config.agent.max_close_seconds)
    if lost:
        raise TokenmillError(f"{lost} messages were not delivered{_because(sink)}")
    if kept := getattr(sink, "spooled", 0):
        raise TokenmillError(f"{kept} messages wait on disk for the next run{_because(sink)}")
    if config.agent.sink == "kafka":
        print(f"{telemetry.value('messages_delivered_total'):.0f} messages delivered")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    if arguments.page is not None:
        return _check_page(arguments)
    config = _config(arguments)
    telemetry = Telemetry()
    findings = check(config, lambda config: _all_parts(config, telemetry))
    failed = any(finding.status == "fail" for finding in findings)
    if arguments.json:
        print(json.dumps({"ok": not failed, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        _print_findings(findings)
    return 1 if failed else 0


def _check_page(arguments: argparse.Namespace) -> int:
    rows = [asdict(row) for row in page(arguments.page, arguments.content_type)]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return 0
    _print_table(("engine", "rank", "field", "metric", "value"), rows)
    return 0


def _print_findings(findings: Sequence[Finding]) -> None:
    for finding in findings:
        print(f"{finding.status:4}  {finding.what:9}  {finding.text}")
        if finding.remedy is not None:
            print(f"{'':4}  {'':9}  -> {finding.remedy}")


def _print_table(names: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    texts = [list(names), *([("invalid" if row[name] is None else str(row[name])) for name in names] for row in rows)]
    widths = [max(len(text[column]) for text in texts) for column in range(len(names))]
    for text in texts:
        print("  ".join(cell.ljust(width) for cell, width in zip(text, widths, strict=True)).rstrip())


def _all_parts(config: Config, telemetry: Telemetry) -> list[Parts]:
    if config.agent.simulate.scenarios:
        return [simulated_parts(node, live_clock(node)) for node in simulated_nodes(config)]
    return [real_parts(config, telemetry)]


def _config(arguments: argparse.Namespace) -> Config:
    servers = arguments.bootstrap_servers
    return load(
        arguments.config,
        environ=os.environ,
        agent_flags={
            "node": arguments.node,
            "sink": arguments.sink,
            "state_dir": arguments.state_dir,
            "telemetry_port": arguments.telemetry_port,
            "simulate": {
                "scenarios": _split(arguments.simulate),
                "seed": arguments.simulate_seed,
                "since": arguments.simulate_since,
            },
        },
        kafka_flags={"bootstrap_servers": _split(servers)},
    )


def _split(text: str | None) -> list[str] | None:
    return [part.strip() for part in text.split(",") if part.strip()] if text is not None else None


def _because(sink: Sink) -> str:
    problem = getattr(sink, "problem", None)
    return f": {problem}" if problem else ""


def _stop_on_signals(stop: threading.Event) -> None:
    def handle(number: int, _frame: FrameType | None) -> None:
        _log.info("%s: sending what is left", signal.Signals(number).name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tokenmill-agent",
        description="Reads this node's GPU energy and its inference servers' token counters, and sends them to Kafka.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tokenmill-agent {agent_version()}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="run | once | check")
    run = _command(commands, "run", "read and send until SIGTERM or SIGINT, then send what is left", _run)
    run.add_argument(
        "--for", dest="seconds", type=_seconds, metavar="SECONDS", help="end by itself after so many seconds"
    )
    _command(commands, "once", "read everything once, send one batch, and end", _once)
    checked = _command(commands, "check", "say what is found on this node and what to do; send nothing", _check)
    checked.add_argument(
        "--page", type=Path, metavar="FILE", help="say instead what would be counted on a saved metrics page"
    )
    checked.add_argument("--content-type", metavar="TYPE", help="the Content-Type that the page came with")
    checked.add_argument("--json", action="store_true", help="print JSON for machines")
    return parser


def _command(commands: Any, name: str, text: str, function: Any) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    command.set_defaults(command=function)
    add = command.add_argument
    add("--config", type=Path, metavar="FILE", help="configuration (default: ./tokenmill.toml, /etc/tokenmill/...)")
    add("--node", metavar="NAME", help="this node's name (default: the host's)")
    add("--bootstrap-servers", metavar="HOST:PORT,...", help="Kafka brokers to ask first")
    add("--sink", choices=SINKS, help="where messages go; stdout prints one message a line")
    add("--state-dir", type=Path, metavar="DIR", help="where to remember the run, to tell lost messages")
    add("--telemetry-port", type=int, metavar="PORT", help="Prometheus port for the agent's own metrics, 0 for none")
    add("--simulate", metavar="NAME,...", help=f"invent a node instead of reading this one: {', '.join(SCENARIOS)}")
    add("--simulate-seed", type=int, metavar="NUMBER", help="another seed invents another load")
    add("--simulate-since", metavar="TIME", help="when invented counters began, as 2026-11-24T00:00:00Z (default: now)")
    add("--log-level", choices=("debug", "info", "warning", "error"), default="info", help="what to log to stderr")
    return command


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"expected more than 0 seconds, got {text}")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
