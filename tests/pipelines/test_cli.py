"""The command line as its user meets it: help, exit codes, and errors of one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tokenmill_pipeline import cli
from tokenmill_pipeline.cli import main, parser

COMMANDS = (
    ("demo",),
    ("topics", "create"),
    ("ingest",),
    ("billing", "load"),
    ("build",),
    ("publish",),
    ("fleet", "nodes"),
    ("fleet", "units"),
    ("fleet", "confirm"),
    ("serve",),
    ("sql",),
    ("doctor",),
)


def tokenmill(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tokenmill_pipeline.cli", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Each command explains itself and ends with exit code 0."""
    with pytest.raises(SystemExit) as end:
        parser().parse_args([*command, "--help"])

    assert 0 == end.value.code
    assert "--data-dir" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["build", "--from", "2026-11-24T13"], "--from and --to belong together"),
        (["build", "--from", "yesterday", "--to", "today"], "'yesterday' is not an hour; write 2026-11-24T13"),
        (["build", "--from", "2026-11-24T13:30", "--to", "2026-11-24T14"], "is not the start of an hour"),
        (["build", "--from", "2026-11-24T14", "--to", "2026-11-24T13"], "is not before"),
        (["sql", "select 1"], "analytics.duckdb does not exist"),
        (["fleet", "nodes"], "analytics.duckdb does not exist"),
        (["billing", "load", "nowhere.csv"], "nowhere.csv"),
        (["billing", "load", "x.csv", "--data-until", "soon"], "--data-until 'soon' is not a time"),
        (["billing", "load"], "[billing] inbox_dir is not set"),
        (["ingest", "--file", "nowhere.jsonl"], "cannot read nowhere.jsonl"),
        (["ingest", "--once", "--partitions", "a"], "--partitions 'a': expected numbers"),
        (["topics", "create", "--partitions", "0"], "must be at least 1"),
        (["serve"], "PREFECT_API_URL is not set"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_right_is_one_line_and_exit_code_2(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Wrong usage names the input and the remedy, without a traceback."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    code = main(["--data-dir", str(tmp_path / "data"), *arguments])
    lines = capsys.readouterr().err.splitlines()

    assert 2 == code
    assert 1 == len(lines)
    assert lines[0].startswith("error: ")
    assert said in lines[0]


def test_an_unknown_key_names_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error in the configuration is found before anything is done."""
    config = tmp_path / "tokenmill.toml"
    config.write_text("[build]\ngrace_second = 60\n", encoding="utf-8")

    assert 2 == main(["--config", str(config), "--data-dir", str(tmp_path), "build"])
    assert 'unknown key "grace_second", did you mean "grace_seconds"?' in capsys.readouterr().err


def test_no_broker_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    """Without a broker ingest says whom it asked and what to do."""
    done = tokenmill(
        "--data-dir", str(tmp_path), "ingest", "--once",
        TOKENMILL_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1",
        TOKENMILL_INGEST_BROKER_TIMEOUT_SECONDS="1",
    )  # fmt: skip

    assert 1 == done.returncode
    assert "no broker answers at 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a node with the light install the command says which extra it needs."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "tokenmill_pipeline"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "duckdb", None)

    assert 1 == cli.main(["build"])
    assert 'pip install "tokenmill[pipeline]"' in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_failure(tmp_path: Path) -> None:
    """`tokenmill sql --graph | head -1` ends quietly."""
    command = f"{sys.executable} -m tokenmill_pipeline.cli sql --graph --csv | head -1"
    done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True, cwd=tmp_path)

    assert ["stage,relation,kind,reads,grain"] == done.stdout.splitlines()
    assert "" == done.stderr


def test_flags_may_stand_before_and_after_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--data-dir` means the same in both places."""
    codes = (
        main(["--data-dir", str(tmp_path), "doctor", "--json"]),
        main(["--json", "doctor", "--data-dir", str(tmp_path)]),
    )
    printed = capsys.readouterr().out

    assert (1, 1) == codes
    assert 2 == printed.count(str(tmp_path / "landing"))


def test_a_full_disk_under_the_output_is_one_line(tmp_path: Path) -> None:
    """What cannot be written is said, with exit code 1 and no traceback."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    command = f"{sys.executable} -m tokenmill_pipeline.cli sql --graph --csv > /dev/full"
    done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True, cwd=tmp_path)

    assert 1 == done.returncode
    assert "error: cannot write the output: No space left on device\n" == done.stderr
