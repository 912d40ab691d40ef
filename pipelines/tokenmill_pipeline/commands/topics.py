"""`tokenmill topics create`: the two topics of the wire."""

import dataclasses

from tokenmill_pipeline.commands.base import Call, Commands, add_command, add_group

DESCRIPTION = """\
Creates the topics of [kafka] gpu_power_topic and token_counters_topic where they are missing. Topics that exist
are left as they are; what differs from what was asked for is said. Messages carry the time at which the broker
appended them.
"""


def register(commands: Commands) -> None:
    """Add the group."""
    group = add_group(commands, "topics", "the two Kafka topics of the wire")
    create = add_command(group, "create", run, "create the topics that are missing", DESCRIPTION)
    create.add_argument("--partitions", type=int, metavar="N", help="of each topic (default 12)")
    create.add_argument("--replication", type=int, metavar="N", help="copies of each partition (default 1)")
    create.add_argument("--retention-days", type=int, metavar="DAYS", help="how long the broker keeps it (default 7)")
    create.add_argument("--timeout", type=float, metavar="SECONDS", help="how long to wait for a broker (default 10)")


def run(call: Call) -> int:
    """Create what is missing and print both topics."""
    from tokenmill_pipeline.topics import TopicSettings, create_topics

    given = {
        "partitions": call.arguments.partitions,
        "replication_factor": call.arguments.replication,
        "retention_days": call.arguments.retention_days,
        "timeout_seconds": call.arguments.timeout,
    }
    settings = TopicSettings(**{name: value for name, value in given.items() if value is not None})
    topics = [dataclasses.asdict(topic) for topic in create_topics(call.context.kafka, settings)]
    call.output.rows(list(topics[0]), [list(topic.values()) for topic in topics])
    return 0
