"""`[[agent.placements]]`: which replica holds which GPUs of this node, where an operator says so."""

import dataclasses
import re
import typing

from tokenmill_agent.errors import UsageError
from tokenmill_agent.records import Role
from tokenmill_agent.settings import nearest

WHERE: typing.Final = "[[agent.placements]]"
ALL_GPUS: typing.Final = "all"

_GPU: typing.Final = re.compile(r"GPU-\S+|\d{1,3}|\d{1,3}-\d{1,3}|all")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlacementSettings:
    """One replica, or its part on this node, and its GPUs.

    Each of `gpus` is a UUID, an index of the driver (`"0"`), a range of them (`"0-7"`) or `"all"`. `share` is the part
    of each of these GPUs that the replica holds, more than 0 to 1. `deployment` and `replica` are the names that the
    server has in `[[agent.servers]]`; all GPUs of a replica on several nodes carry the same.
    """

    gpus: tuple[str, ...]
    deployment: str
    replica: str
    role: str | None = None
    model: str | None = None
    share: float = 1.0
    labels: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be right.

        Raises:
            UsageError: naming the key, the value and what is allowed.
        """
        where = f"{WHERE} {self.deployment}/{self.replica}"
        if not self.gpus:
            raise UsageError(f'{where}: gpus is empty, expected UUIDs, indexes, ranges or ["all"]')
        for gpu in self.gpus:
            if _GPU.fullmatch(gpu) is None:
                raise UsageError(
                    f'{where}: gpus holds {gpu!r}, expected "GPU-...", an index such as "0", "0-7" or "all"'
                )
        if not 0 < self.share <= 1:
            raise UsageError(f"{where}: share is {self.share}, expected more than 0 to 1")
        roles = typing.get_args(Role)
        if self.role is not None and self.role not in roles:
            raise UsageError(
                f"{where}: role is {self.role!r}, expected one of {', '.join(roles)}{nearest(self.role, roles)}"
            )
