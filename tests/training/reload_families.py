"""Run by the tests in a process of its own: the rewards of saved models, by plaudit and by transformers alone.

    python reload_families.py DATA FAMILIES

DATA is a file of groups, FAMILIES a JSON file of {name: {"folder", "class", "read"}}. Prints {name: {"plaudit": …,
"transformers": …}}: per response the reward (or one per attribute), or the rewards of its steps.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers

import plaudit

torch.set_num_threads(1)


def by_plaudit(folder: str, data: str, read: str) -> list[Any]:
    """Return what plaudit says of each response."""
    found: list[Any] = []
    for each in plaudit.load(folder).score_groups(plaudit.read_groups(data)):
        if read == "attributes":
            found.extend(zip(*each.attributes.values(), strict=True))
        elif read in ("end", "response"):
            found.extend(each.rewards)
        else:
            found.extend(each.steps or ())
    return found


@torch.inference_mode()
def by_transformers(folder: str, data: str, family: dict[str, Any]) -> list[Any]:
    """Return what the class of transformers says of each response, its texts rendered by its own chat template."""
    model = getattr(transformers, family["class"]).from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    recipe = json.loads((Path(folder) / "plaudit.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in Path(data).read_text(encoding="utf-8").splitlines()]
    return [
        _read(model, tokenizer, recipe, family["read"], row, k) for row in rows for k in range(len(row["responses"]))
    ]


def _read(model: Any, tokenizer: Any, recipe: dict[str, Any], read: str, row: dict[str, Any], k: int) -> Any:
    response, steps = row["responses"][k], [step["end"] for step in row["steps"][k]]
    turns = [*row["prompt"], {"role": "assistant", "content": response}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    logits, encoded = _logits(model, tokenizer, text)
    if read == "response":
        return logits[0, 0].item()
    if read == "attributes":
        # the saved head is standardised; the recipe says how its outputs become ratings
        affine = zip(logits[0].tolist(), recipe["attribute_scales"], recipe["attribute_locations"], strict=True)
        return [scale * output + location for output, scale, location in affine]
    if read == "end":
        words = logits[0, -1, recipe["class_tokens"]] if recipe["class_tokens"] else logits[0, -1]
        return recipe["gain"] * words[-1].item() + recipe["bias"]
    if read == "steps":
        ends = [encoded.char_to_token(text.index(response) + end - 1) for end in steps]
        return [_right(logits[0, end], recipe) for end in ends]
    cuts = [0, *steps] if read == "turns" else [0, len(response)]
    texts = [response[first:last].strip() for first, last in itertools.pairwise(cuts)]
    found = []
    for count in range(1, len(texts) + 1):
        said = [{"role": "user", "content": f"{row['prompt'][-1]['content']} {texts[0]}"}]
        for each in texts[1:count]:
            said += [{"role": "assistant", "content": "+"}, {"role": "user", "content": each}]
        prompt = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
        found.append(_right(_logits(model, tokenizer, prompt)[0][0, -1], recipe))
    return found


def _logits(model: Any, tokenizer: Any, text: str) -> tuple[torch.Tensor, Any]:
    encoded = tokenizer(text, add_special_tokens=False, return_tensors="pt")
    return model(input_ids=encoded["input_ids"]).logits.double(), encoded


def _right(logits: torch.Tensor, recipe: dict[str, Any]) -> float:
    classes = logits[recipe["class_tokens"]] if recipe["class_tokens"] else logits
    return torch.softmax(classes, dim=-1)[1:].sum().item()


if __name__ == "__main__":
    data_file, families = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    print(
        json.dumps(
            {
                name: {
                    "plaudit": by_plaudit(family["folder"], data_file, family["read"]),
                    "transformers": by_transformers(family["folder"], data_file, family),
                }
                for name, family in families.items()
            }
        )
    )
