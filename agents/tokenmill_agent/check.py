"""What the agent finds on this node, and what to do where something is missing."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from kafka import KafkaAdminClient
from kafka import errors as kafka_errors

from tokenmill_agent.assembly import Parts
from tokenmill_agent.clock import MICROSECONDS, Clock, is_synchronised
from tokenmill_agent.config import AgentSettings, Config
from tokenmill_agent.errors import TokenmillError, UsageError
from tokenmill_agent.gpu.devices import GpuReader, GpuReading
from tokenmill_agent.gpu.fields import SUCCESS
from tokenmill_agent.host.reading import HostReading
from tokenmill_agent.identity.learn import learn
from tokenmill_agent.looker import gpu_pids
from tokenmill_agent.records import Device, Placement, Server
from tokenmill_agent.servers.counters import PageRow, explain_page
from tokenmill_agent.servers.exposition import PageError
from tokenmill_agent.servers.found import NO_PAGE
from tokenmill_agent.servers.scrape import METRICS_DISABLED
from tokenmill_agent.settings import KafkaSettings
from tokenmill_agent.sink.client_log import ClientLog
from tokenmill_agent.sink.kafka import require_settings

Status = Literal["ok", "warn", "fail"]

_HOST_REMEDIES: Final = {
    "permission_denied": "run the agent as root, or let its user read the meter; for redfish see user and password",
    "tool_missing": "install ipmitool or freeipmi",
    "ambiguous": "set redfish_chassis in [agent.host] to the one that is the whole node",
    "unreachable": "see redfish_url and redfish_ca_file in [agent.host]",
}

_BOOTSTRAP_TIMEOUT_MS: Final = 5_000
_MAX_PAGE_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at: how it stands, what was seen, and what to do where it is not ok.

    `answering` names, of a GPU, every probed field and call of NVML that gave a value.
    """

    what: str
    status: Status
    text: str
    remedy: str | None = None
    answering: tuple[str, ...] = ()


def check(config: Config, make_parts: Callable[[Config], list[Parts]]) -> list[Finding]:
    """Look at everything once, in the order of the data's way; a part that fails does not hide the next.

    Raises:
        UsageError: the settings cannot be right.
    """
    found = [_state(config.agent)]
    try:
        all_parts = make_parts(config)
    except UsageError:
        raise
    except TokenmillError as error:
        what, _, remedy = str(error).partition(": ")
        found.append(Finding(what="gpus", status="fail", text=what, remedy=remedy or None))
        without_gpus = dataclasses.replace(config, agent=dataclasses.replace(config.agent, gpus="none"))
        all_parts = make_parts(without_gpus)
    for parts in all_parts:
        found.extend(_node(parts))
    return [*found, *_sink(config)]


def page(path: Path, content_type: str | None) -> list[PageRow]:
    """Return what would be counted on a saved metrics page.

    Raises:
        UsageError: the file cannot be read.
        TokenmillError: it is no metrics page, or none of an engine that is known.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_PAGE_BYTES).decode("utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"--page: cannot read {path}: {error.strerror}") from error
    try:
        return explain_page(text, content_type)
    except PageError as error:
        raise TokenmillError(f"--page {path}: {error}") from error


def _node(parts: Parts) -> Iterator[Finding]:
    kind = "a simulated node" if parts.simulated else "this node"
    identity = learn(parts.identity, parts.learn)
    said = {name: value for name, value in dataclasses.asdict(identity).items() if value is not None}
    where = ", ".join(f"{name} {value}" for name, value in said.items()) or "no [agent.identity], so no bill can join"
    yield Finding(what="node", status="ok", text=f"{parts.node}, {kind}: {where}")
    yield _clock(parts.clock)
    yield from _gpus(parts)
    servers: list[Server] = []
    yield from _servers(parts, servers)
    yield from _placements(parts, servers)
    yield from _kubernetes(parts)
    yield from _host_power(parts)
    if parts.reader is not None:
        parts.reader.close()


def _clock(clock: Clock) -> Finding:
    wall = datetime.fromtimestamp(clock.now_us() // MICROSECONDS, UTC)
    kept = is_synchronised() if clock.kind == "system" else None
    text = f"{wall:%Y-%m-%dT%H:%M:%SZ}, up {clock.monotonic_us() / MICROSECONDS / 3600:.1f} h, boot {clock.boot_id()}"
    if kept is False:
        return Finding(
            what="clock",
            status="warn",
            text=f"{text}: nothing keeps it in time",
            remedy="run chronyd or systemd-timesyncd; until then a clock that is off is put right by the broker's time",
        )
    return Finding(what="clock", status="ok", text=f"{text}{', kept in time' if kept else ''}")


def _state(settings: AgentSettings) -> Finding:
    if settings.state_dir is None:
        return Finding(
            what="state",
            status="warn",
            text="not kept: after a restart a lost message cannot be told",
            remedy="set [agent] state_dir to a directory that the agent may write",
        )
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        probe = settings.state_dir / ".check"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return Finding(
            what="state",
            status="fail",
            text=f"cannot write in {settings.state_dir}: {error.strerror}",
            remedy="give the agent a directory that it may write in [agent] state_dir",
        )
    return Finding(what="state", status="ok", text=f"kept in {settings.state_dir}")


def _gpus(parts: Parts) -> Iterator[Finding]:
    reader = parts.reader
    if reader is None:
        yield Finding(what="gpus", status="warn", text="none are read")
        return
    readings = {reading.gpu_uuid: reading for reading in reader.read(detail=True)}
    devices = reader.devices()
    if not devices:
        yield Finding(
            what="gpus", status="fail", text="the driver has no GPU that answers", remedy="see `nvidia-smi` and `dmesg`"
        )
    for index, device in enumerate(devices):
        yield _gpu(index, device, readings.get(device.gpu_uuid), reader)
    if reader.gpu_count > len(devices):
        missing = reader.gpu_count - len(devices)
        yield Finding(
            what="gpus",
            status="fail",
            text=f"{missing} of {reader.gpu_count} GPUs do not open",
            remedy="see `dmesg` for Xid errors; a GPU that needs a reset says so in `nvidia-smi`",
        )


def _gpu(index: int, device: Device, reading: GpuReading | None, reader: GpuReader) -> Finding:
    reasons = ", ".join(reading.reasons) if reading is not None else "no reading"
    power = reading.power_milliwatts if reading is not None else None
    watts = f"{power / 1000:.0f} W" if power is not None else "power unknown"
    sources, answering = _sources(reader, device)
    text = (
        f"{device.name or 'unnamed'} ({device.gpu_uuid}), compute capability {device.compute_capability or 'unknown'}, "
        f"{watts}, energy of the {device.energy_scope} by {sources}{', MIG' if device.mig_enabled else ''}"
    )
    if not reasons:
        return Finding(what=f"gpu {index}", status="ok", text=text, answering=answering)
    readable = power is not None or (reading is not None and reading.energy_counter_millijoules is not None)
    remedy = (
        "what is missing stays unknown, it is never counted as 0"
        if readable
        else "see `dmesg` for Xid errors; virtual GPUs may not show their energy"
    )
    return Finding(
        what=f"gpu {index}",
        status="warn" if readable else "fail",
        text=f"{text}: {reasons}",
        remedy=remedy,
        answering=answering,
    )


def _sources(reader: GpuReader, device: Device) -> tuple[str, tuple[str, ...]]:
    # Only real GPUs are probed.
    probed = getattr(reader, "probed", None)
    if probed is None:
        return "simulation", ()
    plan, answers = probed()[device.gpu_uuid]
    answering = tuple(str(source) for source, answer in answers.items() if answer.code == SUCCESS)
    return f"{plan.energy or 'no counter'}, power by {plan.power or 'nothing'}", answering


def _servers(parts: Parts, servers: list[Server]) -> Iterator[Finding]:
    if parts.tokens is None:
        yield Finding(
            what="servers",
            status="warn",
            text="none configured: no tokens are counted on this node",
            remedy='add [[agent.servers]] with url = "http://127.0.0.1:8000"',
        )
        return
    processes = parts.reader.processes() if parts.finder is not None and parts.reader is not None else {}
    if parts.finder is not None:
        parts.finder.find(gpu_pids(processes))
    look = parts.tokens.look()
    if parts.finder is not None and not look.servers and not look.problems:
        yield Finding(
            what="servers",
            status="warn",
            text=f"none configured, and none found behind {len(gpu_pids(processes))} processes on GPUs",
            remedy='start one, or add [[agent.servers]] with url = "http://127.0.0.1:8000"',
        )
    servers.extend(look.servers)
    for server in look.servers:
        if server.address not in look.problems:
            gpus = f"{server.expected_gpu_count} GPUs" if server.expected_gpu_count else "GPU count unknown"
            yield Finding(
                what="server",
                status="ok",
                text=f"{server.address}: {server.engine} {server.engine_version or ''} serving "
                f"{server.model_served or 'an unknown model'} as {server.deployment}/{server.replica}, {gpus}",
            )
    for address, problem in look.problems.items():
        named, _, remedy = problem.partition(": ")
        if named in (METRICS_DISABLED, NO_PAGE):
            yield Finding(what="server", status="fail", text=f"{address}: {named}", remedy=remedy)
            continue
        yield Finding(
            what="server",
            status="fail",
            text=f"{address}: {problem}",
            remedy="see that the server runs and shows metrics; `tokenmill-agent check --page FILE` explains a page",
        )


def _placements(parts: Parts, servers: list[Server]) -> Iterator[Finding]:
    processes = parts.reader.processes() if parts.reader is not None else None
    rows = parts.placements.place(parts.clock.now_us(), processes, servers)
    held: dict[str, list[Placement]] = {}
    for row in rows:
        name = f"{row.deployment}/{row.replica}" if row.replica is not None else row.basis
        held.setdefault(name, []).append(row)
    for name, of_name in held.items():
        yield _placement(name, of_name)
    if processes is not None and (blind := sum(1 for found in processes.values() if found is None)):
        yield Finding(
            what="placement",
            status="warn",
            text=f"the processes on {blind} GPUs cannot be asked",
            remedy="run the agent as root and with the host's process ids, or configure [[agent.placements]]",
        )


def _kubernetes(parts: Parts) -> Iterator[Finding]:
    node = parts.kubernetes
    if node is None:
        return
    for problem in node.problems:
        yield Finding(
            what="kubernetes",
            status="fail",
            text=problem,
            remedy="see the mount of the kubelet's socket and the rights of the service account in infra/kubernetes",
        )
    if not node.problems:
        yield Finding(what="kubernetes", status="ok", text=f"{node.pod_count} pods on {parts.node}")


def _placement(name: str, rows: list[Placement]) -> Finding:
    gpus = f"{len({row.gpu_uuid for row in rows})} GPUs"
    if name == "empty":
        return Finding(what="placement", status="ok", text=f"{gpus} are empty")
    if name == "unknown_process":
        return Finding(
            what="placement",
            status="warn",
            text=f"{gpus} are held by a process that is no known server",
            remedy="add its server as [[agent.servers]], or say who holds them in [[agent.placements]]",
        )
    return Finding(what="placement", status="ok", text=f"{name}: {gpus}, by {rows[0].basis}")


def _host_power(parts: Parts) -> Iterator[Finding]:
    """Say what each configured source of the rest of the node's power gives, and why not where it gives none."""
    readable = False
    for source in parts.host:
        readings = source.read()
        for reading in readings:
            readable |= reading.reason is None
            yield _host_meter(reading)
        if not readings:
            yield Finding(what="host", status="ok", text=f"{source.name}: this node has no such meter")
    if parts.host and not readable:
        yield Finding(
            what="host",
            status="warn",
            text="nothing beside the GPUs is measured here",
            remedy="configure redfish or dcmi in [agent.host], or leave it: figures of whole nodes then stay unknown",
        )


def _host_meter(reading: HostReading) -> Finding:
    name = f"{reading.source}: {reading.id} ({reading.scope})"
    if reading.reason is not None:
        detail = f" ({reading.detail})" if reading.detail else ""
        return Finding(
            what="host",
            status="warn",
            text=f"{name}: {reading.reason}{detail}",
            remedy=_HOST_REMEDIES.get(reading.reason, "what is missing stays unknown, it is never counted as 0"),
        )
    power = reading.power_milliwatts
    value = f"{power / 1000:.0f} W" if power is not None else "a counter of energy"
    return Finding(what="host", status="ok", text=f"{name}: {value}")


def _sink(config: Config) -> Iterator[Finding]:
    if config.agent.sink != "kafka":
        yield Finding(what="sink", status="ok", text=config.agent.sink)
        return
    kafka = config.kafka
    require_settings(kafka)
    where = ", ".join(kafka.bootstrap_servers)
    log = ClientLog.attached()
    try:
        topics = _describe_topics(kafka)
    except (kafka_errors.KafkaError, ValueError, OSError, AssertionError) as error:
        yield _failed("kafka", where, log.explain(error))
        return
    finally:
        log.detach()
    yield Finding(what="kafka", status="ok", text=f"{where} answers")
    for topic in topics:
        name, code = topic["name"], topic["error_code"]
        if code == 0:
            yield Finding(what="topic", status="ok", text=f"{name}: {len(topic['partitions'])} partitions")
        else:
            yield _failed("topic", name, log.explain(kafka_errors.for_code(code)(name)))


def _failed(what: str, where: str, explanation: str) -> Finding:
    text, _, remedy = explanation.partition(": ")
    return Finding(what=what, status="fail", text=f"{where}: {text}", remedy=remedy or None)


def _describe_topics(kafka: KafkaSettings) -> list[dict[str, Any]]:
    client = KafkaAdminClient(
        **kafka.client_options(), client_id="tokenmill-agent-check", bootstrap_timeout_ms=_BOOTSTRAP_TIMEOUT_MS
    )
    with contextlib.closing(client):
        return list(client.describe_topics([kafka.gpu_power_topic, kafka.token_counters_topic]))
