"""The options of a service on a cluster: those of one machine's, and how its replicas are spread."""

import math
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from mulo_sd.engines.http.options import ServeOptions
from mulo_sd.engines.ingress.limits import Limits

MAX_REPLICAS = 4096
APP_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"


class ClusterOptions(ServeOptions):
    """How the service runs on a cluster.

    A bundle's folder and a file of keys have the same path on every machine that runs a replica.
    """

    replicas: Annotated[
        int, Field(ge=1, le=MAX_REPLICAS, description="engine replicas; with --max-replicas the fewest")
    ] = 2
    max_replicas: Annotated[
        int | None,
        Field(ge=1, le=MAX_REPLICAS, description="engine replicas at most, by load; default: no more than --replicas"),
    ] = None
    ingresses: Annotated[int, Field(ge=1, le=64, description="processes that take requests")] = 1
    bundles_each: Annotated[
        int, Field(ge=1, le=64, description="bundles that an engine replica holds at once; the one unused longest goes")
    ] = 3
    cpus_each: Annotated[
        float, Field(ge=0, le=4096, allow_inf_nan=False, description="CPUs of an engine replica, as Ray counts them")
    ] = 1.0
    gpus_each: Annotated[
        float, Field(ge=0, le=64, allow_inf_nan=False, description="GPUs of an engine replica, as Ray counts them")
    ] = 0.0
    ray_address: Annotated[
        str | None,
        Field(
            pattern=r"^[!-~]+$",
            description="auto, or HOST:PORT of a running cluster; default: a new one here, which ends with it",
        ),
    ] = None
    app_name: Annotated[str, Field(pattern=APP_NAME, description="of the application in Ray Serve")] = "mulo-sd"

    @field_validator("max_replicas")
    @classmethod
    def _most_is_most(cls, most: int | None, info: ValidationInfo) -> int | None:
        fewest = info.data.get("replicas", 0)
        if most is not None and most < fewest:
            raise ValueError(f"at least {fewest}, as --replicas says")
        return most

    @property
    def most_replicas(self) -> int:
        """Engine replicas at most."""
        return self.replicas if self.max_replicas is None else self.max_replicas

    @property
    def threads_each(self) -> int:
        """CPU threads of a pass: replicas on one machine share its cores, where a runtime would take them all."""
        return self.threads or max(1, int(self.cpus_each))

    @property
    def limits(self) -> Limits:
        """The limits of one ingress; each has its share of what all engines draw at once."""
        whole = super().limits
        places = math.ceil(self.size * self.most_replicas / self.ingresses)
        # An image lies in the ingress that answered; the next request may come to another.
        return Limits(**{**vars(whole), "places": places, "urls": self.ingresses == 1})

    def scale(self) -> dict[str, Any]:
        """Return how many engine replicas there are, as Ray Serve takes it."""
        if self.most_replicas == self.replicas:
            return {"num_replicas": self.replicas}
        return {
            "num_replicas": "auto",
            "autoscaling_config": {
                "min_replicas": self.replicas,
                "max_replicas": self.most_replicas,
                "target_ongoing_requests": self.size,  # as many as share passes
                "upscale_delay_s": 5,
                "downscale_delay_s": 60,
                "metrics_interval_s": 1,
                "look_back_period_s": 5,
            },
        }


# Those that have no meaning on one machine.
CLUSTER_ONLY = tuple(name for name in ClusterOptions.model_fields if name not in ServeOptions.model_fields)
