"""A run numbers its messages and knows the run before it."""

from pathlib import Path

import pytest

from tokenmill_agent.state import RunState


def test_messages_of_a_kind_count_from_zero() -> None:
    """Each kind has its own numbers."""
    run = RunState(None)

    assert [0, 1, 0] == [run.next_sequence(kind) for kind in ("gpu-power", "gpu-power", "token-counters")]


def test_a_first_run_knows_no_other() -> None:
    """Without a directory, and in an empty one."""
    run = RunState(None)

    assert (None, None) == (run.previous_run_id, run.previous_last_sequence("gpu-power"))


def test_the_next_run_knows_what_was_sent_last(tmp_path: Path) -> None:
    """A message that was lost at the end of a run shows as a gap."""
    first = RunState(tmp_path)
    first.next_sequence("gpu-power")
    first.next_sequence("gpu-power")
    second = RunState(tmp_path)

    assert (first.run_id, 1, None) == (
        second.previous_run_id,
        second.previous_last_sequence("gpu-power"),
        second.previous_last_sequence("token-counters"),
    )
    assert first.run_id != second.run_id


def test_a_run_that_sent_nothing_leaves_the_one_before(tmp_path: Path) -> None:
    """An agent that ends at once does not hide what the one before it sent."""
    first = RunState(tmp_path)
    first.next_sequence("gpu-power")
    RunState(tmp_path)

    assert first.run_id == RunState(tmp_path).previous_run_id


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"run_id": 5}', '{"run_id": "a", "last_sequence": {"gpu-power": "x"}}']
)
def test_a_broken_file_is_no_earlier_run(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once and costs nothing else."""
    (tmp_path / "run.json").write_text(text)
    run = RunState(tmp_path)

    assert None is run.previous_run_id
    assert "the run before is not known" in caplog.text
    assert 0 == run.next_sequence("gpu-power")


def test_a_directory_that_cannot_be_written_costs_no_message(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is counted every time and said once."""
    (tmp_path / "file").write_text("not a directory")
    failures: list[None] = []
    run = RunState(tmp_path / "file" / "state", failed=lambda: failures.append(None))

    assert [0, 1] == [run.next_sequence("gpu-power") for _ in range(2)]
    assert 2 == len(failures)
    assert 1 == caplog.text.count("a gap cannot be told")
