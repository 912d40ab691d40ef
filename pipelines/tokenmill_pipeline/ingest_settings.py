"""The settings of ingest: when a slice is cut, what a message may hold, when an hour is sealed and deleted."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`[ingest.limits]`: what a message may hold; the bounds of sample times are around its append time.

    Files and driven clocks are exempt from `sample_age_days_max`: they replay what is long past.
    """

    message_bytes_max: int = 8 * 1024 * 1024
    message_rows_max: int = 100_000
    message_span_hours_max: int = 48
    string_bytes_max: int = 1024
    labels_bytes_max: int = 8192
    sample_age_days_max: int = 35
    sample_ahead_minutes_max: int = 10
    power_limit_factor: float = 1.2
    rejected_payload_bytes_max: int = 4096


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """`[ingest]`: a slice is cut at the first of `slice_seconds`, `_messages`, `_rows` and `_bytes` that is reached.

    `partitions` are those that this process reads of both topics, all of them where it is empty. `accept_gaps` goes on
    where the broker has lost or deleted what was not yet read, and counts it. An hour is sealed `late_window_hours`
    after its end and deleted `retention_days` after it, both at least `quiet_seconds` after the last of its rows came.
    What was rewritten is removed `removal_grace_seconds` later. Reading once ends in an error where the broker gives
    nothing for `stall_seconds`.
    """

    slice_seconds: float = 2.0
    slice_messages: int = 5_000
    slice_rows: int = 200_000
    slice_bytes: int = 64 * 1024 * 1024
    partitions: tuple[int, ...] = ()
    accept_gaps: bool = False
    broker_timeout_seconds: float = 10.0
    stall_seconds: float = 30.0
    late_window_hours: int = 72
    retention_days: int = 7
    quiet_seconds: float = 600.0
    removal_grace_seconds: float = 300.0
    maintenance_interval_seconds: float = 15.0
    compact_slices: int = 16
    merged_rows_max: int = 2_000_000
    memory_limit_megabytes: int = 1024
    limits: Limits = Limits()
