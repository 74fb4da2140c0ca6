"""The TensorRT that Triton's containers bring to Python, and whether a bundle's plans are of it."""

from collections.abc import Mapping

from mulo_sd.engines.backends.host import Host
from mulo_sd.engines.backends.readiness import judge_backend, told
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.bundle.contract import PLAN_PACKAGES
from mulo_sd.engines.numbers import SettingsError
from mulo_sd.export.own_bundle import BuildError

# By tag of nvcr.io/nvidia/tritonserver, from the page "Release Compatibility Matrix" of Triton's documentation, read in
# November 2026. Only containers with TensorRT-LLM bring TensorRT's Python package; in any other one it is what was
# installed there.
TENSORRT_OF_CONTAINER: Mapping[str, str] = {
    "25.01-trtllm-python-py3": "10.8.0.43",
    "25.02-trtllm-python-py3": "10.8.0.43",
    "25.03-trtllm-python-py3": "10.9.0.34",
    "25.04-trtllm-python-py3": "10.9.0.34",
    "25.05-trtllm-python-py3": "10.9.0.34",
    "25.06-trtllm-python-py3": "10.10.0.31",
    "25.07-trtllm-python-py3": "10.10.0.31",
    "25.08-trtllm-python-py3": "10.11.0.33",
    "25.09-trtllm-python-py3": "10.11.0.33",
    "25.10-trtllm-python-py3": "10.11.0.33",
    "25.11-trtllm-python-py3": "10.13.3.9",
    "25.12-trtllm-python-py3": "10.13.3.9",
    "26.01-trtllm-python-py3": "10.13.3.9",
    "26.02-trtllm-python-py3": "10.13.3.9",
    "26.03-trtllm-python-py3": "10.14.1.48",
    "26.04-trtllm-python-py3": "10.14.1.48",
    "26.05-trtllm-python-py3": "10.14.1.48",
    "26.06-trtllm-python-py3": "10.14.1.48",
    "26.07-trtllm-python-py3": "10.14.1.48",
}
PLATFORM = "linux-x86_64"


def tensorrt_of(container: str) -> str:
    """Return the version of TensorRT that a container brings.

    Args:
        container: Its tag, such as 26.07-trtllm-python-py3.

    Raises:
        SettingsError: it is not known.
    """
    if container not in TENSORRT_OF_CONTAINER:
        tags = list(TENSORRT_OF_CONTAINER)
        raise SettingsError(
            f"container: expected one whose TensorRT is known, {tags[0]} to {tags[-1]}, got {container!r:.80}; "
            "for another give --tensorrt-version, which `pip show tensorrt` prints there"
        )
    return TENSORRT_OF_CONTAINER[container]


def check_plans_for(bundle: Bundle, backend: str, version: str) -> None:
    """Check that a bundle's plans are of a server's TensorRT.

    Args:
        bundle: Opened.
        backend: Which runs its graphs.
        version: Of TensorRT on the server, or of TensorRT for RTX with backend trt-rtx.

    Raises:
        BuildError: they are not; one line that says what to do.
        SettingsError: the backend has no plans.
    """
    if backend not in PLAN_PACKAGES:
        names = " or ".join(PLAN_PACKAGES)
        raise SettingsError(f"tensorrt-version: expected it beside --backend {names}, got --backend {backend}")
    server = Host(PLATFORM, {PLAN_PACKAGES[backend]: version, "cuda.bindings": ""})
    verdict = judge_backend(backend, bundle, server).verdict
    if verdict.refuses:
        raise BuildError(f"{bundle.path}: on a server with version {version}: {told(verdict, bundle, server)}")
