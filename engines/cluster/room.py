"""Whether a cluster has room for the processes that are asked for."""

from collections.abc import Mapping

from mulo_sd.engines.numbers import SettingsError


def check_room(option: str, count: int, each: float, resource: str, resources: Mapping[str, float]) -> None:
    """Check that a cluster to which no machine will come has room for processes.

    Args:
        option: How many of them there are to be.
        count: Its value.
        each: CPUs or GPUs of each.
        resource: "CPU" or "GPU".
        resources: Of the cluster, as Ray tells them.

    Raises:
        SettingsError: it has not.
    """
    has, of_each = resources.get(resource, 0.0), f"{resource.lower()}s-each"
    if each > has:
        raise SettingsError(f"{of_each}: expected at most the {has:g} {resource}s of this machine, got {each:g}")
    if each * count > has:
        raise SettingsError(
            f"{option}: expected at most {int(has / each)}, since each takes {each:g} of {has:g} {resource}s, got "
            f"{count}; give fewer, or a smaller --{of_each}"
        )
