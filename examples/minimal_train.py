"""Train a Bradley–Terry reward model in one flat script: no trainer, no config, nothing hidden but the batch.

    python examples/minimal_train.py

It trains a tiny Llama from random weights on the built-in world, on a CPU, in about a minute, and prints the accuracy
on held-out prompts. Everything of plaudit that it uses: groups, a tokenised prefix tree per group, and a batch that
encodes each prompt once. The rest is PyTorch and transformers.
"""

import random
import time

import torch
import torch.nn.functional as F
from transformers import LlamaConfig, LlamaForSequenceClassification

from plaudit import World
from plaudit.batching.batch import build_batch
from plaudit.batching.encode import Encoder, EncodingReport
from plaudit.models.attention.interface import ATTENTION_NAME
from plaudit.models.create import build_tokenizer

SEED, STEPS, GROUPS_PER_STEP, LR = 0, 120, 32, 1e-3

# 1. Data: groups of one prompt and two responses, and which one is preferred.
world = World(seed=SEED)
train = list(world.groups(3000, responses=2, split="train"))
held_out = list(world.groups(300, responses=2, split="held_out"))

# 2. Tokens: every conversation is rendered and tokenised whole; what two responses share is found in the ids.
texts = [text for group in train for text in (*[m.content for m in group.prompt], *group.responses)]
tokenizer = build_tokenizer(texts, vocabulary=800)
encoder = Encoder(
    tokenizer=tokenizer,
    chat_template=tokenizer.chat_template,
    special_tokens=False,
    final_token=None,
    max_length=512,
    truncation="drop",
)
train_tokens = list(encoder.encode(list(enumerate(train)), EncodingReport()))
held_out_tokens = list(encoder.encode(list(enumerate(held_out)), EncodingReport()))

# 3. A model: an ordinary sequence classifier whose attention understands prefix trees.
torch.manual_seed(SEED)
config = LlamaConfig(
    vocab_size=len(tokenizer),
    hidden_size=128,
    intermediate_size=352,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_labels=1,
    pad_token_id=tokenizer.pad_token_id,
    use_cache=False,
)
model = LlamaForSequenceClassification(config)
model.set_attn_implementation(ATTENTION_NAME)
torch.nn.init.normal_(model.score.weight, std=(config.hidden_size + 1) ** -0.5)


def rewards_of(groups):
    """Return one reward per response, and the batch they belong to."""
    batch = build_batch(groups, layout="shared_prefix", pad_id=tokenizer.pad_token_id)
    hidden = model.model(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        use_cache=False,
        plaudit_forest=batch.forest,
    ).last_hidden_state
    return model.score(hidden.flatten(0, 1)[batch.response_end]).squeeze(-1), batch


def accuracy(groups):
    """Return the share of preferences whose chosen response has the higher reward."""
    right = total = 0
    with torch.inference_mode():
        for first in range(0, len(groups), 64):
            rewards, batch = rewards_of(groups[first : first + 64])
            right += int((rewards[batch.pairs.chosen] > rewards[batch.pairs.rejected]).sum())
            total += len(batch.pairs)
    return right / total


# 4. Training: -log sigma(chosen - rejected), averaged over the pairs of a step.
optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LR, total_steps=STEPS, pct_start=0.1)
order, began = random.Random(SEED), time.perf_counter()
for step in range(STEPS):
    rewards, batch = rewards_of(order.sample(train_tokens, GROUPS_PER_STEP))
    loss = -F.logsigmoid(rewards[batch.pairs.chosen] - rewards[batch.pairs.rejected]).mean()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
    if (step + 1) % 20 == 0:
        print(f"step {step + 1:4d}  loss {loss.item():.4f}  {time.perf_counter() - began:.0f} s")

# 5. What it learned.
print(f"accuracy on {len(held_out_tokens)} held-out prompts: {accuracy(held_out_tokens):.3f}")
