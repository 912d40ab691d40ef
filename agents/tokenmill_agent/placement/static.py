"""Placements that an operator wrote down: they hold whatever runs on the GPU."""

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from tokenmill_agent.errors import UsageError
from tokenmill_agent.placement.settings import ALL_GPUS, WHERE, PlacementSettings
from tokenmill_agent.records import Placement, Role, Server

_ROUNDING = 1e-9


def static_placements(
    settings: Iterable[PlacementSettings], *, gpus: Sequence[str], servers: Sequence[Server], observed_at_us: int
) -> list[Placement]:
    """Return a row per configured GPU that is on this node; `gpus` are its UUIDs in the driver's order.

    Raises:
        UsageError: the shares of a GPU sum to more than 1.
    """
    rows = []
    shares: dict[str, float] = {}
    for one in settings:
        server = next((server for server in servers if _serves(server, one)), None)
        for gpu in resolve(one.gpus, gpus):
            shares[gpu] = shares.get(gpu, 0.0) + one.share
            if shares[gpu] > 1 + _ROUNDING:
                raise UsageError(f"{WHERE} {one.deployment}/{one.replica}: the shares of {gpu} sum to more than 1")
            rows.append(_row(one, gpu, server, observed_at_us))
    return rows


def resolve(wanted: Iterable[str], gpus: Sequence[str]) -> list[str]:
    """Return the UUIDs among `gpus` that UUIDs, indexes, ranges or `all` name, each once; others are passed over."""
    found: dict[str, None] = {}
    for text in wanted:
        found.update((gpu, None) for gpu in _named(text, gpus))
    return list(found)


def _named(text: str, gpus: Sequence[str]) -> Iterator[str]:
    if text == ALL_GPUS:
        yield from gpus
    elif text in gpus:
        yield text
    elif text[0].isdigit():
        first, _, last = text.partition("-")
        yield from gpus[int(first) : int(last or first) + 1]


def _serves(server: Server, one: PlacementSettings) -> bool:
    return (server.deployment, server.replica) == (one.deployment, one.replica)


def _row(one: PlacementSettings, gpu: str, server: Server | None, observed_at_us: int) -> Placement:
    return Placement(
        observed_at_us=observed_at_us,
        gpu_uuid=gpu,
        mig_uuid=None,
        deployment=one.deployment,
        replica=one.replica,
        role=cast("Role | None", one.role or (server.role if server is not None else None)),
        model_served=one.model or (server.model_served if server is not None else None),
        labels=one.labels,
        process_started_at_us=server.process_started_at_us if server is not None else None,
        share=one.share,
        basis="static",
    )
