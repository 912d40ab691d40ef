"""Errors and the exit codes that they carry."""

from tokenmill_agent.errors import TokenmillError, UsageError


def test_wrong_usage_is_a_failure_with_a_code_of_its_own() -> None:
    """Whoever catches failures catches wrong usage too; a script tells them apart by 1 and 2."""
    assert issubclass(UsageError, TokenmillError)
    assert (1, 2) == (TokenmillError.exit_code, UsageError.exit_code)
