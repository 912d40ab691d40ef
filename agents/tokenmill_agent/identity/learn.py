"""Learns where this node stands, beside all other work: from its cloud, then from its cluster; configuration wins."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from typing import Final

from tokenmill_agent.records import Identity

Find = Callable[[], Identity | None]

_AGAIN_SECONDS: Final = (10.0, 60.0, 300.0)


def overlay(below: Identity, above: Identity) -> Identity:
    """Return `below` with everything over it that `above` says."""
    said = {one.name: value for one in fields(Identity) if (value := getattr(above, one.name)) is not None}
    return replace(below, **said)


def learn(configured: Identity, sources: Iterable[Find]) -> Identity:
    """Return what is known of this node; an earlier source wins over a later one, configuration over all."""
    found = Identity()
    for source in sources:
        told = source()
        found = overlay(told, found) if told is not None else found
    return overlay(found, configured)


def learn_beside(
    configured: Identity,
    sources: tuple[Find, ...],
    tell: Callable[[Identity], None],
    *,
    again_seconds: tuple[float, ...] = _AGAIN_SECONDS,
) -> threading.Thread:
    """Learn in a thread, and again after a while where nobody knew the machine: a service may start after the agent."""

    def work() -> None:
        for wait_seconds in (0.0, *again_seconds):
            time.sleep(wait_seconds)
            identity = learn(configured, sources)
            tell(identity)
            if identity.instance_id is not None:
                return

    thread = threading.Thread(target=work, name="identity", daemon=True)
    thread.start()
    return thread
