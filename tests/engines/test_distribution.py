"""What tokens are drawn from is four of the settings, and raw it is guidance alone (DIST-1, DIST-2)."""

from dataclasses import fields

from mulo_sd.engines.distribution import Distribution
from mulo_sd.engines.settings import Settings


def test_its_fields_are_the_settings_of_the_same_names() -> None:
    settings = Settings(guidance_scale=3.0, temperature=0.5, top_k=7, top_p=0.9)
    assert vars(settings.distribution) == {item.name: settings.model_dump()[item.name] for item in fields(Distribution)}
    assert settings.distribution == Distribution(3.0, 0.5, 7, 0.9)


def test_raw() -> None:
    """Also at temperature 0, at which p itself has one code."""
    for temperature in (0.0, 0.5, 1.0):
        assert Distribution(3.0, temperature, 7, 0.9).raw() == Distribution(guidance_scale=3.0)
    assert Distribution(3.0).raw() == Distribution(3.0)
