"""One request on its way: its responses, of which exactly one is the last."""

import threading
from collections.abc import Mapping
from typing import Any

from mulo_sd.engines.ingress.errors import ApiError
from mulo_sd.engines.triton.tensors import tensor_of

# How Triton calls what HTTP gives a status; a client may try again what is unavailable.
CODES = {400: "INVALID_ARG", 404: "NOT_FOUND", 429: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "CANCELLED"}
DEFECT = "INTERNAL"


class Call:
    """Sends the responses of one request; from any thread."""

    def __init__(self, utils: Any, sender: Any, request_id: str) -> None:
        """Begin.

        Args:
            utils: The module `triton_python_backend_utils`.
            sender: Of the request's responses.
            request_id: As the client calls it, or one of ours.
        """
        self.utils, self.sender, self.request_id = utils, sender, request_id
        self._lock, self._has_ended = threading.Lock(), False

    @property
    def is_cancelled(self) -> bool:
        """Whether the client has gone, or cancelled the request; nobody asks any more once the last response is sent.

        Triton 2.51 looks for the answer in what the last response has freed: the whole server ends with SIGSEGV.
        """
        with self._lock:
            return not self._has_ended and bool(self.sender.is_cancelled())

    def send(self, tensors: Mapping[str, Any], is_last: bool) -> None:
        """Send a response; after the last one there is none."""
        outputs = [tensor_of(self.utils, name, numbers) for name, numbers in tensors.items()]
        self._send(self.utils.InferenceResponse(output_tensors=outputs), is_last)

    def refuse(self, error: ApiError) -> None:
        """End with an error: its code and its line."""
        name = CODES.get(error.status, DEFECT)
        told = self.utils.TritonError(f"{error.code}: {error}", getattr(self.utils.TritonError, name))
        self._send(self.utils.InferenceResponse(output_tensors=[], error=told), is_last=True)

    def _send(self, response: Any, is_last: bool) -> None:
        flags = self.utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if is_last else 0
        with self._lock:
            if not self._has_ended:
                self._has_ended = is_last
                self.sender.send(response, flags=flags)
