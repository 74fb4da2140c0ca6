"""Does a plan run on a machine? One place says so, from the manifest, before anything is loaded."""

from dataclasses import dataclass
from enum import StrEnum

from mulo_sd.engines.backends.host import Host
from mulo_sd.engines.backends.nvidia_driver import Gpu
from mulo_sd.engines.bundle.contract import PLAN_PACKAGES, PLAN_PRODUCTS, PRODUCT_NAMES
from mulo_sd.engines.bundle.entries import ANY, PlanCompatibility, PlanEntry

# TensorRT for RTX builds for GPUs from the first on, and unless it is told otherwise from the second on.
RTX_OLDEST, RTX_DEFAULT_OLDEST = (7, 5), (8, 0)
NO_GPU = "no NVIDIA GPU is at hand"


class Outcome(StrEnum):
    """What a judgement comes to."""

    RUNS = "runs"
    REBUILD = "rebuild"
    INSTALL = "install"
    CANNOT = "cannot"  # neither a build nor a package would help
    UNKNOWN = "unknown"  # nothing speaks against it; only loading it tells


WORDS = {
    Outcome.RUNS: "runs here",
    Outcome.REBUILD: "must be rebuilt",
    Outcome.INSTALL: "must be installed",
    Outcome.CANNOT: "does not run here",
    Outcome.UNKNOWN: "unknown",
}


@dataclass(frozen=True)
class Verdict:
    """A judgement.

    Attributes:
        outcome: What it comes to.
        reason: Why, in words that begin in the middle of a line.
        build_options: Of the build that would help, beside those that say what is built and where.
        install: The command that would help.
    """

    outcome: Outcome
    reason: str
    build_options: tuple[str, ...] = ()
    install: str = ""

    @property
    def refuses(self) -> bool:
        """Whether it is certain that the plan does not run."""
        return self.outcome not in (Outcome.RUNS, Outcome.UNKNOWN)


def judge_plan(plan: PlanEntry, host: Host) -> Verdict:
    """Judge a plan on a machine, from the manifest alone: the plan's file is not read.

    Args:
        plan: The manifest's entry.
        host: The machine, of which the GPUs or a version may be unknown.

    Returns:
        RUNS where everything is known and fits, UNKNOWN where nothing speaks against it.
    """
    product, package = PLAN_PRODUCTS[plan.backend], PLAN_PACKAGES[plan.backend]
    name, told = PRODUCT_NAMES[product], plan.compatibility
    rebuild = _same_again(plan)
    if told is not None and told.product != product:
        other = PRODUCT_NAMES[told.product]
        return Verdict(Outcome.REBUILD, f"it is a plan of {other}, which {name} does not read", rebuild)
    if told is not None and host.platform not in told.platforms:
        there = ", ".join(told.platforms)
        return Verdict(Outcome.REBUILD, f"it was built for {there}, and this is {host.platform}", rebuild)
    installed = host.packages.get(package)
    if installed is None:
        install = f"pip install 'mulo-sd[{plan.backend}]'"
        return Verdict(Outcome.INSTALL, f"the package {package} is not installed", install=install)
    if not _may_be(plan.version, installed):
        reason = f"it was built with {name} {plan.version}, and {installed} reads plans of its own version alone"
        return Verdict(Outcome.REBUILD, reason, rebuild)
    if host.gpus == ():
        return Verdict(Outcome.CANNOT, NO_GPU)
    if told is None:
        reason = "its manifest, of an older build, does not say on which platforms and GPUs it runs"
        return Verdict(Outcome.UNKNOWN, reason, rebuild)
    if host.gpus is not None:
        verdict = _judge_gpu(plan, told, host.gpus[0])
        if verdict.outcome is not Outcome.RUNS:
            return verdict
    if installed != plan.version:
        known = f"only {name} {installed} is known" if installed else f"the version of {package} is not known"
        return Verdict(Outcome.UNKNOWN, f"it was built with {name} {plan.version}, and of this machine {known}")
    if host.gpus is None:
        return Verdict(Outcome.UNKNOWN, f"it runs on GPUs of {_gpus(told)}, and that of this machine is not known")
    return Verdict(Outcome.RUNS, f"{name} {installed}, {host.gpus[0].name}")


def _same_again(plan: PlanEntry) -> tuple[str, ...]:
    """Return the options that build a plan again for the GPUs that it was built for."""
    told = plan.compatibility
    chosen = () if told is None or told.product != "tensorrt-rtx" or told.or_later else told.compute_capabilities
    targets = () if chosen == ANY or plan.backend != "trt-rtx" else chosen
    return ("--backend", plan.backend, *(word for target in targets for word in ("--compute-capability", target)))


def _may_be(version: str, installed: str) -> bool:
    """Whether a version, of which possibly only the first parts are known, may be another one."""
    return not installed or f"{version}.".startswith(f"{installed}.")


def _number(compute_capability: str) -> tuple[int, ...]:
    return tuple(int(part) for part in compute_capability.split("."))


def _gpus(told: PlanCompatibility) -> str:
    """Return the compute capabilities of a plan in words."""
    if told.compute_capabilities == ANY:
        return "any compute capability"
    later = " and later" if told.or_later else ""
    return f"compute capability {', '.join(told.compute_capabilities)}{later}"


def _judge_gpu(plan: PlanEntry, told: PlanCompatibility, gpu: Gpu) -> Verdict:
    """Judge whether a plan runs on a GPU, where all else fits."""
    runs, own = Verdict(Outcome.RUNS, ""), _number(gpu.compute_capability)
    this = f"this {gpu.name} has {gpu.compute_capability}"
    is_rtx = told.product == "tensorrt-rtx"
    if is_rtx and own < RTX_OLDEST:
        oldest = ".".join(map(str, RTX_OLDEST))
        needed = f"{PRODUCT_NAMES[told.product]} needs a GPU of compute capability {oldest} or later"
        return Verdict(Outcome.CANNOT, f"{needed}, and {this}")
    if told.compute_capabilities == ANY:
        return runs
    numbers = [_number(one) for one in told.compute_capabilities]
    rebuild: tuple[str, ...] = ("--backend", plan.backend)
    if own in numbers:
        return runs if is_rtx else _judge_model(told, gpu, rebuild)
    if told.or_later and own > max(numbers):
        return runs
    reason = f"it was built for GPUs of {_gpus(told)}, and {this}"
    if told.or_later and own > min(numbers):  # such as 9.0 between 8.9 and 12.0: nobody promises it or rules it out
        return Verdict(Outcome.UNKNOWN, reason)
    if is_rtx and own < RTX_DEFAULT_OLDEST:
        rebuild = (*rebuild, "--compute-capability", gpu.compute_capability)
    return Verdict(Outcome.REBUILD, reason, rebuild)


def _judge_model(told: PlanCompatibility, gpu: Gpu, rebuild: tuple[str, ...]) -> Verdict:
    """Judge a plan of TensorRT's own on a GPU of the right compute capability: it promises the same model alone."""
    built_on = told.built_on.gpu
    if told.hardware_compatibility in ("same_compute_capability", "ampere_plus") or gpu.name == built_on:
        return Verdict(Outcome.RUNS, "")
    reason = f"it was built on {built_on or 'a GPU that it does not name'}, and TensorRT promises nothing of {gpu.name}"
    return Verdict(Outcome.UNKNOWN, reason, rebuild)
