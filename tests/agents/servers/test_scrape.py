"""Tests of looking at servers, over real sockets on a clock that the test drives."""

import logging
import socket
from collections.abc import Iterator

import pytest

from tests.agents.servers.pages import PageServer
from tokenmill_agent.clock import DrivenClock
from tokenmill_agent.errors import UsageError
from tokenmill_agent.servers.scrape import TokenLook, TokenWatcher, join_looks
from tokenmill_agent.servers.settings import ServerSettings

START_US = 1_795_493_000_000_000
LLAMACPP_PAGE = "llamacpp:prompt_tokens_total 120\nllamacpp:tokens_predicted_total 340\n"


def page(prompt: int, output: int, *, start: float | None = 1_795_492_000.5, engine: int = 0) -> str:
    """Return a page of vLLM's Python front end."""
    lines = [f"process_start_time_seconds {start}\n"] if start is not None else []
    labels = f'{{engine="{engine}",model_name="tiny"}}'
    return "".join(
        [
            *lines,
            f"vllm:prompt_tokens_total{labels} {prompt}.0\n",
            f"vllm:prompt_tokens_by_source_total{labels} {prompt}.0\n",
            f"vllm:prompt_tokens_cached_total{labels} 0.0\n",
            f"vllm:generation_tokens_total{labels} {output}.0\n",
        ]
    )


@pytest.fixture
def clock() -> DrivenClock:
    """Return a clock that stands."""
    return DrivenClock(START_US)


@pytest.fixture
def server() -> Iterator[PageServer]:
    """Run a server with a page."""
    with PageServer(metrics=page(100, 30)) as running:
        yield running


def watch(*settings: ServerSettings, clock: DrivenClock) -> TokenWatcher:
    """Return a watcher of a node called n1."""
    return TokenWatcher(settings, node="n1", clock=clock)


class TestLook:
    """Looks that succeed."""

    def test_gives_counters_as_the_page_has_them(self, server: PageServer, clock: DrivenClock) -> None:
        """One row per series, at the time of the look."""
        look = watch(ServerSettings(url=server.url), clock=clock).look()

        assert ([100], [0], [30]) == (
            look.samples.input_tokens,
            look.samples.cached_input_tokens,
            look.samples.output_tokens,
        )
        assert ([START_US], [clock.monotonic_us()]) == (look.samples.sampled_at_us, look.samples.monotonic_us)
        assert ([None], [None]) == (look.samples.reason, look.samples.requests)

    def test_every_column_has_a_value_per_row(self, server: PageServer, clock: DrivenClock) -> None:
        """Columns of one look are of one length."""
        server.show("/metrics", page(1, 1) + page(2, 2, engine=1, start=None))

        samples = watch(ServerSettings(url=server.url), clock=clock).look().samples

        assert {2} == {len(getattr(samples, name)) for name in samples.__slots__}

    def test_never_asks_at_the_path_that_tensorrt_llm_empties(self, clock: DrivenClock) -> None:
        """An address alone is asked at the paths of single engines first: its JSON belongs to another reader."""
        tokens = '{model_name="r1",engine_type="pytorch"}'
        with PageServer() as server:
            server.show(
                "/prometheus/metrics",
                f"trtllm_prompt_tokens_total{tokens} 7.0\ntrtllm_generation_tokens_total{tokens} 5.0\n",
            )
            server.show("/metrics", "[]", content_type="application/json")
            look = watch(ServerSettings(url=server.url), clock=clock).look()

            assert ([7], [5]) == (look.samples.input_tokens, look.samples.output_tokens)
            assert "/metrics" not in [path for path, _ in server.asked]

    def test_names_the_process_life_by_the_page(self, server: PageServer, clock: DrivenClock) -> None:
        """The page's own start wins over that of the listening process."""
        (found,) = watch(ServerSettings(url=server.url), clock=clock).look().servers

        assert 1_795_492_000_500_000 == found.process_started_at_us
        assert f"{server.url}#1795492000500000" == found.server_id

    def test_names_the_process_life_by_the_listening_process(self, server: PageServer, clock: DrivenClock) -> None:
        """Where the page does not say, the start of the process that listens counts, in the clock's time."""
        server.show("/metrics", page(1, 1, start=None))

        (found,) = watch(ServerSettings(url=server.url), clock=clock).look().servers

        assert found.server_id.startswith(f"{server.url}#boot+")
        assert START_US > (found.process_started_at_us or START_US)

    def test_a_step_of_the_wall_clock_changes_no_id(self, server: PageServer, clock: DrivenClock) -> None:
        """A process life keeps its id when the wall clock is set back."""
        server.show("/metrics", page(1, 1, start=None))
        watcher = watch(ServerSettings(url=server.url), clock=clock)

        first = watcher.look().servers[0].server_id
        clock.step_wall(-120)

        assert first == watcher.look().servers[0].server_id

    def test_says_what_the_operator_said(self, server: PageServer, clock: DrivenClock) -> None:
        """Configuration wins over what the server tells, and says that it is configuration."""
        settings = ServerSettings(
            url=server.url,
            deployment="chat",
            replica="r1",
            role="decode",
            model="Big",
            precision="fp8",
            expected_gpu_count=8,
        )

        (found,) = watch(settings, clock=clock).look().servers

        assert ("chat", "r1", "decode", "Big", "fp8", 8) == (
            found.deployment,
            found.replica,
            found.role,
            found.model_served,
            found.precision,
            found.expected_gpu_count,
        )
        assert ("configuration", "configuration") == (found.role_basis, found.precision_basis)

    def test_finds_out_what_nobody_said(self, server: PageServer, clock: DrivenClock) -> None:
        """Model, version and ids come from the server, its page and its address."""
        server.show("/version", '{"version":"0.32.0"}', content_type="application/json")

        (found,) = watch(ServerSettings(url=server.url), clock=clock).look().servers

        port = server.url.rpartition(":")[2]
        assert ("vllm", "0.32.0", "tiny", "tiny", f"n1:{port}") == (
            found.engine,
            found.engine_version,
            found.model_served,
            found.deployment,
            found.replica,
        )
        assert ("aggregated", "default", None) == (found.role, found.role_basis, found.expected_gpu_count)

    def test_asks_for_the_identity_once_per_life(self, server: PageServer, clock: DrivenClock) -> None:
        """A restart is asked again, a further look is not."""
        watcher = watch(ServerSettings(url=server.url), clock=clock)

        watcher.look()
        watcher.look()
        server.show("/metrics", page(0, 0, start=1_795_493_500.0))
        watcher.look()

        assert 2 == [path for path, _ in server.asked].count("/v1/models")

    def test_a_model_told_late_is_known_and_moves_no_deployment(self, server: PageServer, clock: DrivenClock) -> None:
        """A server that loads for nine looks is asked until it tells; its deployment stays as first listed."""
        server.show("/metrics", LLAMACPP_PAGE)
        server.show("/v1/models", "", status=503)
        watcher = watch(ServerSettings(url=server.url), clock=clock)
        looks = [watcher.look() for _ in range(9)]
        server.show("/v1/models", '{"data":[{"id":"late"}]}', content_type="application/json")
        looks += [watcher.look() for _ in range(8)]

        (found,) = join_looks(looks).servers
        fallback = f"llama.cpp@n1:{server.url.rpartition(':')[2]}"
        assert (None, "late") == (looks[8].servers[0].model_served, found.model_served)
        assert {fallback} == {look.servers[0].deployment for look in looks}
        assert 6 == [path for path, _ in server.asked].count("/v1/models")

    def test_address_has_no_credentials(self, server: PageServer, clock: DrivenClock) -> None:
        """Name and password are used to ask and stand nowhere in what is sent."""
        server.show("/metrics?token=secret", page(100, 30))
        url = server.url.replace("http://", "http://me:secret@") + "/metrics?token=secret"

        look = watch(ServerSettings(url=url), clock=clock).look()

        assert [100] == look.samples.input_tokens
        assert "secret" not in repr(look)

    def test_absent_counter_has_a_row_with_its_reason(self, server: PageServer, clock: DrivenClock) -> None:
        """A look that succeeded and found a counter missing is told from one that failed."""
        server.show("/metrics", 'vllm:generation_tokens_total{engine="0"} 0\n')

        samples = watch(ServerSettings(url=server.url), clock=clock).look().samples

        assert (["series_absent"], [None], [0]) == (samples.reason, samples.input_tokens, samples.output_tokens)

    def test_a_rank_that_vanishes_has_a_row_with_its_reason(self, server: PageServer, clock: DrivenClock) -> None:
        """A rank that was seen stays a series of its process."""
        watcher = watch(ServerSettings(url=server.url), clock=clock)
        server.show("/metrics", page(1, 1) + page(2, 2, engine=1, start=None))
        watcher.look()
        server.show("/metrics", page(3, 3))

        samples = watcher.look().samples

        assert ([3, None], [None, "series_absent"]) == (samples.input_tokens, samples.reason)


class TestFailures:
    """Looks that fail."""

    def test_a_failed_look_has_a_row_per_known_series(self, server: PageServer, clock: DrivenClock) -> None:
        """A server that was read before has rows without values."""
        watcher = watch(ServerSettings(url=server.url), clock=clock)
        watcher.look()
        server.show("/metrics", "", status=503)

        look = watcher.look()

        assert (["scrape_failed"], [None]) == (look.samples.reason, look.samples.output_tokens)
        assert {server.url: "status 503"} == look.problems

    def test_a_server_never_read_has_no_row(self, clock: DrivenClock) -> None:
        """Nothing is known of a server that never answered, and the look says why."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        look = watch(ServerSettings(url=url), clock=clock).look()

        assert ([], [], []) == (look.servers, look.series, look.samples.series)
        assert {url: "no connection: Connection refused"} == look.problems

    @pytest.mark.parametrize(
        ("text", "content_type", "problem"),
        [
            ("up 1\n", "text/plain", "no counters of a known engine"),
            ("<p>\n", "text/html", "no metrics page"),
            (page(1, 1).rstrip("\n"), "text/plain", "cut off"),
            (page(1, 1).replace("tiny", "\u00e4" * 70_000), "text/plain", "longer than"),
        ],
    )
    def test_a_page_that_cannot_be_counted_is_a_failed_look(
        self, server: PageServer, clock: DrivenClock, text: str, content_type: str, problem: str
    ) -> None:
        """The reason is kept for whoever asks."""
        server.show("/metrics", text, content_type=content_type)

        look = watch(ServerSettings(url=server.url), clock=clock).look()

        assert problem in look.problems[server.url]

    def test_one_bad_server_does_not_hide_the_others(self, server: PageServer, clock: DrivenClock) -> None:
        """Every other server has its rows."""
        with PageServer() as dead:
            look = watch(ServerSettings(url=dead.url), ServerSettings(url=server.url), clock=clock).look()

        assert ([server.url], [100]) == ([found.address for found in look.servers], look.samples.input_tokens)

    def test_a_change_is_logged_once(
        self, server: PageServer, clock: DrivenClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Two failed looks in a row give one line, the next success another."""
        caplog.set_level(logging.INFO)
        watcher = watch(ServerSettings(url=server.url), clock=clock)
        good = server.pages.pop("/metrics")

        watcher.look()
        watcher.look()
        server.pages["/metrics"] = good
        watcher.look()

        assert ["not counted: status 404", "counted again"] == [
            record.getMessage().partition(f"{server.url}: ")[2] for record in caplog.records
        ]


class TestConfiguration:
    """What cannot be watched."""

    def test_a_server_elsewhere_must_be_said_to_be_remote(self, clock: DrivenClock) -> None:
        """An address of another host is refused with the remedy."""
        with pytest.raises(
            UsageError, match=r"http://192\.0\.2\.1:8000: not an address of this node; say remote = true"
        ):
            watch(ServerSettings(url="http://192.0.2.1:8000"), clock=clock)

        watch(ServerSettings(url="http://192.0.2.1:8000", remote=True, node="n1"), clock=clock)

    @pytest.mark.parametrize(
        "url", ["http://me:x@127.0.0.1:8000/", "http://127.0.0.1:8000/metrics", "http://localhost:8000"]
    )
    def test_one_server_twice(self, clock: DrivenClock, url: str) -> None:
        """Two entries of one page, however they are written, would count its tokens twice."""
        with pytest.raises(UsageError, match=r"the same page as http://127\.0\.0\.1:8000"):
            watch(ServerSettings(url="http://127.0.0.1:8000"), ServerSettings(url=url), clock=clock)

    def test_two_pages_of_one_port(self, clock: DrivenClock) -> None:
        """Several servers behind one port have pages of their own."""
        urls = ("http://127.0.0.1:8000/a/metrics", "http://127.0.0.1:8000/b/metrics", "http://127.0.0.1:8001/a/metrics")

        assert 3 == len(watch(*(ServerSettings(url=url) for url in urls), clock=clock).look().problems)


class TestJoinLooks:
    """Several looks in one message."""

    def test_joins_rows_under_common_servers_and_series(self, server: PageServer, clock: DrivenClock) -> None:
        """A server that restarted between two looks stands beside its first life."""
        watcher = watch(ServerSettings(url=server.url), clock=clock)
        looks = [watcher.look()]
        clock.advance(1)
        looks.append(watcher.look())
        server.show("/metrics", page(7, 3, start=1_795_493_500.0))
        looks.append(watcher.look())

        joined = join_looks(looks)

        assert ([0, 0, 1], [100, 100, 7]) == (joined.samples.series, joined.samples.input_tokens)
        assert [0, 1] == [one.server for one in joined.series]
        assert ["#1795492000500000", "#1795493500000000"] == [
            found.server_id.removeprefix(server.url) for found in joined.servers
        ]

    def test_of_nothing(self) -> None:
        """No look gives no rows."""
        assert [] == join_looks([]).samples.series


def test_a_look_without_servers_is_empty(clock: DrivenClock) -> None:
    """A node without servers has nothing to say."""
    look: TokenLook = watch(clock=clock).look()

    assert [] == look.servers
