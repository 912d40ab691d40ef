"""The Prefect side: names, schedules, retries and artifacts, no logic; the only package that imports prefect.

Importing it sets Prefect's switches for this process and its children, before prefect itself is imported. What the
person set in the environment wins.
"""

import os
from typing import Final

ENVIRONMENT: Final = {
    # Two channels of telemetry, the server's and the client's.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # A forgotten PREFECT_API_URL must fail and not start a server of its own in each process.
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    # A run whose process is gone is found by its missing heartbeat; see `automation`.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    # Slots outlive a server that was killed only as long as their lease.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
}

for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
