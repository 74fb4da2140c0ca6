"""A process that decodes pictures for another: what a damaged file does to a decoder ends this process alone.

It reads a name a line, in JSON, from its standard input, and answers a line of JSON on its standard output, with
the pixels behind it.
"""

import json
import sys
from typing import BinaryIO

from mulo_sd.reference.train.folder.picture import PictureError, ReadOptions, read_square


def answer_requests(options: ReadOptions, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until there are no more requests."""
    answers.write(b"ready\n")
    answers.flush()
    for request in requests:
        try:
            square = read_square(json.loads(request), options)
        except PictureError as error:
            answers.write(json.dumps({"kind": error.kind, "why": str(error)}).encode() + b"\n")
        else:
            size = {"width": square.width, "height": square.height}
            head = size | {"hash": square.hash.hex(), "conversions": square.conversions}
            answers.write(json.dumps(head).encode() + b"\n" + square.pixels.tobytes())
        answers.flush()


if __name__ == "__main__":
    answer_requests(ReadOptions.from_line(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)
