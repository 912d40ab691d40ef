"""The settings of one run: file, environment over it, flags over both."""

from pathlib import Path

import pytest

from tokenmill_agent.errors import UsageError
from tokenmill_pipeline import context


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a configuration with a key of each table that the pipeline reads."""
    path = tmp_path / "tokenmill.toml"
    path.write_text(
        '[pipeline]\ndata_dir = "from-file"\n[ingest]\nslice_seconds = 5.0\n[build]\ngrace_seconds = 60\n'
        '[fleet]\nrequire_confirmation = true\n[billing]\ninbox_dir = "bills"\n[serve]\nlocal_server_port = 0\n'
        '[kafka]\nbootstrap_servers = ["k:9092"]\n',
        encoding="utf-8",
    )
    return path


def test_every_table_is_read(config: Path) -> None:
    """Each part of the pipeline gets its own table."""
    run = context.load(config)

    assert Path("from-file") == run.pipeline.data_dir
    assert (5.0, 60, True) == (run.ingest.slice_seconds, run.build.grace_seconds, run.fleet.require_confirmation)
    assert (Path("bills"), 0, ("k:9092",)) == (
        run.billing.inbox_dir,
        run.serve.local_server_port,
        run.kafka.bootstrap_servers,
    )


def test_the_environment_wins_over_the_file_and_a_flag_over_both(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest word counts."""
    monkeypatch.setenv("TOKENMILL_PIPELINE_DATA_DIR", "from-environment")

    assert Path("from-environment") == context.load(config).pipeline.data_dir
    assert Path("from-flag") == context.load(config, Path("from-flag")).pipeline.data_dir


def test_a_wrong_table_is_found_when_it_is_read(tmp_path: Path) -> None:
    """A typing error in a table names the key that was meant."""
    path = tmp_path / "tokenmill.toml"
    path.write_text("[serve]\nbuild_corn = 'x'\n", encoding="utf-8")
    with pytest.raises(UsageError, match='did you mean "build_cron"'):
        _ = context.load(path).serve
