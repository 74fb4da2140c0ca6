"""All probes, stage by stage."""

from mulo_sd.conformance.engines.probes import (
    arithmetic_laws,
    bias_laws,
    decision_laws,
    edge_laws,
    memory_laws,
    noise_laws,
    output_laws,
    width_laws,
)
from mulo_sd.conformance.engines.probes.probe import Probe

PARALLEL = frozenset({"parallel"})

PROBES: tuple[Probe, ...] = (
    Probe("condition", ("PREFILL", "GRID-2"), memory_laws.conditions_are_read_whole),
    Probe("logits", ("CONF-1",), bias_laws.logits_are_not_off_to_one_side),
    Probe("logits", ("GRID-2",), output_laws.last_scores_outlive_the_next_pass),
    Probe("logits", ("CONF-6",), width_laws.widths_agree),
    Probe("distribution", ("DIST-1", "RNG-1", "POOL-1", "LOCAL-3"), arithmetic_laws.samplers_compute_in_float32),
    Probe("distribution", ("DIST-1", "DIST-2", "POOL-1", "LOCAL-3"), arithmetic_laws.scores_compute_in_float32),
    Probe("distribution", ("DIST-1",), edge_laws.edges_are_decided_by_the_rules),
    Probe("sampled tokens", ("RNG-1",), edge_laws.equal_scores_draw_the_lower_code),
    Probe("sampled tokens", ("RNG-1", "RNG-2"), noise_laws.the_loop_feeds_its_noise),
    Probe("sampled tokens", ("RNG-1",), noise_laws.rare_noise_decides),
    Probe("sampled tokens", ("RNG-1", "RNG-2"), noise_laws.seeds_and_streams_are_told_apart),
    Probe("sampled tokens", ("ANCHOR-1",), noise_laws.anchors_are_cosines_of_any_strength),
    Probe("up- and down-sampling", ("SCALE-1", "SCALE-2"), output_laws.scaled_grids_are_right_as_a_whole),
    Probe("pooled probabilities and kept mask", ("POOL-1", "LOCAL-3"), edge_laws.certain_codes_pool_to_one),
    Probe("pooled probabilities and kept mask", ("ACCEPT-1",), decision_laws.tau_is_met_exactly, PARALLEL),
    Probe("expansion", ("LOCAL-3",), decision_laws.entropies_buy_whole_cells, PARALLEL),
    Probe("image", ("CONF-2",), output_laws.images_are_right_for_any_tokens),
    Probe("runs", ("CONF-5", "KV-1"), memory_laws.backends_and_caches_are_apart),
    Probe("runs", ("CONF-5",), memory_laws.requests_leave_nothing_behind),
    Probe("runs", ("CONF-5",), memory_laws.cancelled_decodes_leave_nothing_behind),
)
