"""The file of a captions' tokenizer comes from outside: byte-level BPE with our ids is read, and nothing else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers, pre_tokenizers, processors

from mulo_sd.engines.prompts.caption_file import MAX_CAPTIONS_BYTES, CaptionsFileError, load_caption_ids
from mulo_sd.engines.prompts.caption_ids import CaptionIds
from mulo_sd.reference.trained.caption_tokenizer import train_caption_tokenizer
from tests.trained_models import CAPTIONS, IDS, captions

Content = dict[str, Any]


def content() -> Content:
    """Return a whole file's content, to break."""
    parsed: Content = json.loads(captions().tokenizer.to_str())
    return parsed


def written(folder: Path, changed: object) -> Path:
    path = folder / "captions.json"
    path.write_text(json.dumps(changed))
    return path


def test_what_a_training_writes_is_read(tmp_path: Path) -> None:
    captions().save(tmp_path / "captions.json")
    read = load_caption_ids(tmp_path / "captions.json", 6, IDS)
    for caption in (*CAPTIONS, "Ünknown <padding> \t words \x9f", "x" * 4000, "﷽" * 4000):
        assert np.array_equal(read.condition(caption), captions().condition(caption))


def test_parts_that_are_known(tmp_path: Path) -> None:
    """Other orders of them make other ids, and are read as they are."""
    tokenizer = train_caption_tokenizer(CAPTIONS, IDS)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(), pre_tokenizers.ByteLevel()])
    tokenizer.post_processor = processors.ByteLevel()
    ids = CaptionIds(tokenizer, 6)
    ids.save(tmp_path / "captions.json")
    assert load_caption_ids(tmp_path / "captions.json", 6, IDS).ids("Ein Füchslein 12") == ids.ids("Ein Füchslein 12")


def grow(text: str) -> Content:
    """Return a normaliser that doubles a text so often that no memory holds it."""
    return {
        "type": "Sequence",
        "normalizers": [{"type": "Replace", "pattern": {"String": text}, "content": 2 * text}] * 16,
    }


def vocabulary(changed: Content, change: Callable[[dict[str, Any]], object]) -> None:
    change(changed["model"]["vocab"])


WRONG: list[tuple[Callable[[Content], object], str]] = [
    (lambda c: c.update(padding={"strategy": {"Fixed": 10**9}, "direction": "Right"}), "padding: expected none"),
    (lambda c: c.update(truncation={"max_length": 1, "strategy": "LongestFirst", "stride": 0}), "truncation: "),
    (lambda c: c.update(normalizer=grow("a")), "normalizer: expected some of "),
    (
        lambda c: c.update(normalizer={"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}),
        "got 'Replace'",
    ),
    (lambda c: c.update(normalizer={"type": "Prepend", "prepend": "a"}), "got 'Prepend'"),
    (lambda c: c.update(normalizer={"type": "Sequence", "normalizers": [{"type": "NFC"}] * 99}), "1 to 16 parts"),
    (lambda c: c.update(normalizer={"type": "Sequence", "normalizers": [grow("a")]}), "got 'Sequence'"),
    (lambda c: c.update(normalizer=[1]), "got 'None'"),
    (lambda c: c.update(pre_tokenizer=None), "pre_tokenizer: expected ByteLevel"),
    (lambda c: c.update(pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+)+$"}}), "got 'Split'"),
    (lambda c: c.update(post_processor={"type": "TemplateProcessing"}), "post_processor: expected ByteLevel or none"),
    (lambda c: c.update(decoder={"type": "WordPiece"}), "decoder: expected ByteLevel or none"),
    (lambda c: c.update(model=None), "model: expected an object"),
    (lambda c: c["model"].update(type="Unigram"), "model: expected BPE, got 'Unigram'"),
    (lambda c: c["model"].update(dropout=0.5), "model.dropout: expected none"),
    (lambda c: c["model"].update(unk_token="<none>"), "model.unk_token: expected none"),
    (lambda c: c["model"].update(vocab=[]), "vocab: expected an object"),
    (lambda c: vocabulary(c, lambda v: v.update(beyond=len(v))), f"at most the {IDS} ids that the models know, got"),
    (lambda c: vocabulary(c, lambda v: v.update({"!": 2**31})), "expected each id from 0 on once"),
    (lambda c: vocabulary(c, lambda v: v.update({"!": -1})), "expected each id from 0 on once"),
    (lambda c: vocabulary(c, lambda v: v.update({"!": True})), "expected each id from 0 on once"),
    (lambda c: vocabulary(c, lambda v: v.update({"<none>": v["!"], "!": 0})), "as ids 0 to 2, and no others"),
    (lambda c: vocabulary(c, lambda v: v.update({"no byte": v.pop("!")})), "expected every byte, missing 1 of them"),
    (lambda c: c.update(added_tokens=[]), "expected <none>, <null>, <padding> as ids 0 to 2"),
    (lambda c: c.update(added_tokens=None), "expected <none>, <null>, <padding> as ids 0 to 2"),
    (lambda c: c["added_tokens"].append(c["added_tokens"][0] | {"id": 3, "content": "!"}), "and no others"),
    (lambda c: c["added_tokens"][0].update(special=False), "added_tokens: expected special ones"),
    (lambda c: c["model"]["merges"].append(["no", "such"]), "expected byte-level BPE as JSON"),
]


@pytest.mark.parametrize(("change", "told"), WRONG, ids=[told for _, told in WRONG])
def test_what_is_not_read(change: Callable[[Content], object], told: str, tmp_path: Path) -> None:
    changed = content()
    change(changed)
    with pytest.raises(CaptionsFileError, match=r"^[^\n]*$") as caught:
        load_caption_ids(written(tmp_path, changed), 6, IDS)
    assert told in str(caught.value)
    assert str(tmp_path / "captions.json") in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "nothing", "[]", "[" * 100_000, '{"model": 1, "model": 2}', '{"model": NaN}', "\xff"]
)
def test_no_json_of_the_library(text: str, tmp_path: Path) -> None:
    (tmp_path / "captions.json").write_text(text, encoding="latin-1")
    with pytest.raises(CaptionsFileError, match=r"captions\.json: [^\n]*expected "):
        load_caption_ids(tmp_path / "captions.json", 6, IDS)


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "captions.json").open("wb") as file:
        file.truncate(MAX_CAPTIONS_BYTES + 1)
    with pytest.raises(CaptionsFileError, match=f"expected at most {MAX_CAPTIONS_BYTES} bytes"):
        load_caption_ids(tmp_path / "captions.json", 6, IDS)
    with pytest.raises(CaptionsFileError, match="found none"):
        load_caption_ids(tmp_path / "nothing.json", 6, IDS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**40) | st.text(max_size=4), lambda inner: st.lists(inner, max_size=3)
)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_change_is_read_or_refused(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A part that is something else ends in a line, or in a tokenizer whose ids the models know."""
    changed = content()
    places = [(changed, name) for name in changed] + [(changed["model"], name) for name in changed["model"]]
    places += [(changed[name], key) for name in ("normalizer", "pre_tokenizer", "decoder") for key in changed[name]]
    place, name = data.draw(st.sampled_from(places))
    place[name] = data.draw(JSON)
    try:
        read = load_caption_ids(written(tmp_path_factory.mktemp("any"), changed), 6, IDS)
    except CaptionsFileError:
        return
    condition = read.condition("a red fox, <null> and ünknown words")
    assert condition.shape == (6, 1)
    assert 2 <= condition.min() <= condition.max() < IDS
