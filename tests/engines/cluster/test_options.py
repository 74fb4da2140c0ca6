"""The options of a service on a cluster, without Ray."""

from typing import Any

import pytest

from mulo_sd.engines.cluster.options import CLUSTER_ONLY, ClusterOptions
from mulo_sd.engines.http.options import ServeOptions
from mulo_sd.engines.ingress.arguments import options_from_texts
from mulo_sd.engines.ingress.options import make_options
from mulo_sd.engines.numbers import SettingsError
from tests.in_process import InProcess


def options(**content: Any) -> ClusterOptions:
    return make_options(content, ClusterOptions)


def test_an_ingress_has_its_share_of_all_places() -> None:
    assert options(size=4, replicas=3).limits.places == 12
    assert options(size=4, replicas=1, max_replicas=5, ingresses=2).limits.places == 10
    assert options(size=1, replicas=1, ingresses=4).limits.places == 1


def test_images_have_urls_where_one_ingress_keeps_them() -> None:
    assert options().limits.urls
    assert not options(ingresses=2).limits.urls


def test_threads_are_the_cpus_of_a_replica() -> None:
    assert options().threads_each == 1
    assert options(cpus_each=3.5).threads_each == 3
    assert options(cpus_each=0.0).threads_each == 1
    assert options(cpus_each=8, threads=2).threads_each == 2


def test_replicas_are_fixed_or_follow_the_load() -> None:
    assert options(replicas=3).scale() == {"num_replicas": 3}
    assert options(replicas=3, max_replicas=3).scale() == {"num_replicas": 3}
    scale = options(replicas=1, max_replicas=9, size=8).scale()
    assert scale["num_replicas"] == "auto"
    config = scale["autoscaling_config"]
    assert (config["min_replicas"], config["max_replicas"], config["target_ongoing_requests"]) == (1, 9, 8)


def test_whole_numbers_stand_for_seconds_and_shares() -> None:
    made = options(**{"deadline": 60, "gpus-each": 1})
    assert (made.deadline, made.gpus_each) == (60.0, 1.0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"replicas": 2, "max_replicas": 1}, "max-replicas: expected at least 2, as --replicas says, got 1"),
        ({"cpus_each": float("nan")}, "cpus-each: expected"),
        ({"gpus_each": -1}, "gpus-each: expected greater than or equal to 0, got -1"),
        ({"ray_address": "a b"}, "ray-address: expected"),
        ({"app_name": "a/b"}, "app-name: expected"),
        ({"replica": 2}, "replica: expected one of "),
        ({"ingresses": 65}, "ingresses: expected less than or equal to 64, got 65"),
    ],
)
def test_bad_ones_are_told(content: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        options(**content)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_command_line_of_others_gives_texts() -> None:
    texts = {"bundles": "a=one,b=two", "replicas": "3", "cpus-each": "0.5", "log_format": "text"}
    made = options_from_texts(texts, ClusterOptions)
    assert made.bundles == {"a": "one", "b": "two"}
    assert (made.replicas, made.cpus_each, made.log_format) == (3, 0.5, "text")
    for name, text, message in (
        ("replicas", "many", "replicas: expected a number, got 'many'"),
        ("bundles", "one", "bundle: expected NAME=DIR"),
        ("cpus_each", "nan", "cpus-each: expected"),
        ("other", "1", "other: expected one of"),
    ):
        with pytest.raises(SettingsError) as caught:
            options_from_texts({name: text}, ClusterOptions)
        assert message in str(caught.value)


def test_every_one_of_a_cluster_needs_ray(in_process: InProcess) -> None:
    assert {*CLUSTER_ONLY} == ClusterOptions.model_fields.keys() - ServeOptions.model_fields.keys()
    for name in CLUSTER_ONLY:
        option = name.replace("_", "-")
        done = in_process.run("mulo_sd.engines.serve", f"--{option}", "1")
        assert (done.returncode, done.stderr) == (2, f"error: {option}: expected --ray beside it, got none\n")
