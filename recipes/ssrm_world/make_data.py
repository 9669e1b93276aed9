"""Write the data of this recipe, from the built-in world.

    python recipes/ssrm_world/make_data.py runs/ssrm_world/data --seed 0

200 labelled and 2,000 unlabelled prompts with four responses each, and 600 held-out prompts with two. The labels follow
the gold reward without noise. The unlabelled groups carry preferences too: `plaudit ssrm` only measures with them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from plaudit.data.reading.write import write_groups
from plaudit.worlds.world import World

LABELLED, UNLABELLED, HELD_OUT = 200, 2000, 600


def write_data(
    folder: Path, *, seed: int, labelled: int = LABELLED, unlabelled: int = UNLABELLED, held_out: int = HELD_OUT
) -> None:
    """Write ``labelled.jsonl``, ``unlabelled.jsonl`` and ``held_out.jsonl`` to ``folder``; all prompts differ."""
    world = World(seed=seed, temperature=0.0)
    groups = list(world.groups(labelled + unlabelled, responses=4, split="train"))
    write_groups(folder / "labelled.jsonl", groups[:labelled])
    write_groups(folder / "unlabelled.jsonl", groups[labelled:])
    write_groups(folder / "held_out.jsonl", world.groups(held_out, responses=2, split="held_out"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write_data(options.folder, seed=options.seed)
