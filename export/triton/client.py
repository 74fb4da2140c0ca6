"""python client.py HOST:PORT MODEL "a prompt" [SEED [SECONDS]]: draw with Triton over gRPC, and save every image.

It needs `pip install "tritonclient[grpc]"` alone, and writes partial_0.png, ... and image.png into the working folder.
SECONDS (150) is how long it waits for the image: longer than the model's --deadline (120).
"""

import json
import math
import queue
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton

# Longer than the model's own --deadline (120): where the process that draws dies, no answer comes at all.
SECONDS, MAX_SECONDS = 150, 1_000_000
SEEDS = 2**64


def tensor(name: str, kind: str, numbers: "np.ndarray[Any, Any]") -> Any:
    """Return an input."""
    made = triton.InferInput(name, list(numbers.shape), kind)
    made.set_data_from_numpy(numbers)
    return made


def text(name: str, content: str) -> Any:
    """Return an input that holds a text: its bytes in UTF-8."""
    return tensor(name, "UINT8", np.frombuffer(content.encode(), np.uint8))


def images(
    client: Any,
    model: str,
    prompt: str,
    seed: int,
    settings: dict[str, Any],
    partial_images: int = 3,
    seconds: float = SECONDS,
) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """Ask for an image; yield the partial images as they come, then the image with its figures.

    Args:
        client: An InferenceServerClient that has no stream.
        model: Its name on the server.
        prompt: What to draw.
        seed: 0..2^64 - 1.
        settings: What SETTINGS may hold; with an output_format.
        partial_images: 0..3.
        seconds: In which the image has to come.

    Raises:
        InferenceServerException: the server or the model refuses.
        TimeoutError: the image did not come in time.
    """
    ends_at = time.monotonic() + seconds
    came = 0
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
            try:
                result, error = answers.get(timeout=max(0.0, ends_at - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(
                    f"expected the image within {seconds:g} s, got {came} partial images and no more: if the process "
                    "that draws has died, unload the model and load it again"
                ) from None
            if error is not None:
                raise error
            came += 1
            is_final = bool(result.as_numpy("FINAL")[0])
            yield (
                result.as_numpy("FILE").tobytes(),
                json.loads(result.as_numpy("STATS").tobytes()) if is_final else None,
            )
    finally:
        client.stop_stream(cancel_requests=True)  # where the caller has seen enough, the place is free again


def seed_of(word: str) -> int:
    """Return a seed; end where it is none."""
    if not (word.isascii() and word.isdecimal() and len(word) <= len(str(SEEDS)) and int(word) < SEEDS):
        sys.exit(f"error: SEED: expected a whole number in 0..{SEEDS - 1}, got {word[:40]!r}")
    return int(word)


def seconds_of(word: str) -> float:
    """Return a time to wait; end where it is none."""
    try:
        seconds = float(word)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= MAX_SECONDS:
        sys.exit(f"error: SECONDS: expected a number above 0, at most {MAX_SECONDS}, got {word[:40]!r}")
    return seconds


def draw(address: str, model: str, prompt: str, seed: int, seconds: float) -> None:
    """Draw, and save what comes."""
    with triton.InferenceServerClient(address) as client:
        settings = {"output_format": "png", "quality": "balanced"}
        drawing = images(client, model, prompt, seed, settings, seconds=seconds)
        for number, (content, stats) in enumerate(drawing):
            name = f"partial_{number}.png" if stats is None else "image.png"
            Path(name).write_bytes(content)
            print(name, f"{len(content)} bytes", "" if stats is None else stats["mulo_sd"]["passes"])


if __name__ == "__main__":
    if not 4 <= len(sys.argv) <= 6:
        sys.exit(__doc__)
    server, name, wanted, *rest = sys.argv[1:]
    seed, seconds = *rest, *("0", str(SECONDS))[len(rest) :]
    try:
        draw(server, name, wanted, seed_of(seed), seconds_of(seconds))
    except triton.InferenceServerException as error:
        sys.exit(f"error: {error.message()}")
    except TimeoutError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename}: cannot write it into the working folder: {error.strerror}")
