"""What a server's command line says of it: an allow-list of flags, read from /proc and kept on this node."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from tokenmill_agent.records import Role
from tokenmill_agent.servers.discover import ancestors

_MAX_CHARACTERS: Final = 512
_MAX_BYTES: Final = 128 * 1024
_MAX_NUMBER: Final = 100_000
_KV_ROLES: Final[Mapping[str, Role]] = {"kv_producer": "prefill", "kv_consumer": "decode", "kv_both": "unknown"}
_MODES: Final[Mapping[str, Role]] = {"prefill": "prefill", "decode": "decode"}

_ROLE_FLAGS: Final[Mapping[Role, str]] = {"prefill": "--is-prefill-worker", "decode": "--is-decode-worker"}

Name = Literal[
    "model",
    "served",
    "tensor",
    "pipeline",
    "data",
    "expert",
    "nodes",
    "rank",
    "leader",
    "leader_port",
    "port",
    "quantization",
    "dtype",
    "kv_dtype",
    "speculative",
    "transfer",
    "mode",
]


_VALUED: Final = ("-X", "-W")
"""Options of the interpreter that take a value of their own."""

_LOCAL: Final = ("127.", "localhost", "0.0.0.0", "[::", "::")  # noqa: S104 - compared with, never bound to
_PROGRAM_WITHIN: Final = 6
_SIZES: Final[tuple[Name, ...]] = ("tensor", "pipeline", "data")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one engine is launched.

    The engine is known by `programs` (a program's name) or by `modules` (`python -m NAME`). `flags` are the only ones
    whose value is looked at. A flag of `unread` names a file of further settings: what is not on the command line is
    then unknown, not the default. `has_default_sizes` is False where an engine takes all GPUs that it sees unless it is
    told otherwise. `metrics_on` must be given for a metrics page to be there, `metrics_off` takes it away; `remedy`
    says what to do. `metrics_path` is the only path that may be asked: TensorRT-LLM's /metrics is emptied by a reader.
    """

    engine: str
    programs: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    after: str | None = None
    port: int | None = None
    flags: Mapping[str, Name]
    unread: tuple[str, ...] = ()
    has_default_sizes: bool = True
    metrics_on: str | None = None
    metrics_off: tuple[str, ...] = ()
    metrics_path: str = "/metrics"
    remedy: str


_VLLM_FLAGS: Final[Mapping[str, Name]] = {
    "--model": "model",
    "--served-model-name": "served",
    "--port": "port",
    "--tensor-parallel-size": "tensor",
    "-tp": "tensor",
    "--pipeline-parallel-size": "pipeline",
    "-pp": "pipeline",
    "--data-parallel-size": "data",
    "-dp": "data",
    "--nnodes": "nodes",
    "-n": "nodes",
    "--node-rank": "rank",
    "-r": "rank",
    "--master-addr": "leader",
    "--master-port": "leader_port",
    "--data-parallel-address": "leader",
    "-dpa": "leader",
    "--data-parallel-rpc-port": "leader_port",
    "-dpp": "leader_port",
    "--quantization": "quantization",
    "-q": "quantization",
    "--dtype": "dtype",
    "--kv-cache-dtype": "kv_dtype",
    "--speculative-config": "speculative",
    "--kv-transfer-config": "transfer",
}

_SGLANG_FLAGS: Final[Mapping[str, Name]] = {
    "--model": "model",
    "--model-path": "model",
    "--served-model-name": "served",
    "--port": "port",
    "--tp": "tensor",
    "--tp-size": "tensor",
    "--tensor-parallel-size": "tensor",
    "--pp-size": "pipeline",
    "--pipeline-parallel-size": "pipeline",
    "--dp": "data",
    "--dp-size": "data",
    "--data-parallel-size": "data",
    "--ep": "expert",
    "--ep-size": "expert",
    "--expert-parallel-size": "expert",
    "--nnodes": "nodes",
    "--node-rank": "rank",
    "--dist-init-addr": "leader",
    "--nccl-init-addr": "leader",
    "--quantization": "quantization",
    "--dtype": "dtype",
    "--kv-cache-dtype": "kv_dtype",
    "--speculative-algorithm": "speculative",
    "--disaggregation-mode": "mode",
}

_TRTLLM_FLAGS: Final[Mapping[str, Name]] = {
    "--model": "model",
    "--served_model_name": "served",
    "--served-model-name": "served",
    "--port": "port",
    "--tp_size": "tensor",
    "--tensor_parallel_size": "tensor",
    "--pp_size": "pipeline",
    "--pipeline_parallel_size": "pipeline",
    "--ep_size": "expert",
    "--moe_expert_parallel_size": "expert",
    "--kv_cache_dtype": "kv_dtype",
}

DIALECTS: Final[tuple[Dialect, ...]] = (
    Dialect(
        engine="vllm",
        programs=("vllm",),
        after="serve",
        modules=("vllm.entrypoints.openai.api_server", "vllm.entrypoints.cli.main"),
        port=8000,
        flags=_VLLM_FLAGS,
        unread=("--config",),
        metrics_off=("--disable-log-stats",),
        remedy="start it without --disable-log-stats",
    ),
    Dialect(
        engine="sglang",
        programs=("sglang",),
        after="serve",
        modules=("sglang.launch_server",),
        port=30000,
        flags=_SGLANG_FLAGS,
        unread=("--config",),
        metrics_on="--enable-metrics",
        remedy="add --enable-metrics",
    ),
    Dialect(
        engine="trtllm",
        programs=("trtllm-serve",),
        modules=("tensorrt_llm.commands.serve",),
        port=8000,
        flags=_TRTLLM_FLAGS,
        unread=("--extra_llm_api_options", "--config", "--extra-llm-api-options"),
        metrics_path="/prometheus/metrics",
        remedy="set return_perf_metrics: true in its --config file",
    ),
    Dialect(
        engine="llama.cpp",
        programs=("llama-server",),
        port=8080,
        flags={
            "--model": "model",
            "-m": "model",
            "--alias": "served",
            "-a": "served",
            "--port": "port",
            "--cache-type-k": "kv_dtype",
            "-ctk": "kv_dtype",
        },
        has_default_sizes=False,
        metrics_on="--metrics",
        remedy="add --metrics",
    ),
    Dialect(
        engine="tgi",
        programs=("text-generation-launcher", "text-generation-router"),
        port=3000,
        flags={
            "--model-id": "model",
            "--port": "port",
            "-p": "port",
            "--num-shard": "tensor",
            "--quantize": "quantization",
            "--dtype": "dtype",
            "--kv-cache-dtype": "kv_dtype",
        },
        has_default_sizes=False,
        remedy="see that its port answers on /metrics",
    ),
    Dialect(
        engine="lmdeploy",
        programs=("lmdeploy",),
        after="serve",
        port=23333,
        flags={
            "--model-name": "served",
            "--server-port": "port",
            "--tp": "tensor",
            "--dp": "data",
            "--ep": "expert",
            "--nnodes": "nodes",
            "--node-rank": "rank",
            "--dtype": "dtype",
            "--role": "mode",
        },
        metrics_off=("--disable-metrics",),
        remedy="start it without --disable-metrics, or with --enable-metrics where it is older",
    ),
    Dialect(
        engine="triton",
        programs=("tritonserver",),
        port=8002,
        flags={"--metrics-port": "port"},
        has_default_sizes=False,
        metrics_off=("--allow-metrics=false", "--allow-metrics=0"),
        remedy="start it with --allow-metrics=true",
    ),
    Dialect(
        engine="dynamo",
        modules=("dynamo.frontend",),
        port=8000,
        flags={"--http-port": "port", "--model-name": "served"},
        has_default_sizes=False,
        remedy="see that its port answers on /metrics",
    ),
    *(
        Dialect(
            engine=engine,
            modules=(f"dynamo.{engine}",),
            flags={
                **{name: said for name, said in flags.items() if said != "port"},
                "--disaggregation-mode": "mode",
            },
            unread=("--config", "--extra-engine-args"),
            remedy="set DYN_SYSTEM_PORT for it: only then a worker shows a metrics page",
        )
        for engine, flags in (("vllm", _VLLM_FLAGS), ("sglang", _SGLANG_FLAGS), ("trtllm", _TRTLLM_FLAGS))
    ),
)
"""Every engine whose command line is known."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What a command line says; None is what it does not say. Nothing else of the command line is kept.

    `rendezvous` is where the nodes of one unit meet, the same text on each of them; `follower` is True on a node whose
    processes serve another node's page. `expected_gpu_count` is tensor by pipeline by data parallel: the data-parallel
    replicas behind one page, on this node and others, are one unit; data parallelism inside the attention of SGLang
    takes no further GPUs. `remedy` says how to have metrics shown, `metrics_off` that they are known not to be.
    """

    engine: str
    port: int | None
    model: str | None = None
    model_root: str | None = None
    role: Role | None = None
    precision: str | None = None
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    data_parallel: int | None = None
    expert_parallel: int | None = None
    expected_gpu_count: int | None = None
    speculative: str | None = None
    rendezvous: str | None = None
    follower: bool = False
    metrics_off: bool = False
    metrics_path: str = "/metrics"
    remedy: str


NO_LAUNCH: Final = Launch(engine="", port=None, remedy="")
"""What is known of a server whose command line is of no known engine, or cannot be read."""


def read_launch(pid: int) -> Launch | None:
    """Return what the command line of process `pid` says, None where it launches no known engine or cannot be read."""
    try:
        with Path(f"/proc/{pid}/cmdline").open("rb") as file:
            text = file.read(_MAX_BYTES)
    except OSError:
        return None
    return parse_launch(text.decode("utf-8", "replace").rstrip("\0").split("\0"))


def launch_above(pid: int) -> Launch | None:
    """Return the launch of `pid` or of the nearest process above it that launches an engine."""
    return next((launch for above in ancestors(pid) if (launch := read_launch(above)) is not None), None)


def parse_launch(arguments: Sequence[str]) -> Launch | None:
    """Return what the arguments of a program say, None where they launch no known engine."""
    for dialect in DIALECTS:
        start = _start(dialect, arguments)
        if start is not None:
            return _launch(dialect, arguments[start:])
    return None


def _start(dialect: Dialect, arguments: Sequence[str]) -> int | None:
    """Return where the engine's own arguments begin: behind its program, or behind the interpreter and its script."""
    for index, argument in enumerate(arguments[:_PROGRAM_WITHIN]):
        is_behind = index > 0 and _is_interpreter(arguments[0])
        if argument == "-m" and is_behind:
            return index + 2 if arguments[index + 1 : index + 2] and arguments[index + 1] in dialect.modules else None
        if index > 0 and (argument.startswith("-") or (is_behind and arguments[index - 1] in _VALUED)):
            continue
        if argument.rpartition("/")[2] in dialect.programs and (index == 0 or is_behind):
            if dialect.after is None:
                return index + 1
            return index + 2 if arguments[index + 1 : index + 2] == [dialect.after] else None
        if index > 0:
            # What the interpreter runs is another script.
            return None
    return None


def _is_interpreter(program: str) -> bool:
    return re.fullmatch(r"python[\d.]*|bash|sh|tini|dumb-init", program.rpartition("/")[2]) is not None


def _launch(dialect: Dialect, arguments: Sequence[str]) -> Launch:
    said, flags = _flags(dialect, arguments)
    served = said.get("served")
    root = said.get("model") or _positional(dialect, arguments)
    complete = not any(flag in flags for flag in dialect.unread)
    default = 1 if complete and dialect.has_default_sizes else None
    sizes = {
        name: _number(said.get(name), default) for name in _SIZES if name in dialect.flags.values() or name == "tensor"
    }
    rank = _number(said.get("rank"), 0, least=0)
    return Launch(
        engine=dialect.engine,
        port=_number(said.get("port"), dialect.port if complete else None),
        model=_text(served) or _text(root),
        model_root=_text(root),
        role=_role(said, flags),
        precision=_text(said.get("quantization")) or _precision(said.get("dtype")),
        tensor_parallel=sizes["tensor"],
        pipeline_parallel=sizes.get("pipeline"),
        data_parallel=sizes.get("data"),
        expert_parallel=_expert(said, sizes, flags),
        expected_gpu_count=_gpu_count(sizes, flags, meets=_rendezvous(said, sizes) is not None),
        speculative=_speculative(said.get("speculative")),
        rendezvous=_rendezvous(said, sizes),
        follower=("--headless" in flags and dialect.engine == "vllm") or bool(rank),
        metrics_off=(dialect.metrics_on is not None and dialect.metrics_on not in flags)
        or any(flag in arguments for flag in dialect.metrics_off),
        metrics_path=dialect.metrics_path,
        remedy=dialect.remedy,
    )


def _flags(dialect: Dialect, arguments: Sequence[str]) -> tuple[dict[Name, str], set[str]]:
    """Return the values of the flags that may be read, and which flags are there."""
    said: dict[Name, str] = {}
    flags: set[str] = set()
    for index, argument in enumerate(arguments):
        if not argument.startswith("-"):
            continue
        flag, equals, value = argument.partition("=")
        flag = _spelled(flag, dialect)
        flags.add(flag)
        name = dialect.flags.get(flag)
        if name is None:
            continue
        following = arguments[index + 1] if index + 1 < len(arguments) else ""
        if equals or (following and not following.startswith("-")):
            said[name] = value if equals else following
    return said, flags


def _spelled(flag: str, dialect: Dialect) -> str:
    # Most engines take a flag with underscores and with dashes.
    dashed = flag.replace("_", "-")
    return flag if flag in dialect.flags or flag in dialect.unread else dashed


def _positional(dialect: Dialect, arguments: Sequence[str]) -> str | None:
    at = 1 if dialect.engine == "lmdeploy" or (dialect.engine == "trtllm" and arguments[:1] == ["serve"]) else 0
    if dialect.engine not in ("vllm", "trtllm", "lmdeploy") or len(arguments) <= at:
        return None
    return arguments[at] if not arguments[at].startswith("-") else None


def _role(said: Mapping[Name, str], flags: set[str]) -> Role | None:
    for role, flag in _ROLE_FLAGS.items():
        if flag in flags:
            return role
    if "mode" in said:
        return _MODES.get(said["mode"].lower())
    if "transfer" not in said:
        return None
    return _KV_ROLES.get(str(_json(said["transfer"]).get("kv_role")), "unknown")


def _speculative(text: str | None) -> str | None:
    if text is None:
        return None
    method = _json(text).get("method") if text.lstrip().startswith("{") else text
    return _text(method) if isinstance(method, str) else None


def _json(text: str) -> dict[str, object]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _expert(said: Mapping[Name, str], sizes: Mapping[Name, int | None], flags: set[str]) -> int | None:
    tensor, data = sizes.get("tensor"), sizes.get("data")
    if "--enable-expert-parallel" in flags and tensor is not None and data is not None:
        # vLLM spreads the experts over all of both.
        return tensor * data
    return _number(said.get("expert"), None)


def _gpu_count(sizes: Mapping[Name, int | None], flags: set[str], *, meets: bool) -> int | None:
    product = 1
    # A vLLM server of one data-parallel rank is a unit of its own, unless the ranks share a name.
    is_one_rank = "--data-parallel-rank" in flags and not meets
    for name, size in sizes.items():
        if name == "data" and ("--enable-dp-attention" in flags or is_one_rank):
            continue
        if size is None:
            return None
        product *= size
    return product


def _rendezvous(said: Mapping[Name, str], sizes: Mapping[Name, int | None]) -> str | None:
    leader, port = said.get("leader"), said.get("leader_port")
    several = (_number(said.get("nodes"), 1) or 1) > 1 or (sizes.get("data") or 1) > 1
    where = (leader or "").removeprefix("tcp://").strip()
    # Where no other node can come is no name that other nodes could have.
    if not where or not several or where.startswith(_LOCAL):
        return None
    return _text(f"rendezvous:{where}:{port}" if port else f"rendezvous:{where}")


def _precision(dtype: str | None) -> str | None:
    return None if dtype in (None, "auto") else _text(dtype)


def _number(text: str | None, default: int | None, *, least: int = 1) -> int | None:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        return None
    return int(text) if least <= int(text) <= _MAX_NUMBER else None


def _text(value: str | None) -> str | None:
    return value[:_MAX_CHARACTERS] if value else None
