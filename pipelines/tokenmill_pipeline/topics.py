"""Creates the two topics of the wire, and says of those that exist where they differ from what ingest expects."""

import dataclasses
from typing import Any, Final

from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, TopicAlreadyExistsError

from tokenmill_agent.errors import UsageError
from tokenmill_agent.settings import KafkaSettings
from tokenmill_pipeline.kafka_client import describe_topics, explained, open_admin

_DAY_MILLISECONDS: Final = 24 * 3600 * 1000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TopicSettings:
    """How topics are created; an existing topic is never changed."""

    partitions: int = 12
    replication_factor: int = 1
    retention_days: int = 7
    timeout_seconds: float = 10.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TopicReport:
    """What became of a topic; `notes` are sentences on where an existing one differs from what was asked."""

    name: str
    created: bool
    partitions: int
    replication_factor: int
    notes: tuple[str, ...] = ()


def create_topics(kafka: KafkaSettings, settings: TopicSettings) -> list[TopicReport]:
    """Create the topics that are missing and return both; running it twice changes nothing.

    Raises:
        UsageError: a number that cannot be right.
        TokenmillError: no broker answers, credentials are refused, or creating is not allowed.
    """
    if settings.partitions < 1 or settings.replication_factor < 1 or settings.retention_days < 1:
        raise UsageError("partitions, replication factor and retention must be at least 1")
    names = [kafka.gpu_power_topic, kafka.token_counters_topic]
    with explained(kafka, "to create topics"):
        admin = open_admin(kafka, settings.timeout_seconds)
        try:
            before = describe_topics(admin, names)
            for name in names:
                if name not in before:
                    _create(admin, name, settings)
            return [
                _report(admin, topic, settings, created=topic["name"] not in before) for topic in _all(admin, names)
            ]
        finally:
            admin.close()


def _create(admin: Any, name: str, settings: TopicSettings) -> None:
    topic = {
        "num_partitions": settings.partitions,
        "replication_factor": settings.replication_factor,
        "configs": {
            # The append time is what clock offsets and the age of a message are measured with.
            "message.timestamp.type": "LogAppendTime",
            "retention.ms": str(settings.retention_days * _DAY_MILLISECONDS),
            # Agents compress; the broker keeps what they sent.
            "compression.type": "producer",
            "cleanup.policy": "delete",
        },
    }
    try:
        admin.create_topics({name: topic}, wait_for_metadata=True)
    except TopicAlreadyExistsError:
        # Somebody else was faster; what they made is reported like any other.
        admin.wait_for_topics([name])


def _all(admin: Any, names: list[str]) -> list[dict[str, Any]]:
    found = describe_topics(admin, names)
    return [found[name] for name in names if name in found]


def _report(admin: Any, topic: dict[str, Any], settings: TopicSettings, *, created: bool) -> TopicReport:
    partitions = topic["partitions"]
    replicas = min(len(partition["replica_nodes"]) for partition in partitions)
    notes = []
    if len(partitions) != settings.partitions:
        notes.append(f"has {len(partitions)} partitions, {settings.partitions} were asked for")
    if replicas != settings.replication_factor:
        notes.append(f"has {replicas} replicas, {settings.replication_factor} were asked for")
    if not created and _timestamp_type(admin, topic["name"]) == "CreateTime":
        notes.append("keeps the senders' own times; set message.timestamp.type=LogAppendTime")
    return TopicReport(
        name=topic["name"],
        created=created,
        partitions=len(partitions),
        replication_factor=replicas,
        notes=tuple(notes),
    )


def _timestamp_type(admin: Any, name: str) -> str | None:
    """Return the topic's setting, None where the broker does not tell (not every one knows the question)."""
    try:
        described = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)], config_filter="all")
    except KafkaError:
        return None
    value = described["topic"][name].get("message.timestamp.type", {}).get("value")
    return None if value is None else str(value)
