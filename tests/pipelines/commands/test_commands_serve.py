"""`tokenmill serve`: what is wrong before anything is started, and what its children are told."""

import dataclasses
import socket
from pathlib import Path

import pytest

from tokenmill_agent.errors import TokenmillError
from tokenmill_pipeline.billing.settings import BillingSettings
from tokenmill_pipeline.cli import main
from tokenmill_pipeline.commands.serve import DESCRIPTION, child_environment, prefect_home


def test_a_port_that_is_taken_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The port is tried before the server is started on it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code = main(["--data-dir", str(tmp_path), "serve", "--local-server", "--port", port])

    assert 2 == code
    assert f"port {port} of 127.0.0.1 cannot be had" in capsys.readouterr().err


def test_children_get_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child finds the same data and configuration, whatever its directory is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOKENMILL_CONFIG", raising=False)

    assert {"TOKENMILL_PIPELINE_DATA_DIR": "/data", "TOKENMILL_CONFIG": str(tmp_path / "t.toml")} == child_environment(
        Path("/data"), Path("t.toml")
    )
    assert {"TOKENMILL_PIPELINE_DATA_DIR": "/data"} == child_environment(Path("/data"), None)


def test_the_folder_of_the_local_server_is_made(tmp_path: Path) -> None:
    """A data directory that does not exist yet is no obstacle."""
    assert prefect_home(tmp_path / "new" / "data").is_dir()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """The place and the remedy are said."""
    (tmp_path / "file").touch()
    with pytest.raises(TokenmillError, match=r"cannot make .*file/data/prefect: .*--data-dir"):
        prefect_home(tmp_path / "file" / "data")


def test_the_help_names_the_key_of_the_bills() -> None:
    """What --help says is a key that the configuration has."""
    assert "[billing] inbox_dir" in DESCRIPTION
    assert "inbox_dir" in {field.name for field in dataclasses.fields(BillingSettings)}
