"""`python -m tests.conformance DIR`: runs the conformance cases of a directory against the product.

DIR holds `cases.json` or `cases_*.json`; file paths inside a case are relative to DIR. What a case says goes in as
messages, bills and price files, and what it expects is looked for in the published tables. Printed per figure: case,
expected, got, verdict; then a line a kind. The last line is `N passed, M failed`; the exit status is 0, 1 on a
difference, 2 on wrong usage.
"""

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.conformance import report
from tests.conformance.cases import Case, read_cases
from tests.conformance.runner import run
from tokenmill_agent.errors import UsageError
from tokenmill_agent.settings import nearest


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line names; return the exit status."""
    options = _parser().parse_args(arguments)
    logging.getLogger("tokenmill_pipeline").setLevel(logging.ERROR)
    try:
        cases = _chosen(options.directory, options.case)
    except UsageError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="tokenmill-conformance-") as folder:
        results = run(cases, Path(folder), _progress(len(cases)))
    failed = sum(not result.passed for result in results)
    if options.json:
        print(report.as_json(results))
    else:
        print(report.table(results), report.kinds_table(results), "", sep="\n\n", end="")
        print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", nargs="?", type=Path, metavar="DIR", help="holds cases.json or cases_*.json")
    parser.add_argument("--case", action="append", metavar="NAME", help="run this case only; may be given again")
    parser.add_argument("--json", action="store_true", help="print the results for a machine")
    return parser


def _chosen(directory: Path | None, names: Sequence[str] | None) -> list[Case]:
    if directory is None:
        raise UsageError("no DIR: name a directory that holds cases.json or cases_*.json")
    cases = read_cases(directory)
    if names is None:
        return cases
    known = [case.id for case in cases]
    for name in names:
        if name not in known:
            raise UsageError(f"--case {name!r}: no case of this id{nearest(name, known)}")
    return [case for case in cases if case.id in names]


def _progress(total: int) -> Callable[[int, Case], None]:
    """Return what tells a person at a terminal which case is carried out; machines and files get nothing."""
    if not sys.stderr.isatty():
        return lambda _number, _case: None

    def tell(number: int, case: Case) -> None:
        end = "\n" if number + 1 == total else ""
        print(f"\r\x1b[K{number + 1}/{total}  {case.id}", file=sys.stderr, end=end, flush=True)

    return tell


if __name__ == "__main__":
    sys.exit(main())
