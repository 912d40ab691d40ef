"""The command as its user meets it: what it prints, and its exit codes."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, sleep

import msgspec
import pytest

from tests.agents.small_broker import SmallBroker
from tests.fake_nvml.build import FakeNvml
from tokenmill_agent.records import GpuPowerMessage, TokenCountersMessage
from tokenmill_agent.servers.scrape import SCRAPE_FAILED

PAGE = "llamacpp:prompt_tokens_total 120\nllamacpp:tokens_predicted_total 340\n"
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("TOKENMILL_")}


def agent(*arguments: str, cwd: Path, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        command(*arguments), cwd=cwd, env=environ or CLEAN, capture_output=True, text=True, check=False, timeout=120
    )


def command(*arguments: str) -> Sequence[str]:
    """Return the command line."""
    return [sys.executable, "-m", "tokenmill_agent.cli", *arguments]


@pytest.fixture
def free_port() -> int:
    """Return a port at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def node(tmp_path: Path, fake_nvml: FakeNvml) -> tuple[Path, dict[str, str]]:
    """Return a directory and an environment in which the real pynvml finds the stand-in."""
    return tmp_path, {**fake_nvml.environ(), "TOKENMILL_AGENT_TELEMETRY_PORT": "0"}


class TestOnce:
    """One batch."""

    def test_it_prints_the_gpus_of_the_driver(self, node: tuple[Path, dict[str, str]], fake_nvml: FakeNvml) -> None:
        """The line is the wire's, with the driver's own counter in it."""
        fake_nvml.write({"gpu0.energy": 126_272_101_025, "gpu0.power": 512_345, "gpu1": "!15"})
        done = agent("once", "--sink", "stdout", "--node", "n1", cwd=node[0], environ=node[1])
        message = msgspec.json.decode(done.stdout.splitlines()[0], type=GpuPowerMessage)

        assert 0 == done.returncode, done.stderr
        assert ("n1", False, 2, "580.105.08") == (
            message.node,
            message.simulated,
            message.gpu_count_expected,
            message.driver_version,
        )
        assert ([126_272_101_025], [512_345]) == (
            message.samples.energy_counter_millijoules,
            message.samples.power_mean_milliwatts,
        )

    def test_a_server_that_is_down_is_a_failed_look_once_it_was_known(self, tmp_path: Path, free_port: int) -> None:
        """A server that was never read has no row, since nothing is known of it: no message at all."""
        (tmp_path / "tokenmill.toml").write_text(
            f'[agent]\ngpus = "none"\n[[agent.servers]]\nurl = "http://127.0.0.1:{free_port}"\n'
        )
        done = agent("once", "--sink", "stdout", cwd=tmp_path)

        assert (0, "") == (done.returncode, done.stdout)
        assert "not counted" in done.stderr
        assert SCRAPE_FAILED not in done.stdout

    def test_it_prints_simulated_nodes_as_simulated(self, tmp_path: Path) -> None:
        """Two nodes, two messages each."""
        done = agent("once", "--sink", "stdout", "--simulate", "hopper,blackwell", cwd=tmp_path)
        lines = done.stdout.splitlines()
        power = [msgspec.json.decode(line, type=GpuPowerMessage) for line in lines[::2]]
        tokens = [msgspec.json.decode(line, type=TokenCountersMessage) for line in lines[1::2]]

        assert ["hopper-1", "blackwell-1"] == [message.node for message in power]
        assert {True} == {message.simulated for message in [*power, *tokens]}
        assert ["NVIDIA H200", "NVIDIA B200"] == [message.devices[0].name for message in power]

    def test_it_sends_to_a_broker(self, tmp_path: Path, small_broker: SmallBroker) -> None:
        """And says how much."""
        done = agent("once", "--simulate", "hopper", "--bootstrap-servers", small_broker.address, cwd=tmp_path)

        assert (0, "2 messages delivered\n") == (done.returncode, done.stdout)
        assert [b"hopper-1"] == [key for key, _, _ in small_broker.records("tokenmill.gpu-power", 1)]

    def test_a_broker_that_is_away_is_one_line(self, tmp_path: Path, free_port: int) -> None:
        """It says what was not delivered, where, and what to check; exit code 1."""
        (tmp_path / "tokenmill.toml").write_text("[agent]\nmax_close_seconds = 6.0\n")
        done = agent("once", "--simulate", "hopper", "--bootstrap-servers", f"127.0.0.1:{free_port}", cwd=tmp_path)

        assert 1 == done.returncode
        assert f"2 messages were not delivered: Kafka (127.0.0.1:{free_port})" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr

    def test_what_no_broker_took_waits_on_disk(self, tmp_path: Path, free_port: int, small_broker: SmallBroker) -> None:
        """With a state directory nothing is lost: the next run sends it."""
        (tmp_path / "tokenmill.toml").write_text("[agent]\nstate_dir = 'state'\nmax_close_seconds = 1.0\n")
        away = agent("once", "--simulate", "hopper", "--bootstrap-servers", f"127.0.0.1:{free_port}", cwd=tmp_path)
        agent(
            *("run", "--simulate", "hopper", "--telemetry-port", "0", "--for", "3"),
            *("--bootstrap-servers", small_broker.address),
            cwd=tmp_path,
        )
        headers = {headers[0][1] for _, _, headers in small_broker.records("tokenmill.gpu-power", 2)}

        assert 1 == away.returncode
        assert "2 messages wait on disk for the next run" in away.stderr
        assert {b"live", b"spooled"} == headers


class TestRun:
    """The agent itself."""

    def test_it_sends_what_is_left_when_it_is_told_to_end(self, tmp_path: Path) -> None:
        """SIGTERM long before the first message is due still gives the rows that were read."""
        process = subprocess.Popen(
            command("run", "--simulate", "hopper", "--sink", "stdout", "--telemetry-port", "0"),
            cwd=tmp_path,
            env=CLEAN,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        while "hopper-1 runs" not in process.stderr.readline():
            pass
        sleep(1.5)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        message = msgspec.json.decode(output.splitlines()[0], type=GpuPowerMessage)

        assert 0 == process.returncode
        assert 16 == len(message.samples.device)

    def test_it_ends_by_itself_where_it_is_told_for_how_long(self, tmp_path: Path) -> None:
        """A last row holds the seconds since the one before."""
        done = agent(
            "run", "--simulate", "hopper", "--sink", "stdout", "--telemetry-port", "0", "--for", "1.2", cwd=tmp_path
        )
        message = msgspec.json.decode(done.stdout.splitlines()[0], type=GpuPowerMessage)

        assert 0 == done.returncode
        assert (message.samples.integrated_us[-1] or 0) > 900_000

    def test_messages_lost_at_the_end_fail_it(self, tmp_path: Path, free_port: int) -> None:
        """Without a broker and without a state directory to keep them in, it says how many; exit code 1."""
        (tmp_path / "tokenmill.toml").write_text("[agent]\nmax_close_seconds = 1.0\n")
        done = agent(
            *("run", "--simulate", "hopper", "--telemetry-port", "0", "--for", "1.2"),
            *("--bootstrap-servers", f"127.0.0.1:{free_port}"),
            cwd=tmp_path,
        )

        assert 1 == done.returncode
        assert "messages were not delivered before the end" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr

    def test_its_help_keeps_the_names_of_signals(self, tmp_path: Path) -> None:
        """The description is a sentence, and SIGTERM stays in capitals."""
        assert "Read and send until SIGTERM or SIGINT" in agent("run", "--help", cwd=tmp_path).stdout

    def test_it_serves_its_own_metrics(self, tmp_path: Path, free_port: int) -> None:
        """On the port that it was given, from the start."""
        arguments = ("run", "--simulate", "hopper", "--sink", "stdout", "--telemetry-port", str(free_port))
        process = subprocess.Popen(
            command(*arguments), cwd=tmp_path, env=CLEAN, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        text = ""
        deadline = monotonic() + 60
        while 'tokenmill_agent_gpus{state="ok"} 8.0' not in text and monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/metrics", timeout=10) as page:
                    text = page.read().decode()
            except OSError:
                sleep(0.1)
        process.terminate()
        process.wait(60)

        assert 'tokenmill_agent_gpus{state="ok"} 8.0' in text
        assert 'tokenmill_agent_info{node="hopper-1"' in text

    def test_a_changed_driver_ends_it_for_its_supervisor(
        self, node: tuple[Path, dict[str, str]], fake_nvml: FakeNvml
    ) -> None:
        """Exit code 75 says: start me again."""
        fake_nvml.write({"call.nvmlInitWithFlags": "!18"})
        done = agent("run", "--sink", "stdout", cwd=node[0], environ=node[1])

        assert 75 == done.returncode
        assert "supervisor" in done.stderr

    def test_a_reader_that_is_gone_ends_it_in_one_line(self, tmp_path: Path) -> None:
        """Standard output that cannot be written to is named."""
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                command("run", "--simulate", "hopper", "--sink", "stdout", "--telemetry-port", "0", "--for", "1.2"),
                cwd=tmp_path,
                env=CLEAN,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                timeout=120,
            )

        assert 1 == done.returncode
        assert "cannot write messages to standard output: No space left on device" in done.stderr
        assert "Traceback" not in done.stderr


class TestCheck:
    """What is found."""

    def test_a_node_is_described_for_a_person(self, node: tuple[Path, dict[str, str]], fake_nvml: FakeNvml) -> None:
        """Each GPU with what counts its energy."""
        fake_nvml.write({"count": 1, "gpu0.name": "NVIDIA H100 80GB HBM3"})
        done = agent("check", "--sink", "stdout", cwd=node[0], environ=node[1])

        assert 0 == done.returncode
        assert "NVIDIA H100 80GB HBM3" in done.stdout
        assert "energy of the gpu by field 83, power by field 185" in done.stdout

    def test_machines_get_json(self, node: tuple[Path, dict[str, str]]) -> None:
        """With every probed field that answered."""
        done = agent("check", "--sink", "stdout", "--json", cwd=node[0], environ=node[1])
        found = json.loads(done.stdout)
        gpus = [finding for finding in found["findings"] if finding["what"].startswith("gpu ")]

        assert found["ok"]
        assert 2 == len(gpus)
        assert {"field 83", "field 186"} <= set(gpus[0]["answering"])

    def test_a_node_without_a_driver_fails_with_a_remedy(self, tmp_path: Path) -> None:
        """The rest is looked at all the same; exit code 1."""
        done = agent("check", "--sink", "stdout", cwd=tmp_path)

        assert 1 == done.returncode
        assert "no NVIDIA driver found (libnvidia-ml.so.1)" in done.stdout
        assert "--simulate" in done.stdout

    def test_a_saved_page_is_explained(self, tmp_path: Path) -> None:
        """As a table, and as JSON."""
        (tmp_path / "page").write_text(PAGE)
        table = agent("check", "--page", "page", cwd=tmp_path)
        rows = json.loads(agent("check", "--page", "page", "--json", cwd=tmp_path).stdout)

        assert ["engine", "rank", "field", "metric", "value"] == table.stdout.splitlines()[0].split()
        assert {"input_tokens": 120, "output_tokens": 340}.items() <= {
            row["field"]: row["value"] for row in rows
        }.items()


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    """It names the setting and what to do; exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = agent("run", "--simulate", "hopper", "--telemetry-port", port, cwd=tmp_path)

    assert 1 == done.returncode
    assert f"telemetry_port: cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


class TestWrongUsage:
    """What cannot be right."""

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (("run", "--simulate", "hoper"), 2, 'did you mean "hopper"'),
            (("run", "--config", "nothing.toml"), 2, "cannot read the configuration nothing.toml"),
            (("run", "--for", "-1"), 2, "more than 0 seconds"),
            (("run", "--sink", "carrier-pigeon"), 2, "invalid choice"),
            (("run", "--simulate", "hopper", "--bootstrap-servers", "kafka"), 2, "expected host:port"),
            (("run", "--simulate", "hopper,blackwell", "--node", "n", "--sink", "stdout"), 2, "several are simulated"),
            (("once",), 1, "no NVIDIA driver found"),
            (("check", "--page", "nothing"), 2, "--page: cannot read nothing"),
            ((), 2, "required"),
        ],
    )
    def test_it_is_one_line_without_a_traceback(
        self, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
    ) -> None:
        """Exit code 2 for what was asked, 1 for what failed."""
        done = agent(*arguments, cwd=tmp_path)

        assert code == done.returncode
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """A pipe whose reader has gone, as in `check | head -1`, ends the command without a traceback."""
    script = f"{shlex.quote(sys.executable)} -m tokenmill_agent.cli check | true"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)

    assert "" == done.stderr
