"""Text encoders and language models through transformers; needs the extra `text`. Nothing else here imports torch."""

import re
import threading
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.backends.base import one_line
from engines.condition import ConditionError
from engines.text import PromptError, check_text, shows_nothing

MAX_CAPTION_CHARACTERS = 4000
SEMANTIC_ID = re.compile(r"<I(\d+)>")
# How Tar's language model is asked for a scale, by how many ids it answers with.
SCALE_OF_IDS = {729: 0, 169: 1, 81: 2}
SYSTEM = "You are a helpful assistant."
# Tar's published sampling of semantic ids.
TEMPERATURE, TOP_P, TOP_K = 1.0, 0.95, 1200


class _TextModel:
    """A model and its tokenizer in a folder, or under a name of the hub; loaded when first asked."""

    class_name: str

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
                f"text model {self.name}: {error.name} is not installed; install the extra `mulo-sd[text]`, or give "
                "what it says with --condition"
            ) from None
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(self.name)
            model = getattr(transformers, self.class_name).from_pretrained(self.name, dtype=torch.bfloat16)
        except Exception as error:  # transformers raises many classes for a folder that is none of its own
            raise ConditionError(f"text model {self.name}: it cannot be loaded: {one_line(error)}") from None
        # A folder may say otherwise: only a caption's end is cut off, and a pass over one prompt has no padding.
        tokenizer.truncation_side = "right"
        return tokenizer, model.eval()


class CaptionEncoder(_TextModel):
    """T5's encoder as LlamaGen uses it: flan-t5-xl, captions cleaned, padding on the left."""

    class_name = "T5EncoderModel"

    def features(self, prompt: str, length: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Encode a caption.

        Args:
            prompt: The caption; what is longer than `length` tokens is cut off at its end, as in training: the last
                token stays the end of a sequence.
            length: P.

        Returns:
            Float32[P, width], zeros where there is padding, and Bool[P], which tokens are none.

        Raises:
            PromptError: the caption is empty or too long, or nothing is left of it once it is cleaned.
            ConditionError: the encoder cannot be loaded, or takes no such captions.
        """
        caption = checked_caption(prompt)
        with self.lock:
            tokenizer, model = self.loaded
            import torch

            # Padding is hidden from the encoder and left out of the features. It is asked for on the right, whatever
            # the folder says; the features' own is on the left.
            encoded = tokenizer(
                caption,
                max_length=length,
                padding="max_length" if tokenizer.pad_token is not None else False,
                padding_side="right",
                truncation=True,
                return_attention_mask=True,
                return_tensors="pt",
            )
            with torch.inference_mode():
                hidden = model(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"])[0][0]
            count = int(encoded["attention_mask"].sum())
        if not 1 <= count <= length:
            raise ConditionError(f"text model {self.name}: expected 1 to {length} tokens for a caption, got {count}")
        features = np.zeros((length, hidden.shape[1]), dtype=np.float32)
        features[length - count :] = hidden[:count].float().numpy()
        return features, np.arange(length) >= length - count


def checked_caption(prompt: str) -> str:
    """Return a caption as the encoder reads it: checked, and cleaned as in training.

    Raises:
        PromptError: it is empty or too long, or nothing that shows is left of it.
        ConditionError: the extra is not installed.
    """
    check_text(prompt, most=MAX_CAPTION_CHARACTERS)
    caption = cleaned(prompt)
    if shows_nothing(caption) or not any(character.isalnum() for character in caption):
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

    class_name = "Qwen2ForCausalLM"

    def ids(self, prompt: str, count: int, seed: int) -> NDArray[np.int64]:
        """Ask for an image.

        Args:
            prompt: What to draw.
            count: 729, 169 or 81.
            seed: 0..2^64 - 1, of the answer.

        Returns:
            Int64[count]; where the model says less, 0 stands for the rest, as published.

        Raises:
            PromptError: the prompt is empty or too long.
            ConditionError: the model cannot be loaded, or there is no such count.
        """
        check_text(prompt, most=MAX_CAPTION_CHARACTERS)
        if count not in SCALE_OF_IDS:
            raise ConditionError(f"ids: expected {', '.join(map(str, SCALE_OF_IDS))} a prompt, got {count}")
        with self.lock:
            tokenizer, model = self.loaded
            import torch

            messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]
            text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            encoded = tokenizer(f"{text}<im_start><S{SCALE_OF_IDS[count]}>", return_tensors="pt")
            with torch.random.fork_rng(devices=[]), torch.inference_mode():
                torch.manual_seed(seed % 2**63)
                said = model.generate(
                    encoded["input_ids"],
                    attention_mask=encoded["attention_mask"],
                    max_new_tokens=count,
                    do_sample=True,
                    temperature=TEMPERATURE,
                    top_p=TOP_P,
                    top_k=TOP_K,
                )
            answer = tokenizer.decode(said[0, encoded["input_ids"].shape[1] :])
        found = [int(number) for number in SEMANTIC_ID.findall(answer)][:count]
        if not found:
            raise PromptError(
                f"prompt: the language model answered with no image: {one_line(ValueError(answer))[:80]!r}"
            )
        return np.array(found + [0] * (count - len(found)), dtype=np.int64)
