"""Tests of what a command line says, and of what is left alone in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agents.servers.launched import launched
from tokenmill_agent.records import Role
from tokenmill_agent.servers.cmdline import DIALECTS, Launch, launch_above, parse_launch, read_launch


def launch(text: str) -> Launch:
    """Return what a command line says that launches a known engine."""
    found = parse_launch(text.split())
    assert found is not None
    return found


class TestEngine:
    """Which engine a command line launches."""

    @pytest.mark.parametrize(
        ("text", "engine"),
        [
            ("vllm serve m", "vllm"),
            ("/usr/bin/python3.12 /opt/venv/bin/vllm serve m", "vllm"),
            ("python -m vllm.entrypoints.openai.api_server --model m", "vllm"),
            ("python3 -u -m sglang.launch_server --model-path m", "sglang"),
            ("sglang serve --model-path m", "sglang"),
            ("/usr/local/bin/trtllm-serve m", "trtllm"),
            ("llama-server -m m.gguf", "llama.cpp"),
            ("text-generation-launcher --model-id m", "tgi"),
            ("lmdeploy serve api_server m", "lmdeploy"),
            ("tritonserver --model-repository r", "triton"),
            ("python3 -m dynamo.sglang --model-path m", "sglang"),
        ],
    )
    def test_known(self, text: str, engine: str) -> None:
        """By program or module."""
        assert engine == launch(text).engine

    @pytest.mark.parametrize(
        "text", ["", "vllm bench m", "python train.py vllm serve", "grep vllm serve", "python -m http.server", "vllm"]
    )
    def test_unknown(self, text: str) -> None:
        """A name somewhere in the arguments launches nothing."""
        assert None is parse_launch(text.split())

    @given(st.lists(st.text(), max_size=8), st.sampled_from(DIALECTS))
    def test_any_arguments(self, rest: list[str], dialect: object) -> None:
        """Nothing that can stand in a command line is an error."""
        for program in (["vllm", "serve"], ["python", "-m", "sglang.launch_server"], ["trtllm-serve"], []):
            found = parse_launch([*program, *rest])

            assert found is None or dialect in DIALECTS


class TestSizes:
    """How many GPUs hold one copy of the weights."""

    @pytest.mark.parametrize(
        ("text", "sizes", "gpus"),
        [
            ("vllm serve m", (1, 1, 1, None), 1),
            ("vllm serve m -tp 8 --pipeline-parallel-size=2", (8, 2, 1, None), 16),
            ("vllm serve m --tensor_parallel_size 4 -dp 2 --enable-expert-parallel", (4, 1, 2, 8), 8),
            ("sglang serve --model-path m --tp 16 --dp 16 --enable-dp-attention --ep 16", (16, 1, 16, 16), 16),
            ("sglang serve --model-path m --tp-size 2 --dp-size 4", (2, 1, 4, None), 8),
            ("trtllm-serve m --tp_size 4 --pp_size 2 --ep_size 4", (4, 2, None, 4), 8),
            ("text-generation-launcher --model-id m", (None, None, None, None), None),
            ("llama-server -m m.gguf", (None, None, None, None), None),
            ("vllm serve m --config f.yaml", (None, None, None, None), None),
            ("vllm serve m -tp many", (None, 1, 1, None), None),
        ],
    )
    def test_sizes(self, text: str, sizes: tuple[int | None, ...], gpus: int | None) -> None:
        """Tensor, pipeline, data, expert; what may stand in a file is unknown, not the default."""
        said = launch(text)

        assert (sizes, gpus) == (
            (said.tensor_parallel, said.pipeline_parallel, said.data_parallel, said.expert_parallel),
            said.expected_gpu_count,
        )


class TestFacts:
    """Names, role, precision, speculation."""

    @pytest.mark.parametrize(
        ("flags", "role"),
        [
            ("", None),
            ('--kv-transfer-config {"kv_connector":"N","kv_role":"kv_producer"}', "prefill"),
            ('--kv-transfer-config={"kv_role":"kv_consumer"}', "decode"),
            ('--kv-transfer-config {"kv_role":"kv_both"}', "unknown"),
            ("--kv-transfer-config {", "unknown"),
        ],
    )
    def test_role_of_vllm(self, flags: str, role: Role | None) -> None:
        """A transfer of key-value blocks without a side is an unknown role, never an aggregated one."""
        assert role == launch(f"vllm serve m {flags}").role

    @pytest.mark.parametrize(("mode", "role"), [("prefill", "prefill"), ("decode", "decode"), ("null", None)])
    def test_role_of_sglang(self, mode: str, role: Role | None) -> None:
        """By its disaggregation mode."""
        assert role == launch(f"sglang serve --model-path m --disaggregation-mode {mode}").role

    def test_names_and_methods(self) -> None:
        """The first served name, the root, the precision, the method of speculation alone."""
        said = launch(
            'vllm serve org/m --served-model-name big small -q fp8 --dtype half --speculative-config {"method":"mtp"}'
        )

        assert ("big", "org/m", "fp8", "mtp") == (said.model, said.model_root, said.precision, said.speculative)

    def test_nothing_else_is_kept(self) -> None:
        """A key on the command line is in no field."""
        assert "sk-secret" not in repr(launch("vllm serve m --api-key sk-secret --hf-token=sk-secret"))

    @pytest.mark.parametrize(
        ("text", "off"),
        [
            ("vllm serve m", False),
            ("vllm serve m --disable-log-stats", True),
            ("sglang serve --model-path m", True),
            ("sglang serve --model-path m --enable-metrics", False),
            ("llama-server -m m --metrics", False),
        ],
    )
    def test_metrics_off(self, text: str, off: bool) -> None:
        """By a flag, or by the lack of one."""
        assert off == launch(text).metrics_off


class TestRendezvous:
    """One text for a unit on all of its nodes."""

    @pytest.mark.parametrize(
        ("leader", "follower", "expected"),
        [
            (
                "sglang serve --model-path m --tp 16 --nnodes 2 --node-rank 0 --dist-init-addr 10.0.0.1:5000",
                "sglang serve --model-path m --tp 16 --nnodes 2 --node-rank 1 --dist-init-addr 10.0.0.1:5000",
                "rendezvous:10.0.0.1:5000",
            ),
            (
                "vllm serve m -tp 16 --nnodes 2 --node-rank 0 --master-addr n1 --master-port 29501",
                "vllm serve m -tp 16 --nnodes 2 --node-rank 1 --master-addr n1 --master-port 29501 --headless",
                "rendezvous:n1:29501",
            ),
            (
                "vllm serve m -dp 4 --data-parallel-address 10.9.9.1 --data-parallel-rpc-port 13345",
                "vllm serve m -dp 4 --data-parallel-address 10.9.9.1 --data-parallel-rpc-port 13345 --headless",
                "rendezvous:10.9.9.1:13345",
            ),
        ],
    )
    def test_leader_and_follower(self, leader: str, follower: str, expected: str) -> None:
        """Both say the same replica, model and GPU count; only the follower is one."""
        first, second = launch(leader), launch(follower)

        assert (expected, expected) == (first.rendezvous, second.rendezvous)
        assert (False, True) == (first.follower, second.follower)
        assert (first.model, first.expected_gpu_count) == (second.model, second.expected_gpu_count)

    @pytest.mark.parametrize(
        "flags", ["", "--master-addr n1", "--nnodes 2", "--nnodes 2 --master-addr 127.0.0.1 --master-port 1"]
    )
    def test_none(self, flags: str) -> None:
        """Where no other node is, or none could come."""
        assert None is launch(f"vllm serve m {flags}").rendezvous


class TestRead:
    """Of a process that runs."""

    def test_of_a_worker(self, tmp_path: Path) -> None:
        """The nearest process above it that launches an engine says."""
        with launched(tmp_path, "vllm", ["serve", "org/big"]) as server:
            assert None is read_launch(server.worker)
            assert "org/big" == getattr(launch_above(server.worker), "model", None)

    def test_of_nobody(self) -> None:
        """A process that is gone, or that launches nothing."""
        with subprocess.Popen([sys.executable, "-c", ""]) as process:
            process.wait()

        assert (None, None) == (read_launch(process.pid), read_launch(os.getpid()))
