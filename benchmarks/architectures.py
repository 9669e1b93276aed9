"""The architectures of the installed transformers: exact layouts, classes that hold a reward head, or the reason.

For every decoder and encoder that a tiny random config can be made of, a base model is saved, a reward model is made on
it, saved and loaded again, and the rewards of its layouts are compared with those of each conversation alone. Each
architecture runs in a process of its own, on one thread, within a limit of time and memory.

    python benchmarks/architectures.py --out benchmarks/results/architectures.json   # all
    python benchmarks/architectures.py llama opt                                      # some; prints them
    python benchmarks/architectures.py llama opt --out …                              # some, put in the place of theirs
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
from machine import describe
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from plaudit.batching.batch import build_batch
from plaudit.batching.prefix_tree import build_prefix_tree
from plaudit.batching.tokens import TokenGroup
from plaudit.errors import PlauditError
from plaudit.models.checkpoint.files import load_reward_model, save_reward_model
from plaudit.models.create import build_tokenizer, new_reward_model
from plaudit.models.heads.head import ScalarHead
from plaudit.models.heads.language_model import LanguageModelHead
from plaudit.models.parity import choose_layout, prove_layout

SECONDS = 120
GIGABYTES = 6
# Sizes of a tiny config, by the names that configs have for them.
SIZES: dict[str, Any] = {
    "hidden_size": 32, "d_model": 32, "n_embd": 32, "embed_dim": 32, "dim": 32, "word_embed_proj_dim": 32,
    "emb_dim": 32, "hidden_dim": 32, "model_dim": 32, "n_embed": 32, "embedding_size": 32, "d_embed": 32,
    "intermediate_size": 48, "ffn_dim": 48, "n_inner": 48, "d_inner": 48, "ffn_hidden_size": 48, "dim_ff": 48,
    "decoder_ffn_dim": 48, "encoder_ffn_dim": 48, "mlp_hidden_size": 48, "feed_forward_size": 48,
    "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16, "moe_shared_expert_intermediate_size": 16,
    "intermediate_size_mlp": 48, "shared_intermediate_size": 16, "expert_ffn_hidden_size": 16,
    "num_hidden_layers": 2, "n_layer": 2, "n_layers": 2, "num_layers": 2, "decoder_layers": 2, "encoder_layers": 2,
    "depth": 2, "num_decoder_layers": 2, "num_encoder_layers": 2,
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4, "decoder_attention_heads": 4,
    "encoder_attention_heads": 4, "attention_heads": 4,
    "num_key_value_heads": 2, "num_kv_heads": 2, "multi_query_group_num": 2,
    "head_dim": 8, "d_kv": 8, "attention_head_size": 8, "global_head_dim": 8, "kv_channels": 8,
    "num_global_key_value_heads": 2, "swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": 8,
    "vocab_size": 512, "vocab_size_per_layer_input": 512, "max_position_embeddings": 512, "n_positions": 512,
    "max_seq_len": 512, "n_ctx": 512, "rotary_dim": 4, "rotary_ndims": 8,
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "qk_head_dim": 16, "index_n_heads": 2, "index_head_dim": 16, "o_lora_rank": 16,
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "moe_num_experts": 4,
    "num_experts_per_tok": 2, "moe_topk": 2, "top_k_experts": 2, "moe_top_k": 2, "moe_k": 2, "experts_per_token": 2,
    "num_experts_per_token": 2,
    "n_shared_experts": 1, "num_shared_experts": 1, "moe_num_shared_experts": 1, "n_group": 1, "topk_group": 1,
    "num_expert_group": 1,
    "first_k_dense_replace": 1, "first_k_dense": 1, "num_dense_layers": 1,
    "hidden_size_per_layer_input": 8, "num_kv_shared_layers": 0, "laurel_rank": 8,
    "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_num_heads": 4, "mamba_head_dim": 16, "mamba_d_ssm": 64,
    "mamba_d_state": 8, "mamba_n_groups": 1, "ssm_state_size": 8, "state_size": 8, "time_step_rank": 4,
    "mamba_expand": 2, "n_groups": 1, "chunk_size": 16, "mamba_chunk_size": 16,
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "lru_width": 32, "attention_window_size": 64, "sliding_window": 16, "sliding_window_size": 16,
    "local_attention": 16, "attention_window": [16, 16], "attention_hidden_size": 32, "image_size": 16,
    "patch_size": 8, "audio_config": None, "projection_dim": 32, "out_hidden_size": 32, "output_dim": 32,
    "conv_kernel_size": 3, "num_feature_levels": 1, "encoder_num_hidden_layers": 2,
}  # fmt: skip
# Sizes that some configs leave open by default, and that their models need.
UNSAID = {"head_dim": 8, "num_experts_per_tok": 2, "num_key_value_heads": 2, "vocab_size": 512}
# Types whose config takes no BOS of None, and parts of the names of those whose rotary embedding is in three sections.
NEEDS_BOS = ("cwm", "emu3", "emu3_text_model", "mllama", "mllama_text_model", "modernbert-decoder")
IN_SECTIONS = ("vl", "glm4v", "glm46v", "glm_ocr", "glmga")

TEXTS = ("What is two and two?", "It is four.", "Name a colour.", "Blue, I would say, or green.", "No idea.") * 20


def tiny_config(model_type: str) -> Any:
    """Return a config of that type with every size that has a known name made small."""
    kind = CONFIG_MAPPING[model_type]
    whole = kind()
    return _shrunk(whole)


def _shrunk(config: Any) -> Any:
    fields = config.to_dict()
    layers = 4 if len(set(fields.get("layer_types") or ())) > 1 else 2
    wanted: dict[str, Any] = {}
    for name, value in fields.items():
        sub = config.__dict__.get(name)
        if isinstance(sub, transformers.PreTrainedConfig):
            wanted[name] = _shrunk(sub)
        elif name in SIZES and value is not None and isinstance(SIZES[name], type(value)):
            wanted[name] = SIZES[name]
        elif name in ("layer_types", "mlp_layer_types", "layers_block_type", "block_types") and isinstance(value, list):
            kinds = list(dict.fromkeys(value))
            wanted[name] = [kinds[place % len(kinds)] for place in range(layers)]
        elif isinstance(value, list) and len(value) == fields.get("num_hidden_layers") and len(value) > 2:
            wanted[name] = value[:layers]
    for name in ("num_hidden_layers", "n_layer", "n_layers", "num_layers"):
        if name in wanted:
            wanted[name] = layers
    if "kv_lora_rank" in wanted and "num_key_value_heads" in wanted:
        wanted["num_key_value_heads"] = wanted["num_attention_heads"]
    wanted |= {name: size for name, size in UNSAID.items() if name in fields and fields[name] is None}
    wanted |= {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2 if config.model_type in NEEDS_BOS else None}
    rope = fields.get("rope_parameters") or {}
    if "mrope_section" in rope or any(part in config.model_type for part in IN_SECTIONS):
        wanted["rope_parameters"] = rope | {"mrope_section": [1, 1, 2]}
    kept = {name: value for name, value in fields.items() if name in PASSED and name not in wanted}
    return type(config)(**wanted, **kept)


PASSED = ("use_sliding_window", "is_decoder")


def groups() -> list[TokenGroup]:
    """Return three groups of random tokens: a shared prompt, a branch below it, responses of one and many tokens."""
    generator = torch.Generator().manual_seed(3)

    def draw(count: int) -> Any:
        return torch.randint(10, 250, (count,), generator=generator).int().numpy()

    import numpy as np

    found = []
    for number, (prompt, counts) in enumerate(((37, (9, 21, 4)), (11, (3, 60)), (70, (1, 8, 8)))):
        trunk, branch = draw(prompt), draw(5)
        sequences = [np.concatenate([trunk, branch, draw(count)]) for count in counts[:-1]]
        sequences.append(np.concatenate([trunk, draw(counts[-1])]))
        tree = build_prefix_tree(sequences, min_saving=1)
        found.append(TokenGroup(number, tree, np.full(len(sequences), prompt, dtype=np.int32)))
    return found


def alone(group: TokenGroup) -> list[TokenGroup]:
    """Return each conversation of a group as a group of its own."""
    return [
        TokenGroup(0, build_prefix_tree([group.tree.sequence(k)]), group.response_start[k : k + 1])
        for k in range(group.num_responses)
    ]


@torch.no_grad()
def rewards(model: Any, batches: list[list[TokenGroup]], layout: str) -> torch.Tensor:
    """Return the rewards of the groups, in batches of that layout."""
    model.use_layout(layout)
    found = []
    for batch in batches:
        built = build_batch(batch, layout=layout, pad_id=model.recipe.pad_token)
        outputs = model(built)
        found.append(outputs.response if outputs.response is not None else outputs.attributes[:, 0])
    return torch.cat(found).double()


def deviations(model: Any) -> dict[str, Any]:
    """Return, per layout, the largest deviation from each conversation alone, or the reason that refuses it."""
    three = groups()
    wanted = rewards(model, [[one] for group in three for one in alone(group)], "padded")
    spread = float(wanted.std())
    found: dict[str, Any] = {"spread": spread}
    for layout in ("padded", "packed", "shared_prefix"):
        try:
            found[layout] = float((rewards(model, [three], layout) - wanted).abs().max()) / spread
        except Exception as error:
            found[layout] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]
        if layout != "padded":
            proof = prove_layout(model, layout)
            found[f"{layout} proof"] = "exact" if proof.exact else proof.reason
    found["auto"] = choose_layout(model, "auto").layout
    return found


def save_base(model_type: str, folder: Path) -> str:
    """Write a random base model of that type and a tokenizer; return the name of its class."""
    config = tiny_config(model_type)
    is_causal = model_type in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    torch.manual_seed(0)
    network = (transformers.AutoModelForCausalLM if is_causal else transformers.AutoModel).from_config(config)
    for weight in network.parameters():
        if weight.ndim > 1 and weight.is_floating_point():
            torch.nn.init.normal_(weight, std=0.15)
    for module in network.modules():
        if isinstance(module, torch.nn.Embedding) and module.padding_idx is not None:
            module.weight.data[module.padding_idx] = 0.0
    network.save_pretrained(folder)
    build_tokenizer(TEXTS, vocabulary=300).save_pretrained(folder)
    return type(network).__name__


def study(model_type: str) -> dict[str, Any]:
    """Return what there is to say of a model type."""
    found: dict[str, Any] = {"type": model_type}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        try:
            found["base"] = save_base(model_type, folder / "base")
        except Exception as error:
            return found | {"not made": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
        for key, head in (
            ("sequence", ScalarHead()),
            ("language_model", LanguageModelHead(class_words=("<|user|>",))),
        ):
            if key == "language_model" and model_type not in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
                continue
            found[key] = one_head(folder, key, head)
    return found


def one_head(folder: Path, key: str, head: Any) -> dict[str, Any]:
    """Return the class, the deviations and whether a saved model gives its rewards again, for one head."""
    try:
        model = new_reward_model(str(folder / "base"), seed=0, head=head).eval()
    except PlauditError as error:
        return {"refused": str(error).replace(str(folder), "")[:300]}
    except Exception as error:
        return {"crashed": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
    found: dict[str, Any] = {"class": type(model.core).__name__, "read_out": model.recipe.read_out}
    try:
        found |= deviations(model)
        before = rewards(model, [groups()], "padded")
        save_reward_model(model, folder / key)
        again, _ = load_reward_model(str(folder / key))
        found["reloaded"] = float((rewards(again, [groups()], "padded") - before).abs().max()) / found["spread"]
    except PlauditError as error:
        found["refused"] = str(error).replace(str(folder), "")[:300]
    except Exception as error:
        found["crashed"] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    return found


def _child(model_type: str, path: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (GIGABYTES << 30, GIGABYTES << 30))
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    null = os.open(os.devnull, os.O_WRONLY)
    if not os.environ.get("SHOW"):
        os.dup2(null, 1)
        os.dup2(null, 2)
    Path(path).write_text(json.dumps(study(model_type)))


def in_process(model_type: str) -> dict[str, Any]:
    """Return the study of a model type, made in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "found.json"
        process = multiprocessing.get_context("fork").Process(target=_child, args=(model_type, str(path)))
        process.start()
        process.join(SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
            return {"type": model_type, "not made": f"not done within {SECONDS} s"}
        if not path.exists():
            return {"type": model_type, "not made": f"ended with code {process.exitcode} (over {GIGABYTES} GB?)"}
        return json.loads(path.read_text())


def model_types() -> list[str]:
    """Return the model types that are read as decoders or encoders of text."""
    names = (
        modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.keys()
        | (modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES.keys())
        | modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.keys()
    )
    return sorted(names & set(CONFIG_MAPPING.keys()))


def main() -> None:
    """Study the model types on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("types", nargs="*")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    kept: dict[str, Any] = {}
    if chosen.types and chosen.out and chosen.out.exists():
        kept = {each["type"]: each for each in json.loads(chosen.out.read_text())["architectures"]}
    classes = sorted(name for name in dir(transformers) if "For" in name or name.endswith(("LMHeadModel", "Decoder")))
    for name in chosen.types or model_types():
        each = in_process(name)
        found.append(each)
        print(json.dumps(each), flush=True)
        if chosen.out:
            kept[name] = each
            rows = [kept[each] for each in sorted(kept)]
            result = {"machine": describe(), "classes": classes, "architectures": rows}
            chosen.out.write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
