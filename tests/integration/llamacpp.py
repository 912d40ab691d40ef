"""A real llama.cpp server on the CPU with a small random model, both made here: nothing is downloaded.

Started as a program (`python llamacpp.py MODEL PORT`) it is the server itself, so that it can be killed.
"""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import gguf
import numpy as np

LAYERS: Final = 2
HIDDEN: Final = 64
HEADS: Final = 4
FEED_FORWARD: Final = 128
CONTEXT: Final = 2048
SLOTS: Final = 4
ALIAS: Final = "tiny"

_START_SECONDS: Final = 60.0
_ANSWER_SECONDS: Final = 120.0


def make_model(path: Path) -> None:
    """Write a random two-layer Llama with a vocabulary of single bytes to `path`, half a megabyte of it."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny random")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    _add_vocabulary(writer)
    random = np.random.default_rng(7)
    for name, shape in _shapes().items():
        tensor = np.ones(shape) if "norm" in name else random.normal(0, 0.05, shape)
        writer.add_tensor(f"{name}.weight", tensor.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: gguf.GGUFWriter) -> None:
    tokens = [*_byte_characters(), "\u0120t", "<|end|>"]
    end = len(tokens) - 1
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * end + [gguf.TokenType.CONTROL])
    writer.add_token_merges(["\u0120 t"])
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(False)


def _byte_characters() -> list[str]:
    """Return how GPT-2 writes each byte as one printable character."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) if byte in printable else chr(256 + others.index(byte)) for byte in range(256)]


def _shapes() -> dict[str, tuple[int, ...]]:
    vocabulary = 258
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd": (vocabulary, HIDDEN),
        "output_norm": (HIDDEN,),
        "output": (vocabulary, HIDDEN),
    }
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        shapes[f"{block}.attn_norm"] = shapes[f"{block}.ffn_norm"] = (HIDDEN,)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[f"{block}.{name}"] = (HIDDEN, HIDDEN)
        shapes[f"{block}.ffn_gate"] = shapes[f"{block}.ffn_up"] = (FEED_FORWARD, HIDDEN)
        shapes[f"{block}.ffn_down"] = (HIDDEN, FEED_FORWARD)
    return shapes


class LlamaServer:
    """One process life of the server on a port of 127.0.0.1; ready to answer once entered."""

    def __init__(self, model: Path, *, port: int | None = None) -> None:
        """Serve `model` on `port`, or on a free one."""
        self._model = model
        self.port = port or _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return where it serves."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Return the running process."""
        assert self._process is not None
        return self._process.pid

    def complete(self, prompt: str, max_tokens: int) -> dict[str, Any]:
        """Ask for one completion of one prompt and return the whole answer."""
        body = {"prompt": prompt, "max_tokens": max_tokens, "ignore_eos": True, "cache_prompt": True}
        status, answer = self._ask("POST", "/v1/completions", body)
        if status != http.client.OK:
            raise RuntimeError(f"the server answered {status}: {answer!r}")
        return dict(json.loads(answer))

    def kill(self) -> None:
        """End the process as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        """Start the process and wait until it is healthy."""
        command = [sys.executable, str(Path(__file__)), str(self._model), str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError("the llama.cpp server did not come up")
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the process."""
        self.kill()

    def _is_healthy(self) -> bool:
        try:
            return self._ask("GET", "/health")[0] == http.client.OK
        except (OSError, http.client.HTTPException):
            return False

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_SECONDS)
        try:
            text = json.dumps(body) if body is not None else None
            connection.request(method, path, body=text, headers={"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def serve(model: str, port: int) -> None:
    """Be the server, for ever."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {ALIAS}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = CONTEXT
    params.n_parallel = SLOTS
    params.endpoint_metrics = True
    # More threads than free cores spin and make it many times slower.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    while server is not None:
        time.sleep(3600)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
