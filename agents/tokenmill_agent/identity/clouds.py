"""Asks the metadata service of the cloud that this node runs in who the node is.

Each answer is documented by its provider: AWS "Retrieve instance identity documents" and IMDSv2, Google "About VM
metadata", Azure "Instance Metadata Service", Oracle "Getting Instance Metadata" (version 2).
"""

import concurrent.futures
import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from tokenmill_agent.identity.ask import AskError, ask
from tokenmill_agent.records import Identity

METADATA_URL: Final = "http://169.254.169.254"
"""The same link-local address in all four clouds; it never leaves the host."""

_TIMEOUT_SECONDS: Final = 1.0
_MAX_BYTES: Final = 256 * 1024
_MAX_CHARACTERS: Final = 512
_AWS_TOKEN_PATH: Final = "/latest/api/token"  # noqa: S105 - the path where a token is asked for
_AWS_TOKEN_SECONDS: Final = "60"  # noqa: S105 - how long it shall hold


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """One cloud's metadata service: what is asked, and which value of the answers is which part of an identity.

    Answers are JSON or plain text. Where the first of `paths` is not answered the node is not in this cloud.
    """

    paths: Mapping[str, str]
    headers: Mapping[str, str]
    read: Callable[[Mapping[str, Any]], Identity]
    wants_token: bool = False


def find_cloud(url: str = METADATA_URL, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> Identity | None:
    """Return what the cloud says of this node; None where no cloud answers, which takes twice the timeout at most."""
    with concurrent.futures.ThreadPoolExecutor(len(CLOUDS), thread_name_prefix="metadata") as pool:
        asked = [pool.submit(_ask_cloud, cloud, url, timeout_seconds) for cloud in CLOUDS]
        answers = [one.result() for one in asked]
    # A service that imitates another cloud's beside its own is rare; the order of the table then decides.
    return next((answer for answer in answers if answer is not None), None)


def _ask_cloud(cloud: Cloud, url: str, timeout_seconds: float) -> Identity | None:
    headers = dict(cloud.headers)
    try:
        if cloud.wants_token:
            token = ask(
                f"{url}{_AWS_TOKEN_PATH}",
                method="PUT",
                headers={"X-aws-ec2-metadata-token-ttl-seconds": _AWS_TOKEN_SECONDS},
                timeout_seconds=timeout_seconds,
                max_bytes=_MAX_BYTES,
            )
            headers["X-aws-ec2-metadata-token"] = token.decode("ascii")
        answers = _answers(cloud, url, headers, timeout_seconds)
    except (AskError, ValueError, RecursionError):
        return None
    found = cloud.read(answers)
    return found if found.instance_id is not None else None


def _answers(cloud: Cloud, url: str, headers: Mapping[str, str], timeout_seconds: float) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for name, path in cloud.paths.items():
        try:
            body = ask(f"{url}{path}", headers=headers, timeout_seconds=timeout_seconds, max_bytes=_MAX_BYTES)
        except AskError:
            if not answers:
                raise
            # An attribute that this machine does not have.
            continue
        text = body.decode("utf-8").strip()
        answers[name] = json.loads(text) if text.startswith("{") else text
    return answers


def _aws(answer: Mapping[str, Any]) -> Identity:
    instance, zone = _text(answer, "document", "instanceId"), _text(answer, "document", "availabilityZone")
    return Identity(
        provider="aws",
        account=_text(answer, "document", "accountId"),
        region=_text(answer, "document", "region"),
        zone=zone,
        instance_type=_text(answer, "document", "instanceType"),
        instance_id=instance,
        # As the AWS cloud provider of Kubernetes writes spec.providerID.
        provider_id=f"aws:///{zone}/{instance}" if zone and instance else None,
    )


def _gcp(answer: Mapping[str, Any]) -> Identity:
    project, zone, name = _text(answer, "project"), _last(_text(answer, "zone")), _text(answer, "name")
    number = _text(answer, "id")
    return Identity(
        provider="gcp",
        account=project,
        region=zone.rpartition("-")[0] or None if zone else None,
        # projects/123/zones/us-central1-a and projects/123/machineTypes/a3-highgpu-8g
        zone=zone,
        instance_type=_last(_text(answer, "machine_type")),
        instance_id=number if number and number.isdecimal() else None,
        provider_id=f"gce://{project}/{zone}/{name}" if project and zone and name else None,
        cluster=_text(answer, "cluster"),
    )


def _azure(answer: Mapping[str, Any]) -> Identity:
    resource = _text(answer, "document", "resourceId")
    return Identity(
        provider="azure",
        account=_text(answer, "document", "subscriptionId"),
        region=_text(answer, "document", "location"),
        zone=_text(answer, "document", "zone"),
        instance_type=_text(answer, "document", "vmSize"),
        # The bill names a machine by this path, not by its vmId.
        instance_id=resource,
        provider_id=f"azure://{resource}" if resource else None,
    )


def _oracle(answer: Mapping[str, Any]) -> Identity:
    instance = _text(answer, "document", "id")
    return Identity(
        provider="oci",
        account=_text(answer, "document", "tenantId"),
        # canonicalRegionName is us-ashburn-1 where region is the older iad.
        region=_text(answer, "document", "canonicalRegionName") or _text(answer, "document", "region"),
        zone=_text(answer, "document", "availabilityDomain"),
        instance_type=_text(answer, "document", "shape"),
        instance_id=instance if instance and instance.startswith("ocid1.instance.") else None,
        provider_id=instance,
    )


_GCP: Final = "/computeMetadata/v1"
CLOUDS: Final = (
    Cloud(paths={"document": "/latest/dynamic/instance-identity/document"}, headers={}, read=_aws, wants_token=True),
    Cloud(
        # Asked one by one: asked for as a whole, the attributes would bring the secrets that nodes are started with.
        paths={
            "id": f"{_GCP}/instance/id",
            "name": f"{_GCP}/instance/name",
            "zone": f"{_GCP}/instance/zone",
            "machine_type": f"{_GCP}/instance/machine-type",
            "project": f"{_GCP}/project/project-id",
            "cluster": f"{_GCP}/instance/attributes/cluster-name",
        },
        headers={"Metadata-Flavor": "Google"},
        read=_gcp,
    ),
    Cloud(
        paths={"document": "/metadata/instance/compute?api-version=2021-02-01"},
        headers={"Metadata": "true"},
        read=_azure,
    ),
    Cloud(paths={"document": "/opc/v2/instance/"}, headers={"Authorization": "Bearer Oracle"}, read=_oracle),
)
"""Every cloud that is asked; AWS only with a session token (IMDSv2)."""


def _text(document: Any, *path: str) -> str | None:
    for step in path:
        if not isinstance(document, dict):
            return None
        document = document.get(step)
    return document[:_MAX_CHARACTERS] if isinstance(document, str) and document else None


def _last(text: str | None) -> str | None:
    return text.rpartition("/")[2] or None if text is not None else None
