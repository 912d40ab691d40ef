"""A management controller over real HTTPS: what is asked, whom it trusts, and what stands where it gives no power."""

import base64
import http.server
import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmill_agent.errors import UsageError
from tokenmill_agent.host.reading import HostReading, MissingError
from tokenmill_agent.host.redfish import (
    PASSWORD_VARIABLE,
    USERNAME_VARIABLE,
    RedfishSource,
    chassis_of,
    decode,
    power_of,
    tls_context,
    url_with_credentials,
)

CHASSIS = "/redfish/v1/Chassis"
LOGIN = {USERNAME_VARIABLE: "reader", PASSWORD_VARIABLE: "p@ss:word"}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a certificate for 127.0.0.1 that vouches for itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("NOT RUN: no openssl on the path to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    request = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=bmc -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*request.split(), "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


class Controller:
    """A small management controller; `answers` maps a path to a status and a body."""

    def __init__(self, certificate: tuple[Path, Path]) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[str] = []
        self.logins: set[str | None] = set()
        self.gate = threading.Event()
        self.gate.set()
        controller = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                controller.asked.append(self.path)
                controller.logins.add(self.headers.get("Authorization"))
                controller.gate.wait(60)
                status, body = controller.answers.get(self.path, (404, b""))
                self.send_response(status)
                if status in (301, 302):
                    self.send_header("Location", body.decode())
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that goes away is usual
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def say(self, path: str, document: Any, *, status: int = 200) -> None:
        """Answer `path` with a document."""
        self.answers[path] = (status, json.dumps(document).encode())

    def stop(self) -> None:
        """Stop serving."""
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def controller(certificate: tuple[Path, Path]) -> Iterator[Controller]:
    """Return a controller, running, with one chassis."""
    made = Controller(certificate)
    made.say(CHASSIS, members("Self"))
    yield made
    made.stop()


def members(*names: str) -> dict[str, Any]:
    """Return a collection of chassis."""
    return {"Members": [{"@odata.id": f"{CHASSIS}/{name}"} for name in names]}


def source(
    controller: Controller,
    certificate: tuple[Path, Path],
    *,
    chassis: str | None = None,
    timeout_seconds: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> RedfishSource:
    """Return a source that trusts the controller."""
    return RedfishSource(
        url_with_credentials(controller.url, username_file=None, password_file=None, environ=LOGIN),
        chassis=chassis,
        tls=tls or tls_context(ca_file=certificate[0], verify=True),
        interval_seconds=10.0,
        timeout_seconds=timeout_seconds,
    )


def reason(made: RedfishSource) -> str | None:
    """Return why a reading has no power."""
    (reading,) = made.read()
    assert reading.power_milliwatts is None
    return reading.reason


def test_power_comes_from_the_metrics_of_the_chassis(controller: Controller, certificate: tuple[Path, Path]) -> None:
    """With the name and password of the environment."""
    controller.say(f"{CHASSIS}/Self/EnvironmentMetrics", {"PowerWatts": {"Reading": 6123.5}})
    expected = HostReading(scope="node_input", source="redfish", id="system", power_milliwatts=6_123_500)

    assert [expected] == source(controller, certificate).read()
    assert {f"Basic {base64.b64encode(b'reader:p@ss:word').decode()}"} == controller.logins


def test_an_older_controller_is_asked_for_its_power_document(
    controller: Controller, certificate: tuple[Path, Path]
) -> None:
    """Once it is known which document answers, only that one is asked for."""
    controller.say(f"{CHASSIS}/Self/Power", {"PowerControl": [{"PowerConsumedWatts": 812}, {}]})
    made = source(controller, certificate)
    made.read()
    controller.asked.clear()
    (reading,) = made.read()

    assert (812_000, [f"{CHASSIS}/Self/Power"]) == (reading.power_milliwatts, controller.asked)


def test_parts_of_a_gpu_board_are_not_the_node(controller: Controller, certificate: tuple[Path, Path]) -> None:
    """They have metrics of the same form."""
    controller.say(CHASSIS, members("HGX_GPU_SXM_1", "Self", "Fan"))
    controller.say(f"{CHASSIS}/HGX_GPU_SXM_1/EnvironmentMetrics", {"PowerWatts": {"Reading": 700}})
    controller.say(f"{CHASSIS}/Self/EnvironmentMetrics", {"PowerWatts": {"Reading": 6000}})

    assert [6_000_000] == [reading.power_milliwatts for reading in source(controller, certificate).read()]


def test_two_chassis_with_a_power_are_not_added(controller: Controller, certificate: tuple[Path, Path]) -> None:
    """Until somebody says which of them is the node."""
    controller.say(CHASSIS, members("A", "B"))
    for name in ("A", "B"):
        controller.say(f"{CHASSIS}/{name}/EnvironmentMetrics", {"PowerWatts": {"Reading": 100}})
    (named,) = source(controller, certificate, chassis="B").read()

    assert ("ambiguous", 100_000) == (reason(source(controller, certificate)), named.power_milliwatts)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, b"", "permission_denied"),
        (403, b"", "permission_denied"),
        (404, b"", "not_supported"),
        (503, b"", "unreachable"),
        (301, b"https://127.0.0.1:1/", "unreachable"),
        (200, b"<html>", "invalid_answer"),
        (200, b"[" * 100_000, "invalid_answer"),
        (200, b"{}", "not_supported"),
        (200, b'{"PowerWatts": {"Reading": NaN}}', "absurd"),
        (200, b'{"PowerWatts": {"Reading": 0}}', "absurd"),
        (200, b'{"PowerWatts": {"Reading": null}}', "not_supported"),
        (200, b"x" * (2 * 1024 * 1024), "unreachable"),
    ],
)
def test_an_answer_without_a_power_is_a_reason(
    controller: Controller, certificate: tuple[Path, Path], status: int, body: bytes, expected: str
) -> None:
    """A redirect is refused: it would carry the password elsewhere."""
    controller.answers[f"{CHASSIS}/Self/EnvironmentMetrics"] = (status, body)

    assert expected == reason(source(controller, certificate))


def test_a_controller_that_hangs_is_given_up_in_time(controller: Controller, certificate: tuple[Path, Path]) -> None:
    """The whole reading has one deadline."""
    controller.gate.clear()

    assert "timeout" == reason(source(controller, certificate, timeout_seconds=0.5))


def test_a_controller_whom_nobody_vouches_for_is_not_asked(
    controller: Controller, certificate: tuple[Path, Path]
) -> None:
    """The password is not sent to it."""
    made = source(controller, certificate, tls=tls_context(ca_file=None, verify=True))

    assert ("unreachable", []) == (reason(made), controller.asked)


def test_checking_can_be_left_out(controller: Controller, certificate: tuple[Path, Path]) -> None:
    """Where the operator says so."""
    controller.say(f"{CHASSIS}/Self/EnvironmentMetrics", {"PowerWatts": {"Reading": 50}})
    (reading,) = source(controller, certificate, tls=tls_context(ca_file=None, verify=False)).read()

    assert 50_000 == reading.power_milliwatts


def test_a_controller_that_is_away_is_unreachable(controller: Controller, certificate: tuple[Path, Path]) -> None:
    """And is asked anew from the start when it is back."""
    controller.stop()

    assert "unreachable" == reason(source(controller, certificate))


@given(body=st.binary(max_size=200))
def test_any_bytes_are_a_power_or_a_reason(body: bytes) -> None:
    """Nothing that a controller may answer ends the agent."""
    try:
        assert power_of(decode(body)) >= 1000
    except MissingError as error:
        assert error.reason  # noqa: PT017 - both ends are allowed


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["PowerWatts", "Reading", "PowerControl", "PowerConsumedWatts", "Members", "@odata.id"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


@given(document=JSON)
def test_any_document_is_a_power_or_a_reason(document: Any) -> None:
    """Whatever its form, and its chassis are paths below the collection."""
    assert all(path.startswith(CHASSIS) for path in chassis_of(document))
    try:
        assert power_of(document) >= 1000
    except MissingError as error:
        assert error.reason in ("not_supported", "absurd")  # noqa: PT017 - both ends are allowed


@pytest.mark.parametrize("path", ["https://elsewhere/", "/redfish/v1/Systems/1", f"{CHASSIS}/a b", f"{CHASSIS}/\r\n"])
def test_a_path_outside_the_collection_is_not_followed(path: str) -> None:
    """A controller must not send the agent elsewhere."""
    assert [] == chassis_of({"Members": [{"@odata.id": path}]})


@pytest.mark.parametrize("url", ["http://bmc", "https://", "https://u:p@bmc", "https://bmc/redfish", "https://bmc:x"])
def test_a_url_that_is_no_plain_https_is_refused(url: str) -> None:
    """Without showing what may be a password."""
    with pytest.raises(UsageError, match="redfish_url: expected https://host") as caught:
        url_with_credentials(url, username_file=None, password_file=None, environ={})

    assert "u:p" not in str(caught.value)


def test_files_win_over_the_environment(tmp_path: Path) -> None:
    """As a secret that is mounted does."""
    user, password = tmp_path / "user", tmp_path / "password"
    user.write_text("file\n")
    password.write_text("s/cret\n")
    url = url_with_credentials("https://[::1]:8443", username_file=user, password_file=password, environ=LOGIN)

    assert "https://file:s%2Fcret@[::1]:8443" == url


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """At the start."""
    with pytest.raises(UsageError, match="redfish_password_file: cannot read"):
        url_with_credentials("https://bmc", username_file=None, password_file=tmp_path / "gone", environ={})
    (tmp_path / "ca").write_text("no certificate")
    with pytest.raises(UsageError, match="redfish_ca_file: cannot use"):
        tls_context(ca_file=tmp_path / "ca", verify=True)
