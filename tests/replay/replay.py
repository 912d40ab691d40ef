"""Plays a capture to the agent: serves its pages, drives the clock from scrape to scrape, lets the agent look."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping

from tests.replay.captures import Capture, Page
from tests.replay.lives import TargetLives
from tests.replay.node import Node, make_node
from tokenmill_agent.clock import DrivenClock
from tokenmill_agent.servers.settings import ServerSettings
from tokenmill_agent.settings import KafkaSettings
from tokenmill_agent.sink import Sink

LEAD_US = 60_000_000
"""What already ran when a capture begins is started this long before its first scrape."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What was played: each target's model name in the marts, its address, and the time that it covers."""

    models: Mapping[str, str]
    addresses: Mapping[str, str]
    watched_from_us: int
    until_us: int


def play(capture: Capture, sink: Sink, kafka: KafkaSettings | None = None) -> Played:
    """Send the messages that an agent makes of `capture` to `sink`: one look, sample and message per scrape."""
    rounds = list(capture.rounds())
    first_us = min(page.at_us for page in rounds[0].values())
    clock = DrivenClock(first_us - LEAD_US)
    with _lives(capture) as lives:
        for target, page in rounds[0].items():
            # What answers at the first scrape was running before: nobody saw it begin.
            lives[target].begin(page)
        servers = {target: _settings(capture, target, lives[target].port) for target in capture.pages}
        node = make_node(
            f"replay-{capture.name}", list(servers.values()), clock=clock, kafka=kafka or KafkaSettings(), sink=sink
        )
        for pages in rounds:
            clock.advance_to_us(max(page.at_us for page in pages.values()))
            _show(lives, pages)
            _place(node, lives)
            node.agent.once()
        until_us = clock.now_us()
    return Played(
        models={target: str(server.model) for target, server in servers.items()},
        addresses={target: server.url.removesuffix("/") for target, server in servers.items()},
        watched_from_us=first_us,
        until_us=until_us,
    )


@contextlib.contextmanager
def _lives(capture: Capture) -> Iterator[dict[str, TargetLives]]:
    lives = {target: TargetLives() for target in capture.pages}
    try:
        yield lives
    finally:
        for life in lives.values():
            life.end()


def _settings(capture: Capture, target: str, port: int) -> ServerSettings:
    # Each target is a deployment of its own: the replay compares targets, it does not choose between their vantages.
    name = f"{capture.name}/{target}"
    path = capture.pages[target][0].url_path
    return ServerSettings(
        url=f"http://127.0.0.1:{port}{path}",
        deployment=name,
        replica="0",
        model=name,
        expected_gpu_count=1,
        timeout_seconds=30.0,
    )


def _show(lives: Mapping[str, TargetLives], pages: Mapping[str, Page]) -> None:
    for target, page in pages.items():
        lives[target].show(page)


def _place(node: Node, lives: Mapping[str, TargetLives]) -> None:
    for gpu, life in zip(node.gpus.holders, lives.values(), strict=True):
        node.gpus.holders[gpu] = life.pid
