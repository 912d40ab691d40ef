"""Starts a real Apache Kafka for the tests: one KRaft node with a small heap, from the jars of infra/kafka/pom.xml.

Three listeners on free ports of the loopback address: PLAINTEXT (may do everything), SASL_PLAINTEXT (the users below,
of whom `guest` may do nothing) and the controller's own.
"""

import ctypes
import fcntl
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from kafka import KafkaProducer

from tokenmill_agent.records import DELIVERY_HEADER
from tokenmill_pipeline.kafka_client import answers

POM: Final = Path(__file__).parent.parent / "infra" / "kafka" / "pom.xml"
USERS: Final = {"admin": "admin-word", "guest": "guest-word"}
REMEDY: Final = "install Java 17 or newer and Maven, or set TOKENMILL_TEST_KAFKA=host:port to a broker that runs"

_JAVA_OPTIONS: Final = (
    *("-Xms128m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)
_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{sasl}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
early.start.listeners=CONTROLLER
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config={jaas}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:admin
log.dirs={directory}/data
log.segment.delete.delay.ms=1000
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=2000
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
"""


class KafkaUnavailableError(Exception):
    """No Apache Kafka can be had here; the text says why."""


class KafkaBroker:
    """A running broker; `kill` and `restart` are there where the tests started it themselves (`own`)."""

    def __init__(self, bootstrap: str, sasl_bootstrap: str | None = None, directory: Path | None = None) -> None:
        self.bootstrap = bootstrap
        self.sasl_bootstrap = sasl_bootstrap
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def own(self) -> bool:
        """Return whether the tests started this broker, so that they may kill it."""
        return self._directory is not None

    def start(self) -> None:
        """Start the broker on its directory and wait until it answers.

        Raises:
            KafkaUnavailableError: it ended, or did not answer within a minute; the text holds the end of its log.
        """
        assert self._directory is not None
        log = self._directory / "broker.log"
        command = [
            "java",
            *_JAVA_OPTIONS,
            "-cp",
            _classpath(),
            "kafka.Kafka",
            str(self._directory / "server.properties"),
        ]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - only a system call between fork and exec
            )
        self._wait(log)

    def _wait(self, log: Path) -> None:
        assert self._process is not None
        deadline = time.monotonic() + 60
        while not answers(self.bootstrap):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise KafkaUnavailableError(f"Apache Kafka did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """End the broker with SIGKILL, as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the broker in order, or by force after 20 seconds."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Start the broker again on the same ports and data."""
        self.kill()
        self.start()

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def send(bootstrap: str, topic: str, values: Iterable[bytes], partition: int | None = None, **options: Any) -> None:
    """Produce values, each as a batch of its own as a fleet of nodes does, and wait until the broker has them."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, compression_type="zstd", linger_ms=0, **options)
    try:
        futures = [
            producer.send(topic, value, partition=partition, headers=[(DELIVERY_HEADER, b"live")]) for value in values
        ]
        for future in futures:
            future.get(60)
    finally:
        producer.close()


def start_kafka(directory: Path) -> KafkaBroker:
    """Return the broker that TOKENMILL_TEST_KAFKA names, or a new one on `directory`.

    Raises:
        KafkaUnavailableError: neither can be had.
    """
    if named := os.environ.get("TOKENMILL_TEST_KAFKA"):
        if not answers(named):
            raise KafkaUnavailableError(f"no broker answers at TOKENMILL_TEST_KAFKA={named}")
        return KafkaBroker(named)
    _require_java()
    _fetch_jars()
    plain, sasl, controller = _free_ports(3)
    users = " ".join(f'user_{name}="{word}"' for name, word in USERS.items())
    jaas = f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
    properties = directory / "server.properties"
    properties.write_text(
        _PROPERTIES.format(plain=plain, sasl=sasl, controller=controller, jaas=jaas, directory=directory)
    )
    # The cluster id is 16 bytes in URL-safe base64; any will do for a cluster of one.
    tool = ("kafka.tools.StorageTool", "format", "-t", "dG9rZW5taWxsLXRlc3RzLQ", "-c", str(properties))
    _run(["java", *_JAVA_OPTIONS, "-cp", _classpath(), *tool])
    broker = KafkaBroker(f"127.0.0.1:{plain}", f"127.0.0.1:{sasl}", directory)
    broker.start()
    return broker


def _classpath() -> str:
    return f"{POM.parent / 'target' / 'libs'}/*"


def _require_java() -> None:
    if shutil.which("java") is None:
        raise KafkaUnavailableError("there is no java on the PATH")
    version = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', version)
    if found is None or int(found[1]) < 17:
        raise KafkaUnavailableError(f"java is {version.splitlines()[0] if version else 'unusable'}")


def _fetch_jars() -> None:
    """Let Maven put the jars into target/libs, once for each state of the pom and one test session at a time."""
    target = POM.parent / "target"
    target.mkdir(exist_ok=True)
    digest = hashlib.sha256(POM.read_bytes()).hexdigest()
    stamp = target / "libs.sha256"
    with (target / "libs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == digest:
            return
        if shutil.which("mvn") is None:
            raise KafkaUnavailableError("there is no mvn on the PATH")
        shutil.rmtree(target / "libs", ignore_errors=True)
        _run(["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"])
        stamp.write_text(digest)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    if done.returncode != 0:
        raise KafkaUnavailableError(f"{command[0]} failed: {(done.stdout + done.stderr)[-1000:]}")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


_LIBC: Final = ctypes.CDLL(None)


def _die_with_parent() -> None:
    """Ask the kernel to kill this process when the one that started it ends, however it ends (PR_SET_PDEATHSIG)."""
    _LIBC.prctl(1, signal.SIGKILL)
