"""The commands of `mulo-sd`: the module of each, what it is for, and the extra that it needs."""

from typing import NamedTuple


class Command(NamedTuple):
    """A command: the module whose `main` it runs, what it is for, and the extras without which it does not start."""

    module: str
    purpose: str
    extras: str = ""


COMMANDS = {
    "generate": Command("engines.generate", "draw a prompt, or a file of prompts, with a bundle"),
    "serve": Command("engines.serve", "draw over HTTP, for OpenAI's clients, and show decodes on a page", "serve"),
    "check-layout": Command("engines.check_layout", "check a folder of images before a scorer reads it"),
    "check": Command("engines.check", "say whether a bundle runs here, or what must be built or installed first"),
    "triton": Command("export.triton.__main__", "write bundles as a model repository of Triton Inference Server"),
    "build": Command("export.build", "compile models to ONNX graphs and TensorRT plans: a bundle", "export"),
    "full-size": Command(
        "export.full_size", "write random checkpoints of the published sizes, for trials of a build", "export"
    ),
    "conformance": Command(
        "conformance.__main__", "test an engine against the reference, rule by rule", "test,conformance"
    ),
    "mutants": Command(
        "conformance.mutants.__main__", "list which law finds which planted defect; takes minutes", "test,demo"
    ),
    "vectors": Command(
        "conformance.vectors.__main__", "write or check test vectors for other implementations", "test,demo"
    ),
    "bench": Command("conformance.bench.__main__", "measure decodes, pass by pass", "bench,demo"),
    "study": Command("conformance.study.__main__", "measure what each setting does to speed and quality", "bench,demo"),
    "compare": Command(
        "conformance.compare.__main__", "hold every method against the others: passes, seconds, quality", "bench,demo"
    ),
    "calibrate": Command("conformance.calibrate.__main__", "search settings for a bundle and prompts", "conformance"),
    "draw": Command("reference.demo.draw", "draw with the eager specification", "demo"),
    "train": Command("reference.train.__main__", "train models on a folder of captioned pictures", "demo,export"),
}
