"""Models that were trained on captioned pictures: a prompt is a caption, whose ids are the prefix."""

from mulo_sd.engines.bundle import Bundle, BundleError
from mulo_sd.engines.bundle.contract import CAPTIONS_FILE
from mulo_sd.engines.condition import Condition, ConditionError
from mulo_sd.engines.conditions.front_end import Described
from mulo_sd.engines.prompts import Plan, PlanError
from mulo_sd.engines.prompts.caption_file import CaptionsFileError, load_caption_ids
from mulo_sd.engines.prompts.caption_ids import CaptionIds
from mulo_sd.engines.text import MAX_CAPTION_CHARACTERS, check_text

MAX_SHOWN = 80  # characters of an example in a line


class CaptionedFrontEnd:
    """Makes conditions from captions, with the tokenizer that the bundle holds."""

    example_prompts: tuple[str, ...]

    def __init__(self, bundle: Bundle) -> None:
        """Read the captions' tokenizer.

        Raises:
            BundleError: it cannot be used.
        """
        self.example_prompts = bundle.manifest.example_prompts
        self._ids = _caption_ids(bundle)

    def check(self, prompt: str) -> None:
        """Check that a prompt is a text, and that it can be turned into ids."""
        self._caption_ids()
        self._checked(prompt)

    def describe(self, prompt: str, seed: int, plan: Plan | None) -> Described:
        """Turn a caption into ids; a plan is an error, and the seed is not used."""
        if plan is not None:
            raise PlanError("plan: expected none for models that take captions, got one; leave it out")
        ids = self._caption_ids()
        of_caption = ids.ids(self._checked(prompt))
        note = None
        if len(of_caption) > ids.length:
            note = f"prompt: cut, since the models see {ids.length} ids of a caption, and it has {len(of_caption)}"
        return Described(Condition(ids.prefix(of_caption), ids.null_condition()), note=note)

    def _caption_ids(self) -> CaptionIds:
        if self._ids is None:
            raise ConditionError(
                "prompt: tokenizers is not installed, which turns captions into ids; install the extra "
                "`mulo-sd[captions]`, or give a condition with --condition"
            )
        return self._ids

    def _checked(self, prompt: str) -> str:
        such_as = f", such as {self.example_prompts[0][:MAX_SHOWN]!r}" if self.example_prompts else ""
        return check_text(prompt, max_characters=MAX_CAPTION_CHARACTERS, advice=f"say what to draw{such_as}")


def _caption_ids(bundle: Bundle) -> CaptionIds | None:
    """Return what a bundle makes ids with; None where the library is not installed: conditions in numbers need none."""
    manifest = bundle.manifest
    path = bundle.file(manifest.captions) if manifest.captions else bundle.path / CAPTIONS_FILE
    try:
        known = min(entry.condition_ids for entry in manifest.with_conditions)
        return load_caption_ids(path, manifest.target.prefix_length, known)
    except CaptionsFileError as error:
        raise BundleError(f"{error}; {bundle.rebuild()}") from None
    except ModuleNotFoundError:
        return None
