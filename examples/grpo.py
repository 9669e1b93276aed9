"""Train a policy with GRPO on the rewards of a reward model; needs TRL: ``pip install 'plaudit[rl]'``.

    python examples/grpo.py Qwen/Qwen3-0.6B runs/quickstart/run

The first argument is the policy, the second any MODEL of plaudit: a run, a folder, a hub id, ``http://…``,
``module:function`` or an ensemble of these.
"""

import sys

import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

import plaudit


def main(policy: str, reward_model: str, steps: int = 100) -> GRPOTrainer:
    """Return the trainer after ``steps`` steps."""
    prompts = plaudit.World(seed=3).prompts(256, split="train")
    data = Dataset.from_list(
        [{"prompt": [{"role": turn.role, "content": turn.content} for turn in prompt]} for prompt in prompts]
    )
    on_gpu = torch.cuda.is_available()
    trainer = GRPOTrainer(
        model=policy,
        reward_funcs=plaudit.reward_function(reward_model),
        args=GRPOConfig(
            output_dir="runs/grpo",
            per_device_train_batch_size=8,
            num_generations=4,
            max_completion_length=64,
            max_steps=steps,
            logging_steps=1,
            report_to="none",
            bf16=on_gpu,
            use_cpu=not on_gpu,
        ),
        train_dataset=data,
    )
    trainer.train()
    return trainer


if __name__ == "__main__":
    main(*sys.argv[1:3])
