"""A session belongs to the process that opened it: its threads do not come along in a fork."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
from mulo_sd import engines
session = engines.load(sys.argv[1], threads=1).session(size=1)
session.submit("a red star").result()
child = os.fork()
if child == 0:
    try:
        session.submit("a red star").result(timeout=60)
    except RuntimeError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
session.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_request_in_a_forked_process_is_refused(minimal_bundle: Path) -> None:
    """It would wait for ever."""
    command = [sys.executable, "-c", PROGRAM, str(minimal_bundle)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "session: another process opened it, before a fork; open one in this process\n"
