"""Score two responses to one prompt with a reward model.

    python examples/score_two_responses.py runs/quickstart/run

The argument is a run of plaudit, a model directory, or the hub id of any sequence-classification reward model.
"""

import sys

import plaudit
from plaudit import World


def main() -> None:
    model = plaudit.load(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart/run")

    # A prompt of the built-in world, and two plans for it: one mostly right, one mostly wrong.
    world = World(seed=1)
    prompt = world.prompts(1, split="held_out")[0]
    good = world.sample_responses(prompt, 1, quality=0.95, seed=2)[0]
    bad = world.sample_responses(prompt, 1, quality=0.05, seed=3)[0]

    first, second = model.score(prompt, [good, bad])
    print(f"reward of the good plan: {first:+.2f}")
    print(f"reward of the bad plan:  {second:+.2f}")
    print(f"the {'good' if first > second else 'bad'} plan wins by {abs(first - second):.2f}")


if __name__ == "__main__":
    main()
