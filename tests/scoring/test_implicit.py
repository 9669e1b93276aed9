"""Implicit rewards equal a slow computation from transformers' own logits, and add up over steps."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForSequenceClassification

from plaudit.data.schema.group import Group, Step, conversation
from plaudit.errors import CheckpointError, ConfigError, ModelError, UnknownNameError
from plaudit.models import backbone
from plaudit.models.checkpoint.files import load_language_model, save_reward_model
from plaudit.models.heads import language_model
from plaudit.models.heads.language_model import LanguageModelHead
from plaudit.scoring.implicit import ImplicitRewardScorer
from plaudit.scoring.local import chunks as parts
from plaudit.scoring.local import engine

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

LM = LanguageModelHead()
LAYOUTS = ["shared_prefix", "packed", "padded"]


@pytest.fixture(scope="module")
def folders(make_decoder, tmp_path_factory):
    """Plain causal language models in folders, with weights large enough for probabilities far from even."""
    made = {}
    for name, seed in (("policy", 1), ("reference", 2)):
        folder = tmp_path_factory.mktemp(name)
        model = make_decoder(seed=seed, head=LM, init_std=0.2)
        model.core.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
        made[name] = str(folder)
    return made


@pytest.fixture
def make_scorer(folders):
    def make(layout="shared_prefix", reference=True, **options):
        policy, _ = load_language_model(folders["policy"], layout=layout)
        other = load_language_model(folders["reference"], layout=layout)[0] if reference else None
        return ImplicitRewardScorer(policy, other, **options)

    return make


@functools.cache
def loaded(folder):
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def slow_log_likelihoods(folder, group, response):
    """Return the log-probability of each token from the first of the response on, one sequence at a time."""
    model, tokenizer = loaded(folder)
    turns = [{"role": turn.role, "content": turn.content} for turn in group.prompt]
    before = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
    turns.append({"role": "assistant", "content": response})
    ids = tokenizer.apply_chat_template(turns, return_dict=True)["input_ids"]
    assert ids[: len(before)] == before
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].double()
    logs = torch.log_softmax(logits, dim=-1)
    return ids[len(before) :], [float(logs[t - 1, ids[t]]) for t in range(len(before), len(ids))]


def slow_rewards(folders, group, beta=0.1):
    found = []
    for response in group.responses:
        _, policy = slow_log_likelihoods(folders["policy"], group, response)
        _, reference = slow_log_likelihoods(folders["reference"], group, response)
        found.append(beta * (math.fsum(policy) - math.fsum(reference)))
    return found


def rewards_of(scorer, groups):
    return [each.rewards for each in scorer.score_groups(groups)]


# ------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("max_tokens", [1, 61, 4096])
def test_rewards_equal_those_of_one_sequence_at_a_time(folders, make_scorer, make_groups, layout, max_tokens):
    groups = make_groups(4)
    wanted = [slow_rewards(folders, group) for group in groups]
    assert max(abs(value) for each in wanted for value in each) > 0.5
    found = rewards_of(make_scorer(layout, max_tokens=max_tokens), groups)
    for a, b in zip(found, wanted, strict=True):
        assert a == pytest.approx(b, abs=1e-5)


def test_the_tokens_that_count_begin_with_the_response_and_end_with_the_turn(folders, make_scorer, make_groups):
    (group,) = make_groups(1)
    ids, logs = slow_log_likelihoods(folders["policy"], group, group.responses[0])
    assert loaded(folders["policy"])[1].decode(ids) == group.responses[0] + "<|end|>"
    found = make_scorer(reference=False, beta=1.0).score(group.prompt, group.responses[:1])[0]
    assert found == pytest.approx(math.fsum(logs), abs=1e-5)
    # without the end token, or with a token of the prompt, it would be another number
    assert abs(logs[-1]) > 1e-2


def test_beta_scales_the_rewards_and_the_mean_divides_them_by_the_tokens(folders, make_scorer, make_groups):
    groups = make_groups(3)
    base = rewards_of(make_scorer(), groups)
    scaled = rewards_of(make_scorer(beta=0.7), groups)
    mean = rewards_of(make_scorer(per_token="mean"), groups)
    for group, one, other, divided in zip(groups, base, scaled, mean, strict=True):
        assert other == pytest.approx([7 * value for value in one], rel=1e-9)
        counts = [len(slow_log_likelihoods(folders["policy"], group, text)[0]) for text in group.responses]
        assert divided == pytest.approx([value / count for value, count in zip(one, counts, strict=True)], rel=1e-9)


def test_a_policy_that_is_its_own_reference_gives_every_response_and_step_zero(folders, make_groups):
    policy, _ = load_language_model(folders["policy"])
    scorer = ImplicitRewardScorer(policy, policy)
    for each in scorer.score_groups(make_groups(4)):
        assert set(each.rewards) == {0.0}
        assert each.steps is not None
        assert {value for steps in each.steps for value in steps or ()} == {0.0}


def test_a_token_that_responses_share_is_worked_out_once(make_scorer, make_groups, monkeypatch):
    rows = []
    inner = language_model.token_log_likelihood
    monkeypatch.setattr(language_model, "token_log_likelihood", lambda *a: rows.append(len(a[3])) or inner(*a))
    text = "the red cat sees one small tree and the blue dog sleeps near the house because"
    group = Group(conversation("hi"), (f"{text} red", f"{text} blue", f"{text} red"), id="0")
    scorer = make_scorer(reference=False)
    (each,) = scorer.score_groups([group])
    separate = [scorer.score(group.prompt, [response])[0] for response in group.responses]
    assert each.rewards == pytest.approx(separate, abs=1e-5)
    alone = rows[1]
    # two tails of a few tokens beside one shared beginning, not three whole responses
    assert rows[0] <= alone + 6 < 2 * alone


# -------------------------------------------------------------------------------------------- steps


def slow_steps(folders, group, response, ends, beta=0.1):
    """Return the sums over the tokens whose text ends at or before each end, and past the one before; the rest last."""
    _, tokenizer = loaded(folders["policy"])
    ids, policy = slow_log_likelihoods(folders["policy"], group, response)
    _, reference = slow_log_likelihoods(folders["reference"], group, response)
    stops = [len(tokenizer.decode(ids[: k + 1])) for k in range(len(ids))]
    sums, start = [], 0
    for end in ends:
        taken = [k for k, stop in enumerate(stops) if start < stop <= end]
        sums.append(beta * math.fsum(policy[k] - reference[k] for k in taken))
        start = end
    return sums


def test_steps_are_partial_sums_and_together_the_reward(folders, make_scorer):
    response = "the red cat\nsees one tree\n\nand sleeps"
    group = Group(conversation("why"), (response, "one step only"), id="0")
    for layout in LAYOUTS:
        (found,) = make_scorer(layout).score_groups([group])
        assert found.steps is not None
        assert [len(steps or ()) for steps in found.steps] == [3, 1]
        for reward, steps in zip(found.rewards, found.steps, strict=True):
            assert math.fsum(steps) == pytest.approx(reward, abs=1e-9)
        # a separator belongs to the step that it opens; the end of the turn to the last step
        ends = [len("the red cat"), len("the red cat\nsees one tree"), len(response) + len("<|end|>")]
        assert found.steps[0] == pytest.approx(slow_steps(folders, group, response, ends), abs=1e-5)


def test_steps_of_the_data_come_before_those_of_the_separator_and_text_behind_the_last_belongs_to_none(
    folders, make_scorer
):
    response = "the red cat sees\none tree and the dog"
    ends = (len("the red"), len("the red cat sees"))
    steps = tuple(Step(end, None) for end in ends)
    group = Group(conversation("why"), (response, response), steps=(steps, None), id="0")
    (found,) = make_scorer().score_groups([group])
    assert found.steps is not None
    assert found.steps[0] == pytest.approx(slow_steps(folders, group, response, ends), abs=1e-5)
    assert len(found.steps[1] or ()) == 2
    assert found.rewards[0] == pytest.approx(found.rewards[1], abs=1e-9)
    assert math.fsum(found.steps[1] or ()) == pytest.approx(found.rewards[1], abs=1e-9)
    assert abs(math.fsum(found.steps[0] or ()) - found.rewards[0]) > 1e-3


def test_the_mean_per_token_keeps_the_sum_over_steps(make_scorer):
    group = Group(conversation("why"), ("the red cat\nsees one tree",), id="0")
    (found,) = make_scorer(per_token="mean").score_groups([group])
    assert found.steps is not None
    assert math.fsum(found.steps[0] or ()) == pytest.approx(found.rewards[0], abs=1e-12)


# ------------------------------------------------------------------------- order, what is left out


def test_groups_come_in_order_and_nothing_is_read_further_ahead_than_a_window(make_scorer, make_groups, monkeypatch):
    monkeypatch.setattr(engine, "WINDOW", 3)
    groups, read = make_groups(8), []

    def stream():
        for group in groups:
            read.append(group.id)
            yield group

    iterator = make_scorer().score_groups(stream())
    assert read == []
    found = [next(iterator)]
    assert len(read) == 3
    found.extend(iterator)
    assert [each.id for each in found] == [group.id for group in groups]
    whole = rewards_of(make_scorer(), groups)
    for each, wanted in zip(found, whole, strict=True):
        assert each.rewards == pytest.approx(wanted, abs=1e-5)


def test_one_pass_per_model_and_batch_for_all_responses(make_scorer, make_groups, monkeypatch):
    built, passes = [], []
    original = parts.build_batch
    monkeypatch.setattr(parts, "build_batch", lambda *a, **k: built.append(1) or original(*a, **k))
    scorer = make_scorer()
    for name in ("policy", "reference"):
        scorer_model = getattr(scorer, name)
        scorer_model.core.model.register_forward_hook(lambda *_, name=name: passes.append(name))
    list(scorer.score_groups(make_groups(5, responses=(4, 4))))
    assert len(built) == 1
    assert sorted(passes) == ["policy", "reference"]


def test_a_response_that_is_too_long_gets_none_and_the_reason_and_the_others_their_rewards(make_scorer):
    scorer = make_scorer()
    group = Group(conversation("hi"), ("cat " * 300, "no"), id="long")
    (found,) = scorer.score_groups([group])
    assert found.rewards == (None, pytest.approx(scorer.score("hi", ["no"])[0], abs=1e-5))
    assert found.steps is not None
    assert found.steps[0] is None
    assert found.reason == "responses alone longer than max_length"
    with pytest.warns(UserWarning, match="responses alone longer than max_length"):
        assert scorer.score("hi", ["cat " * 300])[0] is None


def test_the_shorter_of_two_limits_holds_for_both_models(folders):
    policy, _ = load_language_model(folders["policy"])
    reference, _ = load_language_model(folders["reference"])
    reference.recipe = reference.recipe.model_copy(update={"max_length": 12})
    (found,) = ImplicitRewardScorer(policy, reference).score_groups(
        [Group(conversation("hi"), ("cat dog " * 10, "no"), id="0")]
    )
    assert found.rewards[0] is None
    assert found.rewards[1] is not None


def test_models_of_different_layouts_meet_in_the_padded_one(folders, make_scorer, make_groups):
    policy, _ = load_language_model(folders["policy"], layout="shared_prefix")
    reference, _ = load_language_model(folders["reference"], layout="padded")
    scorer = ImplicitRewardScorer(policy, reference)
    assert (policy.layout, reference.layout) == ("padded", "padded")
    groups = make_groups(2)
    for a, b in zip(rewards_of(scorer, groups), rewards_of(make_scorer(), groups), strict=True):
        assert a == pytest.approx(b, abs=1e-5)


# ------------------------------------------------------------------------------------ what is refused


def test_different_tokenizers_are_refused(folders, make_decoder, tmp_path):
    policy, _ = load_language_model(folders["policy"])
    model = make_decoder(seed=2, head=LM)
    model.tokenizer.add_tokens(["<one more>"])
    model.core.resize_token_embeddings(len(model.tokenizer))
    model.core.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    reference, _ = load_language_model(str(tmp_path))
    with pytest.raises(ModelError, match=r"have different tokenizers: one has 383 entries, the other 384"):
        ImplicitRewardScorer(policy, reference)


def test_another_chat_template_of_the_reference_changes_nothing(folders, make_scorer, make_groups):
    policy, _ = load_language_model(folders["policy"])
    reference, _ = load_language_model(folders["reference"], chat_template="plain")
    groups = make_groups(2)
    assert rewards_of(ImplicitRewardScorer(policy, reference), groups) == rewards_of(make_scorer(), groups)


def test_settings_that_make_no_reward_are_refused(folders):
    policy, _ = load_language_model(folders["policy"])
    for beta in (0.0, -1.0, math.inf):
        with pytest.raises(ConfigError, match="beta is"):
            ImplicitRewardScorer(policy, None, beta=beta)
    with pytest.raises(UnknownNameError, match="unknown per_token 'means'; did you mean 'mean'"):
        ImplicitRewardScorer(policy, None, per_token="means")
    with pytest.raises(ConfigError, match="max_tokens is 0"):
        ImplicitRewardScorer(policy, None, max_tokens=0)


def test_a_reward_model_is_no_language_model(make_decoder, tmp_path):
    save_reward_model(make_decoder(), tmp_path / "model")
    with pytest.raises(ModelError, match="not a head of kind scalar"):
        ImplicitRewardScorer(make_decoder(), None)
    with pytest.raises(CheckpointError, match="saved as LlamaForSequenceClassification, which is no causal"):
        load_language_model(str(tmp_path / "model"))


def test_a_language_model_without_its_head_or_its_template_is_refused(folders, make_decoder, tmp_path):
    model = make_decoder(head=LM)
    config = model.core.config
    config.architectures = ["LlamaForCausalLM"]
    LlamaForSequenceClassification(config).save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace("LlamaForSequenceClassification", "LlamaForCausalLM"))
    with pytest.raises(CheckpointError, match=r"lacks lm_head\.weight: these weights would be random"):
        load_language_model(str(tmp_path))
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="has no chat template"):
        load_language_model(str(tmp_path))
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="holds an adapter; merge it"):
        load_language_model(str(tmp_path))


def test_a_tokenizer_without_a_pad_token_gets_none_so_no_probability_moves(folders, make_groups, tmp_path, monkeypatch):
    # the tests' tokenizer knows the pad token that a reward model would be given; a new one would grow the vocabulary
    monkeypatch.setattr(backbone, "PAD_TOKEN", "<|one more|>")
    model, tokenizer = (each.from_pretrained(folders["policy"]) for each in (AutoModelForCausalLM, AutoTokenizer))
    tokenizer.pad_token = tokenizer.eos_token
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    bare, _ = load_language_model(str(tmp_path))
    assert len(bare.tokenizer) == len(tokenizer)
    assert bare.core.lm_head.weight.shape[0] == model.lm_head.weight.shape[0]
    whole, _ = load_language_model(folders["policy"])
    groups = make_groups(2)
    for layout in LAYOUTS:
        for each in (bare, whole):
            each.use_layout(layout)
        found, wanted = (rewards_of(ImplicitRewardScorer(each, None), groups) for each in (bare, whole))
        for a, b in zip(found, wanted, strict=True):
            assert a == pytest.approx(b, abs=1e-5)


def test_scorers_are_told_apart_by_settings_and_weights(folders):
    policy, _ = load_language_model(folders["policy"])
    reference, _ = load_language_model(folders["reference"])
    pair = ImplicitRewardScorer(policy, reference)
    settings = [
        pair,
        ImplicitRewardScorer(policy, None),
        ImplicitRewardScorer(policy, reference, beta=0.2),
        ImplicitRewardScorer(policy, reference, per_token="mean"),
        ImplicitRewardScorer(policy, reference, step_separator="\n\n"),
    ]
    assert len({each.info.recipe_hash for each in settings}) == len(settings)
    turned = ImplicitRewardScorer(reference, policy)
    assert (
        turned.info.weights_hash != pair.info.weights_hash == ImplicitRewardScorer(policy, reference).info.weights_hash
    )
