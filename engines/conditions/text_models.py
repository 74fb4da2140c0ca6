"""Text encoders and language models, run by transformers (extra `text`); no other file of this floor needs torch."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import one_line
from mulo_sd.engines.condition import ConditionError
from mulo_sd.engines.text import MAX_CAPTION_CHARACTERS, PromptError, check_text

PADDING, END = 0, "</s>"  # T5's
SEMANTIC_ID = re.compile(r"<I(\d{1,9})>")
# The scale to ask Tar's language model for, by the number of ids that it answers with.
SCALE_OF_IDS = {729: 0, 169: 1, 81: 2}
SYSTEM = "You are a helpful assistant."
# Tar's published sampling of semantic ids.
TEMPERATURE, TOP_P, TOP_K = 1.0, 0.95, 1200


class _TextModel:
    """A model and its tokenizer, from a folder or by name from the hub; loaded when first used."""

    class_name: str
    published: str  # the name of the right model
    needed_tokens: tuple[str, ...]  # its tokenizer has each of these as one token

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = threading.Lock()

    @cached_property
    def loaded(self) -> tuple[Any, Any]:
        """The tokenizer and the model, in bfloat16 as published.

        Raises:
            ConditionError: the extra is not installed, or the model cannot be loaded.
        """
        try:
            import torch
            import transformers
        except ImportError as error:
            raise ConditionError(
                f"text model {self.name}: {error.name} is not installed; install the extra `mulo-sd[text]`, or give a "
                "condition with --condition"
            ) from None
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(self.name)
            model = getattr(transformers, self.class_name).from_pretrained(self.name, dtype=torch.bfloat16)
        except Exception as error:  # transformers raises many classes for another folder
            raise ConditionError(f"text model {self.name}: it cannot be loaded: {one_line(error)}") from None
        unknown = [token for token in self.needed_tokens if token not in tokenizer.get_vocab()]
        if unknown:
            raise ConditionError(
                f"text model {self.name}: expected a tokenizer that knows {', '.join(unknown)}, got another model's; "
                f"give the folder of {self.published}"
            )
        # A folder may set the other side, and truncation or padding there gives other features.
        tokenizer.truncation_side = tokenizer.padding_side = "right"
        return tokenizer, model.eval()

    @contextmanager
    def using(self) -> Iterator[tuple[Any, Any]]:
        """Lend the tokenizer and the model to one prompt at a time.

        Raises:
            ConditionError: they cannot be loaded, or fail.
        """
        with self.lock:
            tokenizer, model = self.loaded
            try:
                yield tokenizer, model
            except ConditionError:
                raise
            except Exception as error:  # another kind of model may raise anything
                raise ConditionError(f"text model {self.name}: it cannot be used: {one_line(error)}") from None


class CaptionEncoder(_TextModel):
    """T5's encoder as LlamaGen uses it: flan-t5-xl, captions cleaned, padding on the left."""

    class_name, published = "T5EncoderModel", "flan-t5-xl"
    needed_tokens = (END,)

    def features(self, prompt: str, length: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Encode a caption.

        Args:
            prompt: The caption; it is cut to `length` tokens, the end mark included, as in training.
            length: P.

        Returns:
            Float32[P, width], zeros where there is padding, and Bool[P], which tokens are not padding.

        Raises:
            PromptError: the caption is empty or too long, or no word of it is left.
            ConditionError: the encoder cannot be loaded.
        """
        caption = checked_caption(prompt)
        with self.using() as (tokenizer, model):
            import torch

            ids = tokenizer(caption, max_length=length, truncation=True)["input_ids"]
            if ids[-1] != tokenizer.convert_tokens_to_ids(END):
                raise ConditionError(f"text model {self.name}: expected a tokenizer that ends captions with {END}")
            # Padded here and not by the tokenizer, whose folder may set another side or have no padding.
            padded = torch.tensor([ids + [PADDING] * (length - len(ids))])
            mask = torch.arange(length)[None] < len(ids)
            with torch.inference_mode():
                hidden = model(input_ids=padded, attention_mask=mask.long())[0][0]
        features = np.zeros((length, hidden.shape[1]), dtype=np.float32)
        features[length - len(ids) :] = hidden[: len(ids)].float().numpy()
        return features, np.arange(length) >= length - len(ids)


def checked_caption(prompt: str) -> str:
    """Return a caption as the encoder reads it: checked, and cleaned as in training.

    Raises:
        PromptError: it is empty or too long, or no word of it is left.
        ConditionError: the extra is not installed.
    """
    caption = cleaned(check_text(prompt, max_characters=MAX_CAPTION_CHARACTERS))
    if not any(character.isalnum() for character in caption):
        raise PromptError(
            f"prompt: nothing is left of {prompt[:40]!r} once it is cleaned as in training (addresses, names with @, "
            "file names and signs go); describe the image in words"
        )
    return caption


def cleaned(caption: str) -> str:
    """Clean a caption twice, as in LlamaGen's training: no markup, addresses, file names, decorations.

    Raises:
        ConditionError: the extra is not installed.
    """
    try:
        from diffusers import PixArtAlphaPipeline
    except ImportError as error:
        raise ConditionError(f"caption: {error.name} is not installed; install the extra `mulo-sd[text]`") from None
    # The function that LlamaGen's own comes from; it only reads an attribute of its class.
    clean = PixArtAlphaPipeline._clean_caption
    return str(clean(PixArtAlphaPipeline, clean(PixArtAlphaPipeline, caption)))


class SemanticLanguageModel(_TextModel):
    """Tar's language model (Qwen2.5), which answers a prompt with the ids of TA-Tok."""

    class_name, published = "Qwen2ForCausalLM", "csuhan/Tar-1.5B"
    needed_tokens = ("<im_start>", *(f"<S{scale}>" for scale in SCALE_OF_IDS.values()), "<I0>")

    def ids(self, prompt: str, count: int, seed: int) -> NDArray[np.int64]:
        """Ask for the semantic ids of an image.

        Args:
            prompt: The text to draw.
            count: How many ids: 729, 169 or 81.
            seed: 0..2^64 - 1, of the answer's sampling.

        Returns:
            Int64[count]; a shorter answer is filled up with 0, as published.

        Raises:
            PromptError: the prompt is empty or too long.
            ConditionError: the model cannot be loaded, or there is no such count.
        """
        check_text(prompt, max_characters=MAX_CAPTION_CHARACTERS)
        if count not in SCALE_OF_IDS:
            raise ConditionError(f"ids: expected {', '.join(map(str, SCALE_OF_IDS))} a prompt, got {count}")
        with self.using() as (tokenizer, model):
            import torch

            messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]
            text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            encoded = tokenizer(f"{text}<im_start><S{SCALE_OF_IDS[count]}>", return_tensors="pt")
            with torch.random.fork_rng(devices=[]), torch.inference_mode():
                torch.manual_seed(seed % 2**63)
                output = model.generate(
                    encoded["input_ids"],
                    attention_mask=encoded["attention_mask"],
                    max_new_tokens=count,
                    do_sample=True,
                    temperature=TEMPERATURE,
                    top_p=TOP_P,
                    top_k=TOP_K,
                )
            answer = tokenizer.decode(output[0, encoded["input_ids"].shape[1] :])
        return semantic_ids(answer, count)


def semantic_ids(answer: str, count: int) -> NDArray[np.int64]:
    """Read the semantic ids in a language model's answer, Int64[count]; a shorter answer is filled up with 0.

    Raises:
        PromptError: the answer holds none.
    """
    ids = [int(number) for number in SEMANTIC_ID.findall(answer)][:count]
    if not ids:
        start = one_line(ValueError(answer))[:80]
        raise PromptError(f"prompt: expected semantic ids from the language model, got {start!r}; describe an image")
    return np.array(ids + [0] * (count - len(ids)), dtype=np.int64)
