"""The unmodified openai client: sync, async and streamed; its images are those of the direct API."""

import asyncio
import base64
import io
from pathlib import Path

import numpy as np
import openai
import pytest
from PIL import Image

from mulo_sd import engines
from mulo_sd.conformance.tools.serving.served import Served
from mulo_sd.engines import Mode

PROMPT = "a red star"


@pytest.fixture(scope="module")
def client(service: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{service.url}/v1", api_key="any", max_retries=0)


@pytest.fixture(scope="module")
def pipeline(minimal_bundle: Path) -> engines.Pipeline:
    return engines.load(minimal_bundle, threads=1)


def pixels(text: str | None) -> np.ndarray:
    assert text is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_one_image(client: openai.OpenAI, pipeline: engines.Pipeline) -> None:
    answer = client.images.generate(prompt=PROMPT, model="minimal", size="16x16", extra_body={"seed": 3})
    result = pipeline.generate(PROMPT, seed=3)
    assert answer.data is not None
    assert (pixels(answer.data[0].b64_json) == np.asarray(result.image)).all()
    assert (answer.size, answer.output_format, answer.background) == ("16x16", "png", "opaque")
    assert answer.usage is not None
    assert answer.usage.output_tokens == 64
    assert answer.usage.total_tokens == answer.usage.input_tokens + 64
    figures = (answer.model_extra or {})["mulo_sd"]
    assert figures["passes"] == result.trace.passes_by_model
    assert figures["seed"] == 3
    assert figures["settings"]["mode"] == "parallel"
    assert answer._request_id == figures["request_id"]


def test_several_images_have_seeds_that_count_up(client: openai.OpenAI, pipeline: engines.Pipeline) -> None:
    answer = client.images.generate(prompt=PROMPT, n=3, extra_body={"seed": 2**64 - 3, "mode": "zipar", "window": 2})
    assert answer.data is not None
    for number, image in enumerate(answer.data):
        result = pipeline.generate(PROMPT, seed=2**64 - 3 + number, mode="zipar", window=2)
        assert (pixels(image.b64_json) == np.asarray(result.image)).all()


@pytest.mark.parametrize(("quality", "mode"), [("fast", "parallel"), ("medium", "parallel"), ("high", "ar")])
def test_qualities_are_settings(client: openai.OpenAI, pipeline: engines.Pipeline, quality: str, mode: Mode) -> None:
    answer = client.images.generate(prompt=PROMPT, quality=quality, extra_body={"seed": 5})  # type: ignore[call-overload]
    assert (pixels(answer.data[0].b64_json) == np.asarray(pipeline.generate(PROMPT, seed=5, mode=mode).image)).all()
    assert answer.quality == {"medium": "balanced", "high": "exact"}.get(quality, quality)


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_formats(client: openai.OpenAI, output_format: str) -> None:
    answer = client.images.generate(
        prompt=PROMPT, output_format=output_format, output_compression=100 if output_format == "png" else 80
    )  # type: ignore[call-overload]
    with Image.open(io.BytesIO(base64.b64decode(answer.data[0].b64_json))) as image:
        assert (image.format, image.size) == (output_format.upper(), (16, 16))


def test_an_image_by_url(client: openai.OpenAI, service: Served) -> None:
    answer = client.images.generate(prompt=PROMPT, response_format="url", extra_body={"seed": 4})
    own = client.images.generate(prompt=PROMPT, extra_body={"seed": 4})
    assert answer.data is not None
    assert own.data is not None
    url = answer.data[0].url
    assert url is not None
    assert url.startswith(service.url)
    status, content = service.get(url.removeprefix(service.url))
    assert (status, content) == (200, base64.b64decode(own.data[0].b64_json or ""))


def test_a_stream(client: openai.OpenAI, pipeline: engines.Pipeline) -> None:
    stream = client.images.generate(
        prompt=PROMPT, stream=True, partial_images=3, extra_body={"seed": 9, "mode": "ar", "sweep_width": 1}
    )
    events = list(stream)
    kinds = [event.type for event in events]
    assert kinds == ["image_generation.partial_image"] * 3 + ["image_generation.completed"]
    assert [getattr(event, "partial_image_index", None) for event in events] == [0, 1, 2, None]
    result = np.asarray(pipeline.generate(PROMPT, seed=9, mode="ar").image).astype(int)
    assert (pixels(events[-1].b64_json) == result).all()
    # Each shows more of the result than the one before: what is not decided is grey.
    shown = [int((pixels(event.b64_json) == result).all(axis=2).sum()) for event in events]
    assert shown == sorted(set(shown))
    assert shown[0] < shown[-1] == result.shape[0] * result.shape[1]


def test_a_proposal_is_a_partial_image(client: openai.OpenAI, pipeline: engines.Pipeline) -> None:
    events = list(client.images.generate(prompt=PROMPT, stream=True, partial_images=1, extra_body={"seed": 10}))
    assert len(events) == 2
    cycle = pipeline.generate(PROMPT, seed=10).trace.cycles_of(0)[0]
    assert (pixels(events[0].b64_json) == np.asarray(pipeline.image_from_tokens(cycle.up_sampled))).all()


def test_async_clients_at_once(service: Served, pipeline: engines.Pipeline) -> None:
    async def draw() -> list[np.ndarray]:
        async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key="any", max_retries=0) as client:

            async def one(seed: int) -> np.ndarray:
                answer = await client.images.generate(prompt=PROMPT, extra_body={"seed": seed})
                assert answer.data is not None
                return pixels(answer.data[0].b64_json)

            async def streamed(seed: int) -> np.ndarray:
                stream = await client.images.generate(prompt=PROMPT, stream=True, extra_body={"seed": seed})
                return [pixels(event.b64_json) async for event in stream][-1]

            return await asyncio.gather(*(one(seed) for seed in range(20, 26)), *(streamed(seed) for seed in (30, 31)))

    for seed, drawn in zip([*range(20, 26), 30, 31], asyncio.run(draw()), strict=True):
        assert (drawn == np.asarray(pipeline.generate(PROMPT, seed=seed).image)).all()


def test_models(client: openai.OpenAI) -> None:
    models = client.models.list().data
    assert [model.id for model in models] == ["minimal"]
    card = (client.models.retrieve("minimal").model_extra or {})["mulo_sd"]
    assert (card["size"], card["grid"]) == ("16x16", [8, 8])
    assert set(card["qualities"]) == {"fast", "balanced", "exact"}
    assert card["qualities"]["exact"]["settings"]["mode"] == "ar"
    client.images.generate(prompt=card["example_prompts"][0], quality="high")
    card = (client.models.retrieve("minimal").model_extra or {})["mulo_sd"]
    assert 1 <= card["qualities"]["exact"]["passes"] <= 70


def test_errors_have_their_codes(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as prompt:
        client.images.generate(prompt="a nonsensical star")
    assert (prompt.value.code, prompt.value.param) == ("invalid_prompt", "prompt")
    with pytest.raises(openai.NotFoundError) as model:
        client.images.generate(prompt=PROMPT, model="gpt-image-1")
    assert model.value.code == "model_not_found"
    assert "expected one of minimal" in model.value.message
    with pytest.raises(openai.BadRequestError) as setting:
        client.images.generate(prompt=PROMPT, extra_body={"tua": 0.1})
    assert (setting.value.code, setting.value.param) == ("unknown_parameter", "tua")
    with pytest.raises(openai.InternalServerError) as late:
        client.images.generate(prompt=PROMPT, extra_body={"deadline": 1e-4, "seed": 99})
    assert (late.value.status_code, late.value.code) == (504, "deadline_exceeded")


def test_an_error_inside_a_stream_is_raised(client: openai.OpenAI) -> None:
    stream = client.images.generate(prompt=PROMPT, stream=True, extra_body={"deadline": 1e-4, "seed": 98})
    with pytest.raises(openai.APIError, match="deadline: expected the images within"):
        list(stream)
