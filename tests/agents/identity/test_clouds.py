"""Each cloud's metadata service, imitated as its provider documents it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.agents.identity.serving import Answer, serving
from tokenmill_agent.identity.clouds import find_cloud
from tokenmill_agent.records import Identity

AWS = {
    "accountId": "123456789012",
    "architecture": "x86_64",
    "availabilityZone": "us-east-1b",
    "imageId": "ami-5fb8c835",
    "instanceId": "i-1234567890abcdef0",
    "instanceType": "p5.48xlarge",
    "privateIp": "10.158.112.84",
    "region": "us-east-1",
    "version": "2017-09-30",
}
AZURE = {
    "location": "westus",
    "name": "examplevmname",
    "resourceId": "/subscriptions/8d10/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/vm1",
    "subscriptionId": "8d10",
    "vmId": "02aab8a4-74ef-476e-8182-f6d2ba4166a6",
    "vmSize": "Standard_ND96isr_H100_v5",
    "zone": "1",
}
ORACLE = {
    "availabilityDomain": "EMIr:PHX-AD-1",
    "canonicalRegionName": "us-phoenix-1",
    "compartmentId": "ocid1.tenancy.oc1..b",
    "id": "ocid1.instance.oc1.phx.a",
    "region": "phx",
    "shape": "BM.GPU.H100.8",
    "tenantId": "ocid1.tenancy.oc1..a",
}
GCP = {
    "instance/id": "4520031799277581759",
    "instance/name": "gpu-1",
    "instance/zone": "projects/123/zones/us-central1-a",
    "instance/machine-type": "projects/123/machineTypes/a3-highgpu-8g",
    "project/project-id": "my-project",
    "instance/attributes/cluster-name": "prod",
}


def aws(method: str, path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Answer as IMDSv2 does: a token by PUT, and nothing without it."""
    if (method, path) == ("PUT", "/latest/api/token") and "x-aws-ec2-metadata-token-ttl-seconds" in headers:
        return 200, b"AQAAALH-k7i18JMkK-ORLZQfAa7nkNjQbKwpQPExNHqzk1oL_7eh-A=="
    known = path == "/latest/dynamic/instance-identity/document"
    if known and headers.get("x-aws-ec2-metadata-token", "").startswith("AQAAA"):
        return 200, json.dumps(AWS, indent=2).encode()
    return (401 if known else 404), b""


def gcp(method: str, path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Answer as Google's server does: only where its header is."""
    if headers.get("metadata-flavor") != "Google":
        return 403, b""
    value = GCP.get(path.removeprefix("/computeMetadata/v1/"))
    return (200, value.encode()) if method == "GET" and value is not None else (404, b"<html>")


def one_document(path: str, header: tuple[str, str], document: Mapping[str, Any]) -> Answer:
    """Return a service of one JSON document, given only with its header."""

    def answer(_method: str, asked: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        known = asked == path and headers.get(header[0]) == header[1]
        return (200, json.dumps(document).encode()) if known else (400, b"Bad request")

    return answer


AZURE_SERVICE = one_document("/metadata/instance/compute?api-version=2021-02-01", ("metadata", "true"), AZURE)
ORACLE_SERVICE = one_document("/opc/v2/instance/", ("authorization", "Bearer Oracle"), ORACLE)


def test_aws_tells_account_and_machine_to_a_session_token() -> None:
    """The identity document is read with a token, and the provider id is written as Kubernetes does."""
    with serving(aws) as url:
        found = find_cloud(url, timeout_seconds=10)

    assert found == Identity(
        provider="aws",
        account="123456789012",
        region="us-east-1",
        zone="us-east-1b",
        instance_type="p5.48xlarge",
        instance_id="i-1234567890abcdef0",
        provider_id="aws:///us-east-1b/i-1234567890abcdef0",
    )


def test_google_is_asked_for_names_only() -> None:
    """Region and machine type come from the ends of their paths, the cluster from its attribute."""
    with serving(gcp) as url:
        found = find_cloud(url, timeout_seconds=10)

    assert found == Identity(
        provider="gcp",
        account="my-project",
        region="us-central1",
        zone="us-central1-a",
        instance_type="a3-highgpu-8g",
        instance_id="4520031799277581759",
        provider_id="gce://my-project/us-central1-a/gpu-1",
        cluster="prod",
    )


def test_a_machine_of_google_without_a_cluster_is_known_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attribute that is not there hides nothing else."""
    monkeypatch.delitem(GCP, "instance/attributes/cluster-name")
    with serving(gcp) as url:
        found = find_cloud(url, timeout_seconds=10)

    assert found is not None
    assert ("my-project", None) == (found.account, found.cluster)


def test_azure_names_the_machine_as_its_bill_does() -> None:
    """The instance id is the resource id."""
    with serving(AZURE_SERVICE) as url:
        found = find_cloud(url, timeout_seconds=10)

    assert found == Identity(
        provider="azure",
        account="8d10",
        region="westus",
        zone="1",
        instance_type="Standard_ND96isr_H100_v5",
        instance_id=AZURE["resourceId"],
        provider_id=f"azure://{AZURE['resourceId']}",
    )


def test_oracle_tells_tenancy_and_shape() -> None:
    """The region is the long name."""
    with serving(ORACLE_SERVICE) as url:
        found = find_cloud(url, timeout_seconds=10)

    assert found == Identity(
        provider="oci",
        account="ocid1.tenancy.oc1..a",
        region="us-phoenix-1",
        zone="EMIr:PHX-AD-1",
        instance_type="BM.GPU.H100.8",
        instance_id="ocid1.instance.oc1.phx.a",
        provider_id="ocid1.instance.oc1.phx.a",
    )


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b"\xff", b'{"id": {"a": 1}}', b"[" * 100_000])
def test_a_page_that_is_no_metadata_is_no_cloud(body: bytes) -> None:
    """A server that answers everything alike, as a captive portal does, names no machine."""
    with serving(lambda *_: (200, body)) as url:
        assert find_cloud(url, timeout_seconds=10) is None


def test_nobody_there_is_no_cloud() -> None:
    """A node of one's own has no such service."""
    assert find_cloud("http://127.0.0.1:1") is None
