"""The ingress deployment: HTTP, admission, deadlines and errors as on one machine; engine replicas draw."""

import asyncio
import sys
from typing import Any

from mulo_sd.engines.cluster.messages import Offer, OtherModelsError
from mulo_sd.engines.cluster.options import ClusterOptions
from mulo_sd.engines.cluster.ray_engine import GONE, RayEngine
from mulo_sd.engines.files.paths import expanded
from mulo_sd.engines.http.access import Access, read_keys
from mulo_sd.engines.http.app import make_app
from mulo_sd.engines.http.gate import Gate
from mulo_sd.engines.http.logs import log, log_failure, set_up
from mulo_sd.engines.http.service import Service
from mulo_sd.engines.http.tracing import NoTracing, OtelTracing

AGAIN_SECONDS = 1.0
# Then it answers, with 503 while there are no offers, and a bundle that cannot be loaded holds up nobody for ever.
FIRST_SECONDS = 60.0


class Ingress:
    """Takes requests; is ready when an engine replica has said what each bundle draws."""

    async def __init__(self, options: ClusterOptions, replicas: Any) -> None:  # type: ignore[misc]  # Ray awaits it
        """Ask the replicas; until it returns, requests wait in Ray Serve's proxies, or go to the ingress before it.

        Args:
            options: Of the service.
            replicas: Handle of the engine deployment.

        Raises:
            SettingsError: the file of keys cannot be used on this machine.
        """
        set_up(options.log_format, sys.__stderr__)  # Ray puts a log of its own, which drops ours, in its place
        access = read_keys(expanded(options.api_key_file)) if options.api_key_file else Access()
        tracing = OtelTracing(options.traces) if options.traces else NoTracing()
        self.options, self.replicas = options, replicas
        self.service = Service({}, options.limits, access, tracing, options.public_url)
        self._loading = asyncio.get_running_loop().create_task(self._load())
        await asyncio.wait({self._loading}, timeout=FIRST_SECONDS)

    def __serve_build_asgi_app__(self) -> Gate:
        """Return the application."""
        return make_app(self.service)

    async def drain(self, grace: float) -> None:
        """Take no more requests, and wait for those that are answered, at most so many seconds."""
        self._loading.cancel()
        log("draining", answering=self.service.answering, grace=grace)
        await self.service.drain(grace)

    async def _load(self) -> None:
        """Ask for every bundle until a replica has answered."""
        by_name: dict[str, RayEngine] = {}
        while len(by_name) < len(self.options.bundles):
            for name in self.options.bundles.keys() - by_name.keys():
                try:
                    offer: Offer = await self.replicas.options(multiplexed_model_id=name).offer.remote(name)
                except (*GONE, OtherModelsError):
                    continue
                except Exception as error:  # Ray tells of a bundle that cannot be loaded; an update may bring another
                    log_failure(error, f"load-{name}")
                    continue
                by_name[name] = RayEngine(offer, self.replicas)
            if len(by_name) < len(self.options.bundles):
                await asyncio.sleep(AGAIN_SECONDS)
        # In the order of the options: the first is the default.
        self.service.engines.update({name: by_name[name] for name in self.options.bundles})
        if self.service.state == "loading":
            self.service.state = "ready"
        log("ready", models=list(self.service.engines))
