"""The history goes through a broker by the agent's own code."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tokenmill_agent.settings import KafkaSettings
from tokenmill_pipeline import broker
from tokenmill_pipeline.demo.history import send_history
from tokenmill_pipeline.demo.plan import SCENARIOS, Plan
from tokenmill_pipeline.lag import lag_messages
from tokenmill_pipeline.topics import TopicSettings, create_topics


@pytest.mark.slow
def test_the_broker_has_every_message_when_it_returns(tmp_path: Path) -> None:
    """What was counted as sent is there; both nodes tell how far they are."""
    end_at = datetime(2026, 11, 24, 13, tzinfo=UTC)
    plan = Plan(data_dir=tmp_path, first_at=end_at - timedelta(hours=1), end_at=end_at, now=end_at)
    told: dict[str, float] = {}
    with broker.running(tmp_path / "broker") as running:
        kafka = KafkaSettings(bootstrap_servers=(running.bootstrap,))
        create_topics(kafka, TopicSettings(partitions=2))
        counts = send_history(plan, kafka, lambda node, share: told.update({node: share}))
        waiting = lag_messages(tmp_path / "landing", kafka)

    assert counts.messages == sum(waiting.values())
    assert len(SCENARIOS) * 8 * 361 == counts.gpu_rows
    assert {"hopper-1": 1.0, "blackwell-1": 1.0} == told
