"""Front ends: make conditions from prompts, one front end for each family. Text models need the extra `text`."""

from mulo_sd.engines.backends.base import Backend
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.conditions.captioned import CaptionedFrontEnd
from mulo_sd.engines.conditions.captions import CaptionFrontEnd
from mulo_sd.engines.conditions.classes import ClassFrontEnd
from mulo_sd.engines.conditions.demo import DemoFrontEnd
from mulo_sd.engines.conditions.file import load_condition, save_condition
from mulo_sd.engines.conditions.front_end import Described, FrontEnd
from mulo_sd.engines.conditions.semantic import SemanticFrontEnd
from mulo_sd.engines.files.paths import expanded
from mulo_sd.engines.numbers import SettingsError

__all__ = ["Described", "FrontEnd", "SemanticFrontEnd", "front_end_for", "load_condition", "save_condition"]


def front_end_for(bundle: Bundle, backend: Backend, text_model: str | None) -> FrontEnd:
    """Return the front end of a bundle's models.

    Args:
        bundle: The bundle.
        backend: Runs the bundle's graphs.
        text_model: Folder or name of flan-t5-xl or of Tar's language model, for models that need one.

    Raises:
        BundleError: the bundle was built for another prompt grammar than this version's, or its captions' tokenizer
            cannot be used.
        SettingsError: the text model is no text.
    """
    if text_model is not None and not isinstance(text_model, str):
        raise SettingsError(f"text_model: expected a folder or a name, got {text_model!r:.80}")
    if text_model is not None and text_model.startswith("~"):
        text_model = str(expanded(text_model))
    kind = bundle.manifest.target.condition
    if kind == "caption":
        return CaptionFrontEnd(bundle, text_model)
    if kind == "class":
        return ClassFrontEnd(bundle)
    if kind == "features":
        return SemanticFrontEnd(bundle, backend, text_model)
    return CaptionedFrontEnd(bundle) if bundle.manifest.family == "captioned" else DemoFrontEnd(bundle)
