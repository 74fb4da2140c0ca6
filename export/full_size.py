"""python -m export.full_size --family llamagen --out DIR: random checkpoints of published size and form.

What the real ones need of memory and time can be measured with them where no download is possible. Images are noise.
"""

import errno
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import Tensor

from mulo_sd.engines.bundle.contract import PUBLISHED_FAMILIES, PublishedFamily
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.files.paths import first_existing, user_path
from mulo_sd.engines.files.whole_files import make_folder, write_whole
from mulo_sd.reference.checkpoints.lantern import published_shapes
from mulo_sd.reference.checkpoints.ta_tok import TATokConfig, TATokDecoder
from mulo_sd.reference.checkpoints.vq import VQ_16, VQTokenizer
from mulo_sd.reference.head import HeadConfig
from mulo_sd.reference.transformer import Transformer, TransformerConfig
from mulo_sd.reference.weights import shapes_of

SEED = 20260112
# Not matrices: their entries are as large as the activations.
TABLES = ("embeddings.weight", "embedding.weight", "uncond_embedding", "abs_pe")
# What LANTERN's head of the larger one is called at its hub, where every model's file is pytorch_model.bin.
HEAD_NAME = "llamagen2_drafter.bin"
PREFIXES = {"llamagen": 120, "tar": 729}


def _transformer(family: PublishedFamily, side: int) -> TransformerConfig:
    """LlamaGen's t2i XL, or Tar's AR-DTok LP."""
    if family == "llamagen":
        own: dict[str, Any] = {"condition": "caption", "condition_width": 2048, "zero_prefix_rotation": True}
        own |= {"absolute": False, "layers": 36}
    else:
        own = {"condition": "features", "condition_width": 1152, "rotary": False, "layers": 30}
    return TransformerConfig(
        side, side, vocabulary=16384, heads=20, dim=1280, prefix_length=PREFIXES[family], prefix_vocabulary=1, **own
    )


def random_tensors(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Return tensors whose products keep the size of their input, float32."""
    generator, tensors = torch.Generator().manual_seed(seed), {}
    for name, shape in shapes.items():
        values = torch.empty(shape).uniform_(-1, 1, generator=generator)
        if len(shape) >= 2 and not name.endswith(TABLES):
            values *= (3.0 / values[0].numel()) ** 0.5
        elif len(shape) < 2:
            values = 1 + 0.1 * values if name.endswith("weight") else 0.1 * values
        tensors[name] = values
    return tensors


def _content(family: PublishedFamily, config: TransformerConfig, seed: int) -> dict[str, Any]:
    tensors = random_tensors(shapes_of(lambda: Transformer(config)), seed)
    if family == "llamagen":
        return {"model": tensors}
    tensors["abs_pe"] = tensors["abs_pe"][None, :-1]
    return {"model": {"name": "llama-abs-LP", "args": {"cls_token_num": config.prefix_length}, "sd": tensors}}


def _save(content: dict[str, Any], path: Path) -> None:
    def write(beside: Path) -> None:
        try:
            torch.save(content, beside)
        except RuntimeError as error:  # torch's own writer says so of a disk that is full
            raise OSError(errno.EIO, " ".join(str(error).split())[:120], str(path)) from None

    write_whole(path, write)


@command
def main() -> int:
    """Write the files."""
    parser = command_parser("export.full_size", __doc__)
    parser.add_argument("--family", choices=PUBLISHED_FAMILIES, required=True, help="whose checkpoints")
    parser.add_argument("--out", type=user_path, required=True, help="folder; about 7 GB")
    arguments = parser.parse_args()
    out: Path = arguments.out
    names = {
        "llamagen": {16: "t2i_XL_stage1_256.pt", 32: "t2i_XL_stage2_512.pt"},
        "tar": {16: "ar_dtok_lp_256px.pth", 64: "ar_dtok_lp_1024px.pth"},
    }[arguments.family]
    others = ("vq_ds16_t2i.pt", "ta_tok.pth" if arguments.family == "tar" else HEAD_NAME)
    taken = first_existing(out, (*names.values(), *others))
    if taken is not None:  # the real checkpoints are called so
        print(f"error: {taken}: expected no file of this name yet, found one; give another --out", file=sys.stderr)
        return 2
    try:
        make_folder(out)
        for side, name in track(names.items(), description="transformers"):
            _save(_content(arguments.family, _transformer(arguments.family, side), SEED + side), out / name)
        _save({"model": random_tensors(shapes_of(lambda: VQTokenizer(VQ_16)), SEED)}, out / "vq_ds16_t2i.pt")
        if arguments.family == "llamagen":
            head = HeadConfig.of(_transformer("llamagen", max(names)))
            _save(random_tensors(published_shapes(head), SEED), out / HEAD_NAME)
        else:
            shapes = shapes_of(lambda: TATokDecoder(TATokConfig(), PREFIXES["tar"]))
            model_args = {"bottleneck": {"args": {"regularizer": {"args": {"l2_normalized": True}}}}}
            _save({"model": {"args": model_args, "sd": random_tensors(shapes, SEED)}}, out / "ta_tok.pth")
    except OSError as error:
        print(f"error: {error.filename or out}: cannot write it: {error.strerror or error}", file=sys.stderr)
        return 2
    print(f"wrote {out}: {', '.join(sorted(path.name for path in out.iterdir()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
