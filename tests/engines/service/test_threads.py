"""Threads as docs/embed.md counts them, and what callbacks may do in a session's own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mulo_sd import engines

# Threads before and after a pipeline has drawn, and after it is gone; the graphs it used; seconds of processor time of
# an idle second; a session's threads while it has work, and after it is closed.
COUNT = """
import gc, json, os, sys, threading, time
from mulo_sd import engines
def count():
    return len(os.listdir("/proc/self/task"))
def named():
    return sorted(thread.name.rpartition("_")[0] or thread.name for thread in threading.enumerate())
pipeline = engines.load(sys.argv[1], threads=int(sys.argv[2]))
before = count()
pipeline.generate("a red star", seed=1)
drawn, graphs = count(), len(pipeline.backend.sessions)
started = time.process_time()
time.sleep(1)
idle = time.process_time() - started
with pipeline.session(size=2) as session:
    requests = [session.submit("a red star", seed=seed, deadline=60.0) for seed in range(6)]
    during = named()
    [request.result() for request in requests]
after = named()
del pipeline, session, requests
gc.collect()
gone = count()
print(json.dumps([before, drawn, graphs, idle, during, after, gone]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
@pytest.mark.parametrize("threads", [1, 3])
def test_threads_are_as_documented(minimal_bundle: Path, threads: int) -> None:
    """Each graph has its own, which rest between passes and end with the pipeline; a session's end with it."""
    command = [sys.executable, "-c", COUNT, str(minimal_bundle), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    before, drawn, graphs, idle, during, after, gone = json.loads(done.stdout)
    assert graphs == 8
    assert drawn - before == graphs * (threads - 1)
    assert idle < 0.1
    assert 1 <= during.count("mulo-sd") <= 6
    assert during.count("mulo-sd-deadlines") == 1
    assert after == ["MainThread"]
    assert gone == before


def test_a_callback_submits_and_cancels(minimal_bundle: Path) -> None:
    others: list[engines.Request] = []

    with engines.load(minimal_bundle, threads=1).session(size=2) as session:

        def ask(done: int, total: int) -> None:
            if not others:
                others.extend(session.submit("a blue circle", seed=seed) for seed in (5, 6))
                others[1].cancel()

        session.submit("a red star", seed=1, progress=ask).result(timeout=60)
        assert others[0].result(timeout=60).tokens.shape == (8, 8)
    assert others[1].state in ("cancelled", "done")


@pytest.mark.parametrize("cancel", [False, True])
def test_a_callback_that_closes_its_session(minimal_bundle: Path, cancel: bool) -> None:
    """It would wait for the request that called it: that ends in a line, and the session goes on."""
    with engines.load(minimal_bundle, threads=1).session(size=1) as session:

        def close(*given: Any) -> None:
            session.close(cancel)

        request = session.submit("a red star", seed=1, progress=close)
        with pytest.raises(
            RuntimeError, match=r"^session: a callback of its own closes it and would wait for itself; "
        ):
            request.result(timeout=60)
        session.submit("a red star", seed=1).result(timeout=60)
