"""The page about a training: what was learned from, what each model took, and how well it does."""

from typing import Any

from mulo_sd.engines.files.whole_files import write_text_whole
from mulo_sd.reference.train.card import read_card
from mulo_sd.reference.train.recipe import MAX_DRAFTERS, TOKENIZER, known_models
from mulo_sd.reference.train.training import Training

HEADER = "| model | parameters | steps | images a step | minutes | held-out loss, nats a token | in the last steps |"


def write_page(training: Training) -> bool:
    """Write card.md, from the cards of all models that are there; return whether it says anything new.

    Raises:
        RunError: a card is broken.
    """
    place, material, sizes = training.place, training.material, training.recipe.sizes
    cards = {name: read_card(place.facts(name)) for name in known_models(MAX_DRAFTERS) if place.facts(name).exists()}
    grids = ", ".join(f"{name} {side} x {side}" for name, side in sizes.grids.items())
    lines = [
        f"# {material.name}",
        "",
        f"Draws pictures of {sizes.pixels} x {sizes.pixels} pixels from captions, by MuLo-SD. Tokens: {grids}.",
        "",
        "## Learned from",
        "",
        f"- {material.data}",
        *(f"- {line}" for line in material.counts),
        f"- seed {training.seed}",
        "",
        "## Models",
        "",
        HEADER,
        "|" + "---|" * (HEADER.count("|") - 1),
        *(_row(name, card) for name, card in cards.items()),
        "",
    ]
    if any(card.get("kept") == "last" for card in cards.values()):
        lines += [
            "Drafters and target know these pictures by heart, and draw hardly anything that none of them shows.",
            "",
        ]
    scores = cards.get(TOKENIZER, {}).get("scores")
    if isinstance(scores, dict):
        shown = ", ".join(f"{value:g} dB at {name.split('_')[-1]}" for name, value in scores.items())
        lines += [f"Held-out pictures come back from their tokens with a PSNR of {shown}.", ""]
    machines = dict.fromkeys(str(card.get("machine")) for card in cards.values())
    lines += [
        f"Computed on {'; '.join(machines)}.",
        "",
        "## Limits",
        "",
        "The models know what the captions above speak of, in their words, and nothing else. What they draw may be as "
        "biased, private or protected as the pictures that they learned from. Loss and PSNR say how well pictures that "
        "were held out are told, not how good new ones look: draw some.",
        "",
        "Curves and samples lie in the folders NAME.run, a card of each model in models/NAME.json.",
        "",
    ]
    text = "\n".join(lines)
    if place.card.is_file() and place.card.read_bytes() == text.encode():
        return False
    write_text_whole(place.card, text)
    return True


def _row(name: str, card: dict[str, Any]) -> str:
    final = card.get("final", {})
    shown = ", ".join(f"{key} {value:.3g}" for key, value in final.items() if key not in ("step", "held_out"))
    scores = card.get("scores")
    if isinstance(scores, dict) and name != TOKENIZER:
        shown += "; scores " + ", ".join(f"{key} {value:.3g}" for key, value in scores.items())
    cells = (
        *(name, f"{card.get('parameters', 0) / 1e6:.2f} M", card.get("steps"), card.get("batch") or ""),
        *(f"{card.get('seconds', 0) / 60:.1f}", card.get("held_out_loss", ""), shown),
    )
    return f"| {' | '.join(map(str, cells))} |"
