"""python -m conformance.tools.run_triton --repository FOLDER --model NAME: serve a repository without a container.

It runs the tritonserver of the environments that make_triton made, on loopback, until a signal ends it.
"""

import argparse
import signal
import sys
from contextlib import suppress

from mulo_sd.conformance.tools.serving.tritonserver import Environments, TritonServer
from mulo_sd.engines.commands.command_line import INTERRUPTED, UNUSABLE, command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.files.paths import user_path

MAX_PORT = 65535


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MAX_PORT:
        raise argparse.ArgumentTypeError(f"expected a port in 1..{MAX_PORT}, got {text!r:.40}")
    return int(text)


@command
def main() -> int:
    """Serve until SIGTERM or Ctrl-C.

    Returns:
        The server's status; 2 where it cannot begin.
    """
    parser = command_parser("conformance.tools.run_triton", __doc__)
    parser.add_argument("--repository", type=user_path, required=True, help="that `mulo-sd triton` wrote")
    parser.add_argument("--model", action="append", default=[], help="that is loaded at once; may be repeated")
    parser.add_argument("--http-port", type=_port, default=8000, help="default: %(default)s")
    parser.add_argument("--grpc-port", type=_port, default=8001, help="default: %(default)s")
    arguments = parser.parse_args()
    if not arguments.repository.is_dir():
        parser.error(f"--repository: expected a folder, found none at {arguments.repository}")
    try:
        environments = Environments()
    except LookupError as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ports = (arguments.http_port, arguments.grpc_port)
    server: TritonServer | None = None
    try:
        with (
            suppress(KeyboardInterrupt),
            TritonServer(environments, arguments.repository, *arguments.model, ports=ports, shown=True) as server,
        ):
            server.process.wait()
    except AssertionError:  # it has written why
        return UNUSABLE
    return INTERRUPTED if server is None else server.process.returncode


if __name__ == "__main__":
    sys.exit(main())
