"""A real llama.cpp server on the CPU, watched by the agent's own loop while it answers requests, up to the mart."""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.replay.collected import CollectingSink
from tests.replay.expected import Tokens
from tests.replay.marts import build_and_publish, published_tokens
from tests.replay.node import Node, make_node
from tests.replay.reader import read_tokens
from tests.replay.tee import TeeSink
from tests.replay.transport import FileTransport
from tokenmill_agent.clock import SystemClock
from tokenmill_agent.records import Server
from tokenmill_agent.servers.settings import ServerSettings
from tokenmill_agent.settings import KafkaSettings

pytest.importorskip("xllamacpp", reason="the llama.cpp server is not installed for this platform")

from tests.integration.llamacpp import ALIAS, LlamaServer, make_model

PROMPTS = ("a short prompt", "another prompt that is a little longer", "a short prompt", "a short prompt and more")
WAIT_SECONDS = 120.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the weights once."""
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    make_model(path)
    return path


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A running agent and what it sent until now."""

    node: Node
    sink: CollectingSink
    transport: FileTransport
    from_us: int
    stop: threading.Event
    thread: threading.Thread

    def end(self) -> None:
        """Let the agent send what is left and end."""
        self.stop.set()
        self.thread.join()

    def look(self) -> None:
        """Wait for a look at the server that began after now."""
        now_us = SystemClock().now_us()
        wait_for(lambda: any(at_us > now_us for message in self._messages() for at_us in message))

    def wait_for_model(self) -> None:
        """Wait until a message tells the model of every process life; a busy server tells it late."""
        wait_for(lambda: bool(self.servers()) and all(server.model_served is not None for server in self.servers()))

    def servers(self) -> list[Server]:
        """Return the process lives that were seen, in order."""
        found = {server.server_id: server for one in tuple(self.sink.token_counters) for server in one.servers}
        return list(found.values())

    def tokens(self) -> Tokens:
        """Return what the messages count."""
        (found,) = read_tokens(tuple(self.sink.token_counters), watched_from_us=self.from_us).values()
        return found

    def _messages(self) -> list[list[int]]:
        return [message.samples.sampled_at_us for message in tuple(self.sink.token_counters)]


@pytest.fixture
def watched(model: Path, tmp_path: Path) -> Iterator[tuple[Watched, LlamaServer]]:
    """Run an agent that watches the port of a server, which is started and killed by the test."""
    server = LlamaServer(model)
    collecting, transport, clock = CollectingSink(), FileTransport(tmp_path / "messages.jsonl"), SystemClock()
    node = make_node(
        "node-1",
        [ServerSettings(url=server.url, expected_gpu_count=1, timeout_seconds=60.0)],
        clock=clock,
        kafka=KafkaSettings(),
        sink=TeeSink([collecting, transport.sink]),
        interval_seconds=0.1,
    )
    stop = threading.Event()
    watched = Watched(
        node=node,
        sink=collecting,
        transport=transport,
        from_us=clock.now_us(),
        stop=stop,
        thread=threading.Thread(target=node.agent.run, args=(stop,)),
    )
    watched.thread.start()
    try:
        # The kernel tells the start of a process to 10 ms: one that starts now began while the node was watched.
        wait_for(lambda: bool(collecting.gpu_power))
        yield watched, server
    finally:
        watched.end()
        transport.sink.close(0)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def serve(watched: Watched, server: LlamaServer) -> Tokens:
    """Ask one process life for some completions while it is watched; return what its answers reported."""
    watched.look()
    watched.wait_for_model()
    usages = [server.complete(prompt, 7 + number)["usage"] for number, prompt in enumerate(PROMPTS)]
    watched.look()
    return Tokens(
        input=sum(usage["prompt_tokens"] for usage in usages),
        cached=sum(usage["prompt_tokens_details"]["cached_tokens"] for usage in usages),
        output=sum(usage["completion_tokens"] for usage in usages),
    )


def sum_of(reported: list[Tokens]) -> Tokens:
    """Return the tokens of several process lives together."""
    return Tokens(
        input=sum(tokens.input or 0 for tokens in reported),
        cached=sum(tokens.cached or 0 for tokens in reported),
        output=sum(tokens.output or 0 for tokens in reported),
    )


def test_counts_what_the_answers_reported(watched: tuple[Watched, LlamaServer]) -> None:
    """Input with its cached part, cached input and output equal the sums of the answers' usage."""
    agent, server = watched
    with server:
        agent.node.gpus.holders["GPU-node-1-0"] = server.pid
        reported = serve(agent, server)

        assert reported == agent.tokens()
        assert (reported.cached or 0) > 0


def test_mart_holds_what_the_answers_reported(watched: tuple[Watched, LlamaServer], tmp_path: Path) -> None:
    """The published mart has the tokens of two process lives under the served model's name, on the GPU's generation."""
    agent, server = watched
    reported = []
    for _ in range(2):
        with server:
            agent.node.gpus.holders["GPU-node-1-0"] = server.pid
            reported.append(serve(agent, server))
    agent.end()

    agent.transport.land(tmp_path / "data" / "landing")
    found = published_tokens(build_and_publish(tmp_path / "data", SystemClock().now_us()))

    assert sum_of(reported) == found[ALIAS]


def test_counts_across_a_kill(watched: tuple[Watched, LlamaServer]) -> None:
    """A killed server and its successor on the same port are two lives, and every finished request of both counts."""
    agent, server = watched
    reported = []
    for _ in range(2):
        with server:
            reported.append(serve(agent, server))

    assert sum_of(reported) == agent.tokens()
    assert 2 == len(agent.servers())


def test_finds_out_who_serves_and_places_the_gpu(watched: tuple[Watched, LlamaServer]) -> None:
    """Engine, model, version and process start come from the server, and its process places the GPU."""
    agent, server = watched
    with server:
        agent.node.gpus.holders["GPU-node-1-0"] = server.pid
        agent.look()
        agent.wait_for_model()
        (found,) = agent.servers()
        started_at_us = SystemClock().process_started_at_us(server.pid)
        wait_for(lambda: any(row.basis == "process" for one in tuple(agent.sink.gpu_power) for row in one.placements))

    assert ("llama.cpp", ALIAS, ALIAS, f"node-1:{server.port}", started_at_us) == (
        found.engine,
        found.model_served,
        found.deployment,
        found.replica,
        found.process_started_at_us,
    )
    placed = {row.replica for one in agent.sink.gpu_power for row in one.placements if row.basis == "process"}
    assert {f"node-1:{server.port}"} == placed
