"""Captions and prompts go through T5 and Qwen2 of transformers, tiny ones made on the spot, tokenizers included."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM, T5Config, T5EncoderModel

from mulo_sd import engines
from mulo_sd.engines import conditions
from mulo_sd.engines.conditions.text_models import CaptionEncoder, SemanticLanguageModel, cleaned

SENTENCES = ["a red fox jumps over the lazy dog", "two teapots and a bicycle in the rain", "a helpful assistant."]
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
IDS = 50


def in_one_order(tokenizer: Tokenizer, special: int) -> Tokenizer:
    """Return a trained tokenizer whose pieces behind the special ones are sorted; training orders ties by chance."""
    state = json.loads(tokenizer.to_str())
    pieces = state["model"]["vocab"]
    pieces[special:] = sorted(pieces[special:], key=lambda piece: (-round(piece[1], 6), piece[0]))
    return Tokenizer.from_str(json.dumps(state))


@pytest.fixture(scope="session")
def t5(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A T5 encoder as wide as the tiny text model's captions."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>")
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer = in_one_order(tokenizer, special=3)
    end = tokenizer.token_to_id("</s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", end)])
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )
    torch.manual_seed(1)
    config = T5Config(vocab_size=len(fast), d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
    folder = tmp_path_factory.mktemp("t5")
    T5EncoderModel(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A language model that knows nothing but semantic ids."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(SENTENCES, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet))
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    fast.add_tokens(["<|im_start|>", "<im_start>", "<S0>", "<S1>", "<S2>", *(f"<I{number}>" for number in range(IDS))])
    fast.chat_template = CHAT
    torch.manual_seed(2)
    config = Qwen2Config(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=fast.eos_token_id,
    )
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():  # ids, and now and then something else
        first = fast.convert_tokens_to_ids("<I0>")
        model.lm_head.weight[:first] *= 0.1
        model.lm_head.weight[first:] *= 20
    folder = tmp_path_factory.mktemp("qwen")
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return str(folder)


def test_captions(t5: str) -> None:
    """Padding is on the left, holds zeros and is not shown; features are the encoder's of the caption alone."""
    encoder = CaptionEncoder(t5)
    features, shown = encoder.features("A red fox", 20)
    tokenizer, model = encoder.loaded
    ids = tokenizer("a red fox", return_tensors="pt")["input_ids"]
    count = ids.shape[1]
    assert tokenizer.eos_token_id == int(ids[0, -1])
    assert shown.tolist() == [False] * (20 - count) + [True] * count
    assert not features[: 20 - count].any()
    with torch.inference_mode():
        expected = model(input_ids=ids)[0][0].float().numpy()
    # Padded there, and in bfloat16, whose unit is 2^-8 of a number: two of them, and as much as numbers near 2 lose.
    np.testing.assert_allclose(features[20 - count :], expected, rtol=2**-7, atol=2**-6)
    longer, all_shown = encoder.features(" ".join(SENTENCES * 9), 20)
    assert all_shown.all()
    assert longer.shape == (20, 32)


def changed_folder(folder: str, to: Path, **changes: Any) -> str:
    """Copy a text model's folder, with changes to its tokenizer's settings; None takes one away."""
    shutil.copytree(folder, to)
    settings = json.loads((to / "tokenizer_config.json").read_text()) | changes
    kept = {name: value for name, value in settings.items() if value is not None}
    (to / "tokenizer_config.json").write_text(json.dumps(kept))
    return str(to)


@pytest.mark.parametrize(
    "changes",
    [{"padding_side": "left"}, {"truncation_side": "left"}, {"pad_token": None}, {"model_max_length": 4}],
    ids=str,
)
def test_features_do_not_depend_on_a_folders_padding(t5: str, tmp_path: Path, changes: dict[str, Any]) -> None:
    """The side where a tokenizer pads or cuts, and whether it can pad at all, change nothing."""
    other = CaptionEncoder(changed_folder(t5, tmp_path / "other", **changes))
    for caption in ("A red fox", " ".join(SENTENCES * 9)):
        for mine, theirs in zip(other.features(caption, 20), CaptionEncoder(t5).features(caption, 20), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_features_are_the_published_ones(t5: str) -> None:
    """Published code pads on the right, masks, and moves the padding to the left."""
    encoder = CaptionEncoder(t5)
    tokenizer, model = encoder.loaded
    for caption in ("a red fox", " ".join(SENTENCES * 9)):
        encoded = tokenizer(caption, max_length=20, padding="max_length", truncation=True, return_tensors="pt")
        with torch.inference_mode():
            hidden = model(**encoded)[0][0].float() * encoded["attention_mask"][0][:, None]
        count = int(encoded["attention_mask"].sum())
        features, shown = encoder.features(caption, 20)
        np.testing.assert_array_equal(features, hidden.roll(20 - count, 0).numpy())
        assert int(shown.sum()) == count
        assert int(encoded["input_ids"][0, count - 1]) == tokenizer.eos_token_id  # also where it was cut off


@pytest.mark.parametrize("name", ["t2i", "c2i", "tar"])
def test_half_characters_are_refused_everywhere(tiny: Callable[..., Any], t5: str, qwen: str, name: str) -> None:
    pipeline = tiny(name, {"t2i": t5, "tar": qwen}.get(name)).pipeline
    for prompt in (json.loads('"a \\ud800 fox"'), "a\0fox", "", " \u200b"):
        with pytest.raises(engines.PromptError) as error:
            pipeline.describe(prompt)
        assert str(error.value).isprintable()
        assert str(error.value).startswith("prompt: ")


def test_folders_of_other_models(t5: str, qwen: str, tmp_path: Path) -> None:
    """A tokenizer without the tokens that the model was trained on would give ids of letters, and is told."""
    without = changed_folder(qwen, tmp_path / "plain", chat_template=None)
    (Path(without) / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(engines.ConditionError, match=r"it cannot be used: .*chat.?template") as error:
        SemanticLanguageModel(without).ids("a fox", 81, 0)
    assert "\n" not in str(error.value)
    shutil.copy(Path(t5) / "tokenizer.json", tmp_path / "plain" / "tokenizer.json")
    with pytest.raises(
        engines.ConditionError, match="expected a tokenizer that knows <im_start>, <S0>, <S1>, <S2>, <I0>"
    ):
        SemanticLanguageModel(without).ids("a fox", 81, 0)
    endless = Path(shutil.copytree(t5, tmp_path / "endless"))
    content = json.loads((endless / "tokenizer.json").read_text())
    (endless / "tokenizer.json").write_text(json.dumps(content | {"post_processor": None}))
    with pytest.raises(engines.ConditionError, match="expected a tokenizer that ends captions with </s>"):
        CaptionEncoder(str(endless)).features("a fox", 20)


def test_captions_are_cleaned() -> None:
    """As in training: twice, so that what one pass uncovers goes, too."""
    assert cleaned("  A RED   Fox <b>jumps</b> over #12345 *** ") == "a red fox jumps over"


def test_semantic_ids(qwen: str) -> None:
    """The same seed gives the same ids, another seed others; what is said beside them is left out."""
    model = SemanticLanguageModel(qwen)
    ids = model.ids("two teapots", 81, 5)
    assert ids.shape == (81,)
    assert ids.dtype == np.int64
    assert 0 <= ids.min() <= ids.max() < IDS
    assert len(set(ids.tolist())) > 5
    assert np.array_equal(ids, model.ids("two teapots", 81, 5))
    assert not np.array_equal(ids, model.ids("two teapots", 81, 6))
    with pytest.raises(engines.ConditionError, match="expected 729, 169, 81 a prompt, got 9"):
        model.ids("two teapots", 9, 5)


def test_the_prompt_that_the_language_model_reads(qwen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tar's chat template, the published system line, and the scale that was asked for."""
    model = SemanticLanguageModel(qwen)
    tokenizer, language_model = model.loaded
    read: list[str] = []
    generate = language_model.generate

    def note(input_ids: torch.Tensor, **settings: Any) -> torch.Tensor:
        read.append(tokenizer.decode(input_ids[0]))
        assert (settings["temperature"], settings["top_p"], settings["top_k"]) == (1.0, 0.95, 1200)
        answer: torch.Tensor = generate(input_ids, **settings)
        return answer

    monkeypatch.setattr(language_model, "generate", note)
    model.ids("two teapots", 169, 0)
    assert read[0].replace(" ", "") == (
        "<|im_start|>system\nYouareahelpfulassistant.<|im_end|>\n<|im_start|>user\ntwoteapots<|im_end|>\n"
        "<|im_start|>assistant\n<im_start><S1>"
    )


def test_a_caption_is_drawn(tiny: Callable[..., Any], t5: str, tmp_path: Path) -> None:
    """From the prompt to the image; another host draws the same from the saved condition, without a text model."""
    made = tiny("t2i", t5)
    described = made.pipeline.describe("two teapots and a bicycle")
    drawn = made.pipeline.generate("two teapots and a bicycle", seed=3)
    conditions.save_condition(described.condition, tmp_path / "c.npz")
    other = tiny("t2i").pipeline
    again = other.generate(other.load_condition(tmp_path / "c.npz"), seed=3)
    assert drawn.tokens.tolist() == again.tokens.tolist()
    assert len(drawn.trace.passes[0].positions) < 120
    with pytest.raises(engines.ConditionError, match="--text-model"):
        other.generate("two teapots", seed=3)
    for prompt, told in (("  ", "it is empty"), ("a" * 5000, "at most 4000 characters")):
        with pytest.raises(engines.PromptError, match=told):
            made.pipeline.generate(prompt)


def test_wrong_text_models(tiny: Callable[..., Any], tmp_path: Path, t5: str) -> None:
    """A folder that holds nothing is told in one line, and so is what other files hold instead of conditions."""
    with pytest.raises(engines.ConditionError, match=r"it cannot be loaded: ") as error:
        tiny("t2i", str(tmp_path)).pipeline.generate("a fox")
    assert "\n" not in str(error.value)
    plan = engines.Plan.model_validate({"objects": [{"shape": "circle", "colour": "red", "x": 1, "y": 1, "size": 0}]})
    with pytest.raises(engines.PlanError, match="expected none for models that take captions"):
        tiny("t2i", t5).pipeline.describe("a fox", plan=plan)
    path, load = tmp_path / "c.npz", tiny("t2i").pipeline.load_condition
    for content, told in (
        (None, "found none"),
        (b"<html>", "expected an npz file of plain arrays"),
        ({"tokens": np.zeros(3)}, "expected the array condition"),
        ({"condition": np.zeros(3)}, "expected two dimensions"),
        ({"condition": np.zeros((120, 32), np.float32), "shown": np.zeros(120, bool)}, "at least one of them true"),
        ({"condition": np.zeros((120, 32), np.float32), "shown": np.ones(120)}, "shown: expected bool"),
        ({"condition": np.array([["a"] * 32] * 120, dtype=object)}, "expected an npz file of plain arrays"),
        ({"ids": np.arange(9)}, "which are for Tar's models"),
    ):
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            np.savez(path, **content)
        with pytest.raises(engines.ConditionError, match=told):
            load(path)


def test_semantic_ids_are_drawn(tiny: Callable[..., Any], tmp_path: Path, qwen: str) -> None:
    np.savez(tmp_path / "ids.npz", ids=np.arange(9))
    pipeline = tiny("tar", qwen).pipeline
    assert pipeline.load_condition(tmp_path / "ids.npz").cond.shape == (9, 24)
    with pytest.raises(engines.ConditionError, match="expected 729, 169, 81 a prompt, got 9"):
        pipeline.describe("a fox")
    with pytest.raises(engines.ConditionError, match="--text-model"):
        tiny("tar").pipeline.describe("a fox")


@pytest.mark.parametrize("missing", ["transformers", "diffusers"])
def test_the_extra_is_asked_for(t5: str, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without transformers or diffusers a prompt is refused in one line that names the extra."""
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(
        engines.ConditionError, match=rf"{missing} is not installed; install the extra `mulo-sd\[text\]`"
    ):
        CaptionEncoder(t5).features("a fox", 20)


@pytest.mark.parametrize(
    "wrong", ["@", "a.png", "***", "http://example.org/a", "😀", "a \ud800", "a \x00 fox", " ", "?!", "-"]
)
def test_captions_of_which_nothing_is_left(tiny: Callable[..., Any], t5: str, wrong: str) -> None:
    """They are refused in one line, when a file is checked as well as when one is drawn."""
    pipeline = tiny("t2i", t5).pipeline
    for refuse in (pipeline.check_prompt, pipeline.describe):
        with pytest.raises(engines.PromptError) as error:
            refuse(wrong)
        assert str(error.value).isprintable()
