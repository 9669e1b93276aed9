"""The vocabulary head that a reward model keeps in training, where its objective also models the text."""

from __future__ import annotations

from torch import nn

from plaudit.errors import ModelError
from plaudit.models.backbone import HeadSpec, load_network, resolve_source
from plaudit.models.reward_model import RewardModel


def keep_language_model(model: RewardModel, source: str | None, *, trust_remote_code: bool = False) -> None:
    """Make ``model`` tell the likelihood of response tokens (``Rewards.log_likelihood``).

    A model whose own head is the vocabulary uses that. Any other gets a vocabulary head beside its reward head: that of
    the causal language model in ``source``, from which it was made; or, made from nothing (``source`` None) or from a
    model that ties them, its own input embeddings. It is trained with the backbone, and under adapters frozen with it.

    Raises:
        ModelError: when the model is an encoder, or ``source`` holds no vocabulary head.
    """
    if model.recipe.read_out == "classifier":
        raise ModelError(
            f"{model.recipe.architecture} predicts no tokens, so its objective can have no language-model loss; set "
            "the coefficient of that loss to 0"
        )
    model.tells_likelihood = True
    if model.recipe.head == "language_model":
        return
    head = None if source is None else _head_of(source, model.recipe.dtype, trust_remote_code=trust_remote_code)
    model.language_head = _tied_head(model) if head is None else head
    weight = next(model.network.parameters())
    model.language_head.to(weight.device)
    if any("lora_" in name for name, _ in model.network.named_parameters()):
        model.language_head.requires_grad_(False)


def is_tied(model: RewardModel) -> bool:
    """Return whether the vocabulary head beside the reward head is the model's own input embeddings."""
    head, embedding = model.language_head, model.core.get_input_embeddings()
    return head is not None and getattr(head, "weight", None) is embedding.weight


def _tied_head(model: RewardModel) -> nn.Linear:
    embedding = model.core.get_input_embeddings()
    assert isinstance(embedding, nn.Embedding)
    head = nn.Linear(embedding.embedding_dim, embedding.num_embeddings, bias=False, device="meta")
    head.weight = embedding.weight
    return head


def _head_of(source: str, dtype: str, *, trust_remote_code: bool) -> nn.Module | None:
    """Return the vocabulary head of the causal language model in ``source``; None where it is its input embeddings."""
    source = resolve_source(source)
    spec = HeadSpec("language_model")
    loaded = load_network(source, dtype=dtype, spec=spec, trust_remote_code=trust_remote_code)
    head, embedding = loaded.network.get_output_embeddings(), loaded.network.get_input_embeddings()
    if isinstance(embedding, nn.Embedding) and getattr(head, "weight", None) is embedding.weight:
        return None
    if loaded.missing or not isinstance(head, nn.Module):
        raise ModelError(
            f"{source} holds no vocabulary head (it lacks {', '.join(loaded.missing[:3])}), but the objective has a "
            "language-model loss; start from the causal language model, or set the coefficient of that loss to 0"
        )
    return head
