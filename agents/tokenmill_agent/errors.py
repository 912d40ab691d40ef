"""Errors that a person reads: each names the input, the place and the remedy.

TokenmillError            exit code 1
  UsageError              exit code 2: a flag, a file or a key that cannot be right
"""

from typing import ClassVar


class TokenmillError(Exception):
    """Something failed that its reader can mend; printed as one line, without a traceback."""

    exit_code: ClassVar[int] = 1


class UsageError(TokenmillError):
    """What was asked for cannot be right: an unknown key, a flag that contradicts another, a file that is not there."""

    exit_code: ClassVar[int] = 2
