"""Tests of the processes that serve recorded pages."""

import dataclasses

import pytest

from tests.replay.captures import Page
from tests.replay.lives import TargetLives
from tokenmill_agent.servers.fetch import FetchError, fetch

PAGE = Page(
    target="server",
    at_us=1,
    url_path="/metrics",
    status=200,
    content_type="text/plain; version=1.0.0",
    text="up 1",
    life=0,
)


def get(lives: TargetLives) -> bytes:
    """Read what is served now."""
    return fetch(f"http://127.0.0.1:{lives.port}", path="/metrics", timeout_seconds=60, max_bytes=1000).body


def test_serves_a_page_until_the_next() -> None:
    """One process serves the pages of one life, one after the other, with the end of the last line put back."""
    lives = TargetLives()
    try:
        lives.show(PAGE)
        first, pid = get(lives), lives.pid
        lives.show(dataclasses.replace(PAGE, text="up 2\n"))

        assert (b"up 1\n", b"up 2\n", pid) == (first, get(lives), lives.pid)
    finally:
        lives.end()


def test_a_life_ends_with_its_process() -> None:
    """Status 0 closes the port; the next life is another process on the same port."""
    lives = TargetLives()
    try:
        lives.show(PAGE)
        pid = lives.pid
        lives.show(dataclasses.replace(PAGE, status=0))
        with pytest.raises(FetchError, match="Connection refused"):
            get(lives)
        lives.show(dataclasses.replace(PAGE, life=1))

        assert b"up 1\n" == get(lives)
        assert pid != lives.pid
    finally:
        lives.end()


def test_a_loading_server_answers_503() -> None:
    """A recorded error page is served with its status."""
    lives = TargetLives()
    try:
        lives.show(dataclasses.replace(PAGE, status=503, text=""))
        with pytest.raises(FetchError, match="status 503"):
            get(lives)
    finally:
        lives.end()
