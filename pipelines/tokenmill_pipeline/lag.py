"""Asks the broker how many messages of each topic have not landed yet."""

from pathlib import Path
from typing import Final

from kafka import TopicPartition

from tokenmill_agent.errors import TokenmillError
from tokenmill_agent.settings import KafkaSettings
from tokenmill_pipeline.kafka_client import explained, open_consumer
from tokenmill_pipeline.landing import stored_offsets

_TIMEOUT_SECONDS: Final = 5.0


def lag_messages(landing_dir: Path, kafka: KafkaSettings) -> dict[str, int]:
    """Return by topic how many messages the broker holds beyond what has landed.

    Raises:
        TokenmillError: no broker answers, a topic is missing, or reading is not allowed.
    """
    stored = stored_offsets(landing_dir)
    found = {}
    with explained(kafka, "to ask for the lag"):
        consumer = open_consumer(kafka, _TIMEOUT_SECONDS)
        try:
            for topic in (kafka.gpu_power_topic, kafka.token_counters_topic):
                numbers = consumer.partitions_for_topic(topic)
                if not numbers:
                    raise TokenmillError(f"topic {topic} does not exist: create it with `tokenmill topics create`")
                partitions = [TopicPartition(topic, number) for number in numbers]
                first, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
                read = {tp: stored.get((topic, tp.partition), first[tp]) for tp in partitions}
                found[topic] = sum(max(0, ends[tp] - read[tp]) for tp in partitions)
        finally:
            consumer.close()
    return found
