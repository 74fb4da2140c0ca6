"""The model as Triton's Python backend calls it."""

import json
from pathlib import Path
from typing import Any, ClassVar

from mulo_sd.engines.backends import BackendError
from mulo_sd.engines.bundle import BundleError
from mulo_sd.engines.bundle.manifest import MANIFEST_NAME
from mulo_sd.engines.bundle.open import sha256_of_file
from mulo_sd.engines.condition import ConditionError
from mulo_sd.engines.ingress.errors import one_line
from mulo_sd.engines.ingress.session_engine import SessionEngine
from mulo_sd.engines.numbers import SettingsError
from mulo_sd.engines.service.load import load
from mulo_sd.engines.triton.options import ModelOptions, options_of
from mulo_sd.engines.triton.service import Service

BUNDLE_FOLDER = "bundle"  # beside the version's model.py


class Model:
    """A bundle, its session and the service in front of it; the repository's `model.py` derives from it."""

    utils: ClassVar[Any]  # the module `triton_python_backend_utils`, which the stub process alone has
    service: Service

    def initialize(self, args: dict[str, str]) -> None:
        """Open the bundle beside the model, and begin to take requests.

        Raises:
            TritonModelException: it cannot be opened, or its configuration holds what it must not; one line.
        """
        try:
            if int(args["model_instance_device_id"]) != 0:
                raise SettingsError(
                    f"gpus: expected 0, got {args['model_instance_device_id']}: the model draws on the first GPU that "
                    "its process sees; start a server for each GPU, with CUDA_VISIBLE_DEVICES"
                )
            options = options_of(json.loads(args["model_config"]))
            folder = Path(args["model_repository"], args["model_version"], BUNDLE_FOLDER)
            self.service = _service(args["model_name"], folder, options, self.utils.Logger.log_error)
        except (SettingsError, BundleError, BackendError, ConditionError) as error:
            raise self.utils.TritonModelException(one_line(error)) from None

    def execute(self, requests: list[Any]) -> None:
        """Begin to answer requests; it waits for none."""
        for request in requests:
            self.service.take(self.utils, request)

    def is_ready(self) -> bool:
        """Whether requests are taken; it asks no runtime."""
        return self.service.is_running

    def finalize(self) -> None:
        """End in order."""
        self.service.close()


def _service(name: str, folder: Path, options: ModelOptions, log: Any) -> Service:
    """Load a bundle and open its service.

    Raises:
        BundleError: the bundle is not the one that the configuration was written for, or cannot be used.
        Exception: as `load`.
    """
    pipeline = load(folder, options.backend, options.threads, options.text_model)
    found = sha256_of_file(folder / MANIFEST_NAME)
    if found != options.manifest_sha256:
        raise BundleError(
            f"{folder}: expected the bundle that config.pbtxt was written for, got another one; "
            "write the repository again with `mulo-sd triton`"
        )
    return Service(name, SessionEngine(name, pipeline, options.size, options.workers), options.limits, log)
