"""Says from settings and surroundings whether this node is one of Kubernetes, and how its API and kubelet are asked."""

import importlib.util
import logging
from collections.abc import Mapping

from tokenmill_agent.config import Config
from tokenmill_agent.errors import UsageError
from tokenmill_agent.identity.ask import AskError
from tokenmill_agent.identity.clouds import find_cloud
from tokenmill_agent.identity.learn import Find
from tokenmill_agent.placement.kubernetes.api import ApiServer
from tokenmill_agent.placement.kubernetes.node import KubernetesNode
from tokenmill_agent.records import Identity

_log = logging.getLogger(__name__)


def api_server(config: Config, environ: Mapping[str, str]) -> ApiServer | None:
    """Return the API server of the cluster that the agent runs in; None outside of one, or where it is switched off.

    Raises:
        UsageError: `kubernetes = "on"`, and this is no pod or the extra is not installed.
    """
    wanted = config.agent.kubernetes
    if wanted == "off":
        return None
    api = ApiServer.from_environment(environ)
    if wanted == "on" and api is None:
        raise UsageError('[agent] kubernetes is "on", but this is no pod: KUBERNETES_SERVICE_HOST is not set')
    if wanted == "on" and importlib.util.find_spec("grpc") is None:
        raise UsageError('[agent] kubernetes is "on", but grpcio is missing: install tokenmill[kubernetes]')
    return api


def kubernetes_node(config: Config, api: ApiServer) -> KubernetesNode:
    """Return the pods of this node; `[agent] node` has to be its name in the cluster."""
    settings = config.agent
    return KubernetesNode(
        api=api, node=config.node, socket=settings.pod_resources_socket, label_names=settings.kubernetes_labels
    )


def identity_sources(config: Config, api: ApiServer | None) -> tuple[Find, ...]:
    """Return who is asked where this node stands: the cloud first, it knows the account; then the cluster."""
    sources: list[Find] = []
    if config.agent.metadata:
        sources.append(find_cloud)
    if api is not None:
        sources.append(lambda: _of_cluster(api, config.node))
    return tuple(sources)


def _of_cluster(api: ApiServer, node: str) -> Identity | None:
    try:
        return api.identity(node)
    except AskError as error:
        _log.warning("kubernetes: the API server does not give the node %s: %s", node, error)
        return None
