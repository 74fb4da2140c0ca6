"""What several test folders share: the demo bundle, built once if it is not there, and untrained models."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

# Read by numpy's OpenBLAS when it is loaded, here and in the processes that tests start. Idle threads spin: where
# several test processes share the cores, each takes ten times as long.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch
from torch import Tensor, nn

from mulo_sd.conformance.tools.serving.served import Served, bundle_argument
from mulo_sd.engines.commands.demo_bundle import build_demo_bundle, bundle_path, demo_bundle_path
from mulo_sd.processes import environment
from mulo_sd.reference.models import Models
from mulo_sd.reference.tokenizer import Tokenizer, TokenizerConfig
from mulo_sd.reference.transformer import Transformer, TransformerConfig
from tests.captioned_bundle import CaptionedBundle, make_captioned_bundle
from tests.in_process import InProcess

# Processes that tests start find the packages of this tree in any folder, installed or not.
os.environ["PYTHONPATH"] = environment()["PYTHONPATH"]
# As in the reference (SWEEP-6): passes do not depend on what a busy machine measures.
os.environ["MULO_SD_SWEEP_WIDTH"] = "1"
# One token a pass keeps one core busy; threads of several test processes would only wait for each other.
torch.set_num_threads(1)
# A shell's background jobs ignore Ctrl-C, and so would the commands that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

PRESETS = Path(__file__).resolve().parent / "presets"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that build the presets first, where they are among the chosen ones.

    Each of their files keeps one process of pytest-xdist busy; without them both processes would soon wait for the
    same bundle.
    """
    items.sort(key=lambda item: PRESETS not in item.path.parents)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> InProcess:
    """What runs commands in this process."""
    return InProcess(monkeypatch, capsys)


@pytest.fixture(scope="session")
def demo_bundle() -> Path:
    """The float32 demo bundle's folder."""
    path = demo_bundle_path("fp32")
    if not path.exists():
        build_demo_bundle(path, "fp32")
    return path.resolve()


@pytest.fixture(scope="session")
def minimal_bundle() -> Path:
    """The float32 bundle of small random models, which draws an image of 16 x 16 pixels in a twentieth of a second."""
    path = bundle_path("minimal", "fp32")
    if not path.exists():
        build_demo_bundle(path, "fp32", models="minimal")
    return path.resolve()


@pytest.fixture(scope="session")
def captioned_bundle(tmp_path_factory: pytest.TempPathFactory) -> CaptionedBundle:
    """A training of captioned pictures, and its bundle."""
    folder = tmp_path_factory.getbasetemp()
    # The processes of pytest-xdist have folders of their own in one of the run.
    return make_captioned_bundle((folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "captioned")


@pytest.fixture(scope="session")
def service(minimal_bundle: Path) -> Iterator[Served]:
    """A service that draws with the minimal bundle, as model minimal."""
    with Served(*bundle_argument("minimal", minimal_bundle), "--size", "2", "--threads", "1") as served:
        yield served


@pytest.fixture(scope="session")
def toy_models() -> Iterator[Models]:
    """Untrained models of three small grids: 8 x 4, 4 x 2 and 2 x 1 cells, 16 codes, prefixes of two tokens.

    A test that changed them would fail others, in some orders only; so they are compared with new ones at the end.
    """
    made = make_toy_models()
    yield made
    for module, expected in zip(modules_of(made), modules_of(make_toy_models()), strict=True):
        found = module.state_dict()
        changed = [name for name, value in expected.state_dict().items() if not same(found[name], value)]
        assert not changed, f"a test changed the models that all tests share, take a copy there: {changed}"


def modules_of(models: Models) -> list[nn.Module]:
    return [models.target, *models.drafters, models.tokenizer]


def same(found: Tensor, expected: Tensor) -> bool:
    return found.dtype == expected.dtype and torch.equal(found, expected)


def make_toy_models() -> Models:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        transformers = []
        for height, width in ((8, 4), (4, 2), (2, 1)):
            config = TransformerConfig(
                height, width, vocabulary=16, layers=1, heads=2, dim=16, prefix_length=2, prefix_vocabulary=7
            )
            transformers.append(Transformer(config).eval())
            with torch.no_grad():
                transformers[-1].output.weight.normal_(0, 0.6)  # likely and unlikely codes
        sizes = TokenizerConfig(16, code_dim=4, width=8, encoder_blocks=1, decoder_blocks=1, factor=2)
        return Models(transformers[0], tuple(transformers[1:]), Tokenizer(sizes).eval())
