"""Clients of Triton over gRPC, in the environment that has its client: JSON in, JSON out; not part of this package.

Reads {"address", "model", "orders": [{"prompt", "seed"}], "at_once"}; writes {"seconds", "answers"}.
"""

import hashlib
import json
import queue
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tritonclient.grpc as triton


def tensor(name: str, kind: str, numbers: "np.ndarray[Any, Any]") -> Any:
    """Return an input."""
    made = triton.InferInput(name, list(numbers.shape), kind)
    made.set_data_from_numpy(numbers)
    return made


def draw_all(address: str, model: str, orders: "list[dict[str, Any]]") -> "list[dict[str, Any]]":
    """Ask for images one after the other over one stream."""
    answers: queue.Queue[Any] = queue.Queue()
    drawn = []
    with triton.InferenceServerClient(address) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for order in orders:
            started = time.perf_counter()
            inputs = [
                tensor("PROMPT", "UINT8", np.frombuffer(order["prompt"].encode(), np.uint8)),
                tensor("SETTINGS", "UINT8", np.frombuffer(b'{"output_format": "png"}', np.uint8)),
                tensor("SEED", "UINT64", np.array([order["seed"]], np.uint64)),
            ]
            client.async_stream_infer(model, inputs)
            result, error = answers.get(timeout=300)
            if error is not None:
                raise error
            content = result.as_numpy("FILE").tobytes()
            seconds = time.perf_counter() - started
            stats = json.loads(result.as_numpy("STATS").tobytes())["mulo_sd"]
            sha256 = hashlib.sha256(content).hexdigest()
            drawn.append({**order, "seconds": seconds, "decode_seconds": stats["seconds"], "sha256": sha256})
        client.stop_stream()
    return drawn


def main_of_clients() -> None:
    """Draw what standard input asks for."""
    asked = json.load(sys.stdin)
    at_once = asked["at_once"]
    shares = [asked["orders"][first::at_once] for first in range(at_once)]
    started = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        drawn = list(pool.map(lambda orders: draw_all(asked["address"], asked["model"], orders), shares))
    seconds = time.perf_counter() - started
    json.dump({"seconds": seconds, "answers": [one for some in drawn for one in some]}, sys.stdout)


if __name__ == "__main__":
    main_of_clients()
