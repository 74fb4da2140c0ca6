"""python client.py HOST:PORT MODEL "a prompt" [SEED]: draw with Triton over gRPC, and save every image on its way.

It needs `pip install "tritonclient[grpc]"` alone, and writes partial_0.png, ... and image.png into the working folder.
"""

import json
import queue
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton


def tensor(name: str, kind: str, numbers: "np.ndarray[Any, Any]") -> Any:
    """Return an input."""
    made = triton.InferInput(name, list(numbers.shape), kind)
    made.set_data_from_numpy(numbers)
    return made


def text(name: str, content: str) -> Any:
    """Return an input that holds a text: its bytes in UTF-8."""
    return tensor(name, "UINT8", np.frombuffer(content.encode(), np.uint8))


def images(
    client: Any, model: str, prompt: str, seed: int, settings: dict[str, Any], partial_images: int = 3
) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """Ask for an image; yield the partial images as they come, then the image with its figures.

    Args:
        client: An InferenceServerClient that has no stream.
        model: Its name on the server.
        prompt: What to draw.
        seed: 0..2^64 - 1.
        settings: What SETTINGS may hold; with an output_format.
        partial_images: 0..3.
    """
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    inputs = [
        text("PROMPT", prompt),
        text("SETTINGS", json.dumps(settings)),
        tensor("SEED", "UINT64", np.array([seed], np.uint64)),
        tensor("PARTIAL_IMAGES", "INT32", np.array([partial_images], np.int32)),
    ]
    try:
        client.async_stream_infer(model, inputs)
        is_final = False
        while not is_final:
            result, error = answers.get()
            if error is not None:
                raise error
            is_final = bool(result.as_numpy("FINAL")[0])
            yield (
                result.as_numpy("FILE").tobytes(),
                json.loads(result.as_numpy("STATS").tobytes()) if is_final else None,
            )
    finally:
        client.stop_stream(cancel_requests=True)  # where the caller has seen enough, the place is free again


def draw(address: str, model: str, prompt: str, seed: str = "0") -> None:
    """Draw, and save what comes."""
    with triton.InferenceServerClient(address) as client:
        settings = {"output_format": "png", "quality": "balanced"}
        for number, (content, stats) in enumerate(images(client, model, prompt, int(seed), settings)):
            name = f"partial_{number}.png" if stats is None else "image.png"
            Path(name).write_bytes(content)
            print(name, f"{len(content)} bytes", "" if stats is None else stats["mulo_sd"]["passes"])


if __name__ == "__main__":
    if not 4 <= len(sys.argv) <= 5:
        sys.exit(__doc__)
    try:
        draw(*sys.argv[1:])
    except triton.InferenceServerException as error:
        sys.exit(f"error: {error.message()}")
