"""Does a bundle run here on a backend? All plans and packages judged before anything is loaded, and what would help."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mulo_sd.engines.backends.base import BackendError
from mulo_sd.engines.backends.host import CUDA_LIBRARIES, Host
from mulo_sd.engines.backends.verdicts import NO_GPU, WORDS, Outcome, Verdict, judge_plan
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.bundle.contract import PLAN_PACKAGES
from mulo_sd.engines.bundle.entries import PlanEntry
from mulo_sd.engines.bundle.manifest import MANIFEST_NAME

# The first of a backend's verdicts is the whole's.
GRAVEST = (Outcome.CANNOT, Outcome.INSTALL, Outcome.REBUILD, Outcome.UNKNOWN, Outcome.RUNS)
INSTALL_ORT = "pip install onnxruntime"
# Both packages write into one folder, so the one without CUDA goes, and the other is laid down anew.
INSTALL_ORT_CUDA = (
    "pip install 'onnxruntime-gpu[cuda,cudnn]' && pip uninstall -y onnxruntime && "
    "pip install --force-reinstall --no-deps onnxruntime-gpu"
)
MAX_NAMED = 4

# One more judgement of a plan that may run, by the plan's own file.
SecondOpinion = Callable[[Bundle, PlanEntry], Verdict | None]


@dataclass(frozen=True)
class PlanVerdict:
    """The verdict on one graph's plan."""

    graph: str
    version: str
    verdict: Verdict


@dataclass(frozen=True)
class Readiness:
    """The verdict on a backend, and on each plan that it would load."""

    backend: str
    verdict: Verdict
    plans: tuple[PlanVerdict, ...] = ()


def judge_backend(name: str, bundle: Bundle, host: Host, second_opinion: SecondOpinion | None = None) -> Readiness:
    """Judge whether a bundle runs on a backend.

    Args:
        name: One of the backends' names, or of the form module:factory.
        bundle: Opened, so that its files are whole.
        host: The machine.
        second_opinion: Asked of each plan that need not be built again by the manifest's fields; what it says counts.
    """
    if name in PLAN_PACKAGES:
        return _judge_plans(name, bundle, host, second_opinion)
    judges = {"ort": _judge_ort, "ort-cuda": _judge_ort_cuda, "torch-cuda": _judge_torch}
    if name not in judges:
        return Readiness(name, Verdict(Outcome.UNKNOWN, "it is a backend of your own"))
    missing = None if name == "ort" else _judge_gpu(host)
    return Readiness(name, missing or judges[name](bundle, host))


def unsuited_precision(name: str, precision: str) -> str | None:
    """Return why ONNX Runtime does not run a bundle of some precision, or None where it does."""
    if precision != "bf16":
        return None
    whose = ", which ONNX Runtime's CPU provider cannot run" if name == "ort" else ""
    return f"expected a bundle in fp32 or fp16, got bf16{whose}"


def elsewhere(bundle: Bundle) -> str:
    """Return what to do with a bundle that nothing makes run on the chosen backend."""
    if bundle.manifest.precision == "bf16":
        return "use --backend trt-rtx on a GPU, or build another precision"
    return "use --backend ort"


def _judge_ort(bundle: Bundle, host: Host) -> Verdict:
    installed = host.packages.get("onnxruntime")
    if installed is None:
        return Verdict(Outcome.INSTALL, "the package onnxruntime is not installed", install=INSTALL_ORT)
    unsuited = unsuited_precision("ort", bundle.manifest.precision)
    if unsuited is not None:
        return Verdict(Outcome.CANNOT, unsuited)
    return Verdict(Outcome.RUNS, f"ONNX Runtime {installed}")


def _judge_ort_cuda(bundle: Bundle, host: Host) -> Verdict:
    installed = host.packages.get("onnxruntime")
    if installed is None or host.packages.get(CUDA_LIBRARIES["onnxruntime"]) is None:
        reason = "the ONNX Runtime that is installed has no CUDA provider"
        return Verdict(Outcome.INSTALL, reason, install=INSTALL_ORT_CUDA)
    unsuited = unsuited_precision("ort-cuda", bundle.manifest.precision)
    if unsuited is not None:
        return Verdict(Outcome.CANNOT, unsuited)
    return _needing_a_gpu(host, f"ONNX Runtime {installed}")


def _judge_torch(bundle: Bundle, host: Host) -> Verdict:
    if not bundle.manifest.modules:
        return Verdict(Outcome.REBUILD, "it holds no weights for torch-cuda", ("--backend", "torch-cuda"))
    installed = host.packages.get("torch")
    if installed is None:
        install = "pip install 'mulo-sd[reference]'"
        return Verdict(Outcome.INSTALL, "the package torch is not installed", install=install)
    if host.packages.get(CUDA_LIBRARIES["torch"]) is None:
        install = f"pip install --force-reinstall torch=={installed.partition('+')[0]}"
        return Verdict(Outcome.INSTALL, f"torch {installed} was not built for CUDA", install=install)
    return _needing_a_gpu(host, f"torch {installed}")


def _judge_gpu(host: Host) -> Verdict | None:
    """Judge a machine without a GPU: whatever else is missing would not help; None where there may be one."""
    return Verdict(Outcome.CANNOT, NO_GPU) if host.gpus == () else None


def _needing_a_gpu(host: Host, runtime: str) -> Verdict:
    if not host.gpus:
        return Verdict(Outcome.UNKNOWN, f"{runtime}, and the GPU is not known")
    return Verdict(Outcome.RUNS, f"{runtime}, {host.gpus[0].name}")


def plans_of(name: str, bundle: Bundle) -> dict[str, PlanEntry]:
    """Return the plans that a bundle holds for a backend, by graph."""
    graphs = bundle.manifest.graphs
    return {graph: plan for graph, entry in graphs.items() for plan in entry.plans if plan.backend == name}


def _judge_plans(name: str, bundle: Bundle, host: Host, second_opinion: SecondOpinion | None) -> Readiness:
    judged = []
    for graph, plan in plans_of(name, bundle).items():
        verdict = judge_plan(plan, host)
        if second_opinion is not None and verdict.outcome not in (Outcome.REBUILD, Outcome.INSTALL):
            verdict = second_opinion(bundle, plan) or verdict
        judged.append(PlanVerdict(graph, plan.version, verdict))
    whole = _judge_missing(name, bundle, host)
    if whole is None and "cuda.bindings" not in host.packages and PLAN_PACKAGES[name] in host.packages:
        whole = Verdict(Outcome.INSTALL, "the package cuda-bindings is not installed", install=_extra(name))
    if whole is None:
        whole = min((one.verdict for one in judged), key=lambda one: GRAVEST.index(one.outcome))
    return Readiness(name, whole, tuple(judged))


def _judge_missing(name: str, bundle: Bundle, host: Host) -> Verdict | None:
    """Judge by what is missing, a GPU or a plan of each graph; None where all is there."""
    plans = plans_of(name, bundle)
    missing = sorted(bundle.manifest.graphs.keys() - plans.keys())
    without_gpu = _judge_gpu(host)
    if without_gpu is not None or not missing:
        return without_gpu
    reason = f"it holds no {name} plan of {few(missing)}" if plans else f"it holds no plans for {name}"
    if PLAN_PACKAGES[name] not in host.packages:
        reason += f", and {PLAN_PACKAGES[name]}, which builds them, is not installed"
        return Verdict(Outcome.INSTALL, reason, install=_extra(name))
    return Verdict(Outcome.REBUILD, reason, ("--backend", name))


def _extra(name: str) -> str:
    return f"pip install 'mulo-sd[{name}]'"


def few(names: Sequence[str]) -> str:
    """Return some names in a line, the first of many."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def check_plans(name: str, bundle: Bundle, host: Host) -> None:
    """Check before the first plan is loaded that there is one of each graph, and that none is sure not to run.

    Args:
        name: The backend's.
        bundle: Opened.
        host: The machine.

    Raises:
        BackendError: it is not so; the line is that of the command that checks bundles.
    """
    missing = _judge_missing(name, bundle, host)
    if missing is not None:
        raise BackendError(f"{bundle.path / MANIFEST_NAME}: {told(missing, bundle, host)}")
    for plan in plans_of(name, bundle).values():
        verdict = judge_plan(plan, host)
        if verdict.refuses:
            raise BackendError(f"{bundle.file(plan.file)}: {told(verdict, bundle, host)}")


def command_of(verdict: Verdict, bundle: Bundle, host: Host) -> str:
    """Return the command that would help, or "" where there is none."""
    if not verdict.build_options:
        return verdict.install
    return bundle.rebuild_command(*_options(verdict, bundle, host))


def _options(verdict: Verdict, bundle: Bundle, host: Host) -> tuple[str, ...]:
    """Return a build's options: what the bundle holds for other backends is kept, where it can be built here."""
    held = dict.fromkeys(plan.backend for entry in bundle.manifest.graphs.values() for plan in entry.plans)
    others = [name for name in held if PLAN_PACKAGES[name] in host.packages]
    kept = [*others, "torch-cuda"] if bundle.manifest.modules else others
    beside = [word for name in kept if name not in verdict.build_options for word in ("--backend", name)]
    return (*verdict.build_options, *beside)


def told(verdict: Verdict, bundle: Bundle, host: Host) -> str:
    """Return a verdict in words: what it comes to, why, and what to do."""
    line = f"{WORDS[verdict.outcome]}: {verdict.reason}"
    if verdict.outcome is Outcome.RUNS:
        return line
    if verdict.outcome is Outcome.CANNOT:
        return f"{line}; {elsewhere(bundle)}"
    if verdict.install:
        return f"{line}; install it with `{verdict.install}`"
    if verdict.build_options:
        return f"{line}; {bundle.rebuild(*_options(verdict, bundle, host))}"
    return f"{line}; only loading it tells"
