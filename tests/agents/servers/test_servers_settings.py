"""Tests of `[[agent.servers]]`."""

from typing import Any

import pytest

from tokenmill_agent.errors import UsageError
from tokenmill_agent.servers.settings import ServerSettings, url_address


class TestServerSettings:
    """Values that an operator may write."""

    @pytest.mark.parametrize(
        ("key", "value", "words"),
        [
            ("role", "prefil", ["role", "'prefil'", 'did you mean "prefill"?']),
            ("engine", "vlm", ["engine", "'vlm'", 'did you mean "vllm"?']),
            ("vantage", "proxy", ["vantage", "engine, frontend, router"]),
            ("expected_gpu_count", 0, ["expected_gpu_count is 0", "1 or more"]),
            ("timeout_seconds", 0.0, ["timeout_seconds is 0.0"]),
        ],
    )
    def test_wrong_values_name_key_value_and_remedy(self, key: str, value: object, words: list[str]) -> None:
        """What cannot be right is refused in one line that also names the server."""
        wrong: dict[str, Any] = {key: value}

        with pytest.raises(UsageError) as caught:
            ServerSettings(url="http://127.0.0.1:8000", **wrong)

        assert [] == [word for word in ["http://127.0.0.1:8000", *words] if word not in str(caught.value)]

    @pytest.mark.parametrize(
        "url", ["127.0.0.1:8000", "ftp://h", "http://", "http://h:x", "http://h:99999", "http://[::1"]
    )
    def test_no_url(self, url: str) -> None:
        """A URL without scheme, host or a port that can be is refused."""
        with pytest.raises(UsageError, match=r"\[\[agent.servers\]\] url"):
            ServerSettings(url=url)

    def test_a_refused_url_does_not_show_its_password(self) -> None:
        """The message leaves credentials out."""
        with pytest.raises(UsageError) as caught:
            ServerSettings(url="ftp://me:secret@host?token=secret")

        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://me:secret@127.0.0.1:8000/metrics?token=secret", "http://127.0.0.1:8000/metrics"),
        ("https://LocalHost/", "https://localhost:443"),
        ("http://[::1]:30000", "http://[::1]:30000"),
    ],
)
def test_address_has_no_credentials(url: str, address: str) -> None:
    """What names a server is scheme, host, port and path."""
    assert address == url_address(url)
