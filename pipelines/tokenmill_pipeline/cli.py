"""The `tokenmill` command: finds the command that was meant, runs it, and turns what fails into one line."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from tokenmill_agent.errors import TokenmillError
from tokenmill_pipeline.commands import billing, build, demo, doctor, fleet, ingest, serve, sql, topics
from tokenmill_pipeline.commands.base import Call, common_flags
from tokenmill_pipeline.tables import Output, OutputError

DESCRIPTION: Final = """\
Hourly cost per token and tokens per megawatt of a real GPU fleet.

  first look     tokenmill demo
  every day      tokenmill topics create, tokenmill serve
  by hand        tokenmill ingest, tokenmill billing load, tokenmill build, tokenmill publish
  the figures    tokenmill sql, tokenmill fleet, tokenmill doctor

Exit codes: 0 done, 1 failed, 2 wrong usage. Settings come from flags, TOKENMILL_... variables and tokenmill.toml.
"""

EXTRAS: Final = {
    **dict.fromkeys(("duckdb", "polars", "prefect", "msgspec", "rich", "crc32c", "zstandard"), "tokenmill[pipeline]"),
    "noida_db": "tokenmill[pipeline,demo]",
}
"""Which extra brings a package that may be missing."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    top = argparse.ArgumentParser(
        prog="tokenmill",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common_flags()],
    )
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for group in (demo, topics, ingest, billing, build, fleet, serve, sql, doctor):
        group.register(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = parser().parse_args(argv)
    output = Output("json" if getattr(arguments, "json", False) else "table")
    try:
        return int(arguments.run(Call(arguments=arguments, output=output)))
    except OutputError as error:
        _drop_output()
        return _fail(str(error), error.exit_code)
    except TokenmillError as error:
        return _fail(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        return _fail(f'{error.name} is missing: this is the light agent; pip install "{extra}"', 1)
    except KeyboardInterrupt:
        return _fail("interrupted", 1)
    except BrokenPipeError:
        # Whoever read the output, `head` say, has gone; that is no failure.
        _drop_output()
        return 0


def _drop_output() -> None:
    """Send what is left in the buffer nowhere: the interpreter flushes it when it ends and must not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
