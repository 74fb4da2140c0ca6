"""The application: which path has which handler."""

from contextlib import AsyncExitStack

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from mulo_sd.engines.http import schemas
from mulo_sd.engines.http.answers import Asked
from mulo_sd.engines.http.cards import model_list, model_object
from mulo_sd.engines.http.connection import EventStream, while_there
from mulo_sd.engines.http.docs_page import docs_html
from mulo_sd.engines.http.gate import CLIENT_GONE, GENERATIONS, Gate
from mulo_sd.engines.http.responses import error_response
from mulo_sd.engines.http.service import Service
from mulo_sd.engines.http.streams import events
from mulo_sd.engines.ingress.errors import ApiError, ClientGoneError, of_defect, of_status
from mulo_sd.engines.ingress.image_request import read_request
from mulo_sd.engines.ingress.orders import engine_of, make_job
from mulo_sd.engines.viewer.page import app_html
from mulo_sd.engines.viewer.policy import content_security_policy

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def make_app(service: Service) -> Gate:
    """Return the application of a service, as ASGI."""
    app = FastAPI(
        title="mulo-sd",
        description="Images by multi-scale local speculative decoding, over OpenAI's images API.",
        version=schemas.VERSION,
        redirect_slashes=False,
        docs_url=None,  # FastAPI's pages load scripts from elsewhere
        redoc_url=None,
    )
    _add_images(app, service)
    _add_models(app, service)
    _add_state(app, service)
    _add_pages(app)
    app.exception_handler(ApiError)(_api_error)
    app.exception_handler(HTTPException)(_http_error)
    app.exception_handler(ClientGoneError)(_gone)
    app.exception_handler(Exception)(_failed)
    return Gate(app, service)


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return error_response(of_status(error.status_code, error.headers))


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)


async def _failed(request: Request, error: Exception) -> Response:
    return error_response(of_defect(request.state.request_id))


def _add_images(app: FastAPI, service: Service) -> None:
    @app.post(GENERATIONS, **schemas.GENERATIONS)
    async def generations(request: Request) -> Response:
        """Draw images from a prompt."""
        service.check_ready()
        body = await service.read_body(request)
        service.begin()
        stack = AsyncExitStack()
        stack.callback(service.end)
        async with stack:
            asked = _asked(request, service, body)
            if not asked.job.streamed:
                return JSONResponse(await while_there(request.receive, asked.answer()))
            drawings = await stack.enter_async_context(service.drawings.joined(asked.job.orders))
            return EventStream(events(asked, drawings[0]), service.limits.body_seconds, stack.pop_all().aclose)

    @app.get("/v1/images/{name}/content", **schemas.CONTENT)
    async def content(name: str) -> Response:
        """Return an image that an answer gave the URL of."""
        image = service.images.get(name)
        if image is None:
            message = "image: expected one that is kept, got another; images are kept for a while, then draw it again"
            raise ApiError(404, message, code="image_not_found")
        return Response(image.content, media_type=image.media_type, headers={"cache-control": "private"})


def _asked(request: Request, service: Service, body: bytes) -> Asked:
    state = request.state
    job = make_job(read_request(body), service.engines, service.limits, state.request_id)
    state.log = {"model": job.engine.card.name, "images": len(job.orders), "mode": job.orders[0].settings.mode}
    base_url = (service.public_url or str(request.base_url)).rstrip("/")
    return Asked(service, job, state.request_id, base_url, state.span)


def _add_models(app: FastAPI, service: Service) -> None:
    @app.get("/v1/models", **schemas.MODELS)
    async def models() -> Response:
        """List the models, when they are loaded."""
        service.check_loaded()
        return JSONResponse(model_list(service))

    @app.get("/v1/models/{name}", **schemas.MODEL)
    async def model(name: str) -> Response:
        """Return a model."""
        return JSONResponse(model_object(service, engine_of(name, service.engines)))


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/health", **schemas.HEALTH)
    async def health() -> Response:
        """Say that the process is alive."""
        return JSONResponse({"status": "alive"})

    @app.get("/ready", **schemas.READY)
    async def ready() -> Response:
        """Say whether images can be asked for."""
        service.check_ready()
        return JSONResponse({"status": service.state, "models": list(service.engines)})

    @app.get("/metrics", **schemas.METRICS)
    async def metrics() -> Response:
        """Return figures for Prometheus."""
        return Response(service.metrics.text(), media_type=PROMETHEUS)


def _add_pages(app: FastAPI) -> None:
    html = app_html()
    headers = {"content-security-policy": content_security_policy(html), "referrer-policy": "no-referrer"}

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        """Show the page that draws."""
        return HTMLResponse(html, headers=headers)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        """Show what /openapi.json says."""
        text = docs_html(app.openapi())
        return HTMLResponse(text, headers={"content-security-policy": content_security_policy(text)})
