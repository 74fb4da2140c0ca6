"""Training of the captions' tokenizer."""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from mulo_sd.engines.prompts.caption_ids import SPECIAL


def train_caption_tokenizer(captions: Iterable[str], vocabulary: int) -> Tokenizer:
    """Train byte-level BPE on captions; letters' case does not count.

    Args:
        captions: All of them.
        vocabulary: Ids at most; the special ones and 256 bytes are always there.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    return tokenizer
