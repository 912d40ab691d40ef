"""What every reader of GPUs gives."""

from tokenmill_agent.errors import TokenmillError
from tokenmill_agent.gpu.devices import GpuDetail, RestartNeededError


def test_a_supervisor_knows_that_it_is_to_start_the_agent_anew() -> None:
    """The exit code is that of a failure which passes (EX_TEMPFAIL)."""
    assert issubclass(RestartNeededError, TokenmillError)
    assert 75 == RestartNeededError("text").exit_code


def test_a_detail_that_nobody_gave_is_missing() -> None:
    """No field has a default that looks like a reading."""
    detail = GpuDetail()

    assert {None} == {getattr(detail, name) for name in GpuDetail.__slots__}
