"""Sends the history of the invented nodes through Kafka: the agent's own loop on a driven clock."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from tokenmill_agent import simulate
from tokenmill_agent.errors import TokenmillError
from tokenmill_agent.settings import KafkaSettings
from tokenmill_agent.sink.kafka import KafkaSink
from tokenmill_agent.telemetry import Telemetry
from tokenmill_pipeline.demo.plan import SCENARIOS, Plan

QUEUE_BYTES: Final = 32 * 1024 * 1024
CLOSE_SECONDS: Final = 120.0


def send_history(plan: Plan, kafka: KafkaSettings, progress: Callable[[str, float], None]) -> simulate.HistoryCounts:
    """Send everything from the plan's first hour to its `now`, and return once the broker has all of it.

    Raises:
        TokenmillError: the broker did not take it.
    """
    since_us = _microseconds(plan.first_at)
    nodes = [simulate.SimulatedNode(simulate.SCENARIOS[name], since_us=since_us) for name in SCENARIOS]
    sink = KafkaSink(kafka, telemetry=Telemetry(), max_queue_bytes=QUEUE_BYTES, when_full="wait")
    try:
        counts = simulate.history(nodes, since_us, _microseconds(plan.now), sink, kafka=kafka, progress=progress)
    finally:
        left = sink.close(CLOSE_SECONDS)
    if left:
        raise TokenmillError(f"{left} messages of the history were not delivered: {sink.problem or 'no reason known'}")
    return counts


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)
