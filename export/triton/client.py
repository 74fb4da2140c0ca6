"""python client.py HOST:PORT MODEL "a prompt" [SEED]: draw with Triton over gRPC, and save every image on its way.

It needs `pip install "tritonclient[grpc]"` and nothing else: PARTIAL_0.png, ... and image.png come into the working folder.
"""

import json
import queue
import sys
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton


def tensor(name, kind, numbers):
    """Return an input."""
    made = triton.InferInput(name, list(numbers.shape), kind)
    made.set_data_from_numpy(numbers)
    return made


def text(name, content):
    """Return an input that holds a text: its bytes in UTF-8."""
    return tensor(name, "UINT8", np.frombuffer(content.encode(), np.uint8))


def images(client, model, prompt, seed, settings, partial_images=3):
    """Ask for an image; yield it and the partial ones before it, as they come, each with its figures or None."""
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    inputs = [
        text("PROMPT", prompt),
        text("SETTINGS", json.dumps(settings)),
        tensor("SEED", "UINT64", np.array([seed], np.uint64)),
        tensor("PARTIAL_IMAGES", "INT32", np.array([partial_images], np.int32)),
    ]
    client.async_stream_infer(model, inputs)
    try:
        is_final = False
        while not is_final:
            result, error = answers.get()
            if error is not None:
                raise error
            is_final = bool(result.as_numpy("FINAL")[0])
            stats = json.loads(result.as_numpy("STATS").tobytes()) if is_final else None
            yield result.as_numpy("FILE").tobytes(), stats
    finally:
        client.stop_stream(cancel_requests=True)  # where the caller has seen enough, the place is free again


def draw(address, model, prompt, seed=0):
    """Draw, and save what comes."""
    with triton.InferenceServerClient(address) as client:
        settings = {"output_format": "png", "quality": "balanced"}
        for number, (content, stats) in enumerate(images(client, model, prompt, int(seed), settings)):
            name = "image.png" if stats else f"partial_{number}.png"
            Path(name).write_bytes(content)
            print(name, f"{len(content)} bytes", stats["mulo_sd"]["passes"] if stats else "")


if __name__ == "__main__":
    if not 4 <= len(sys.argv) <= 5:
        sys.exit(__doc__)
    try:
        draw(*sys.argv[1:])
    except triton.InferenceServerException as error:
        sys.exit(f"error: {error.message()}")
