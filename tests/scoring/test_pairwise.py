"""A model that compares responses as a scorer: symmetric, the same in every layout, honest about what it left out."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from plaudit.batching.comparison import PAIR_TOO_LONG, RESPONSE_TAG, comparison_text
from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.errors import CheckpointError, ConfigError, DataError, InvalidGroupError, ModelError
from plaudit.evaluation.run import evaluate
from plaudit.models.checkpoint.doctor import diagnose
from plaudit.models.checkpoint.files import load_reward_model, save_reward_model
from plaudit.models.create import add_lora, merge_lora
from plaudit.models.heads.language_model import COMPARISON
from plaudit.models.parity import choose_layout
from plaudit.opening import load, open_scorer
from plaudit.scoring.files import score_file
from plaudit.scoring.local import chunks, pairwise
from plaudit.scoring.local.engine import WINDOW, RewardScorer
from plaudit.scoring.local.pairwise import NOTHING_TO_COMPARE, PairwiseScorer, _Compared
from plaudit.statistics.position_bias import pairs_in_both_orders

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def make_model(make_decoder):
    def make(layout="shared_prefix", **changes):
        # weights large enough for answers that are far from one half
        model = make_decoder(**({"head": COMPARISON, "init_std": 0.2, "max_length": 256} | changes))
        choose_layout(model, layout)
        return model

    return make


@pytest.fixture(scope="module")
def scorer(make_model):
    def make(layout="shared_prefix", *, model=(), **options):
        return PairwiseScorer(make_model(layout, **dict(model)), **options)

    return make


class Planted(PairwiseScorer):
    """A scorer whose model is a function of (first, second) to log-odds that the first one is better."""

    answers = None
    asked = 0

    def _compared(self, groups, pairs):
        found = [_Compared.of(len(group.responses)) for group in groups]
        for group, wanted, each in zip(groups, pairs, found, strict=True):
            for i, j in wanted:
                each.log_odds[i, j] = self.answers(group.responses[i], group.responses[j])
                each.log_odds[j, i] = self.answers(group.responses[j], group.responses[i])
                self.asked += 2
            self.position_bias.add(pairs_in_both_orders(each.log_odds))
        return found


@pytest.fixture(scope="module")
def planted(make_model):
    model = make_model(num_layers=1)

    def make(answers, **options):
        made = Planted(model, **options)
        made.answers = answers
        return made

    return make


def group_of(*responses, prompt="red cat"):
    return Group(conversation(prompt), responses, id="g")


def all_rewards(scorer, groups):
    return [each.rewards for each in scorer.score_groups(groups)]


def close(found, wanted, tolerance=2e-6):
    assert [len(each) for each in found] == [len(each) for each in wanted]
    for a, b in zip(found, wanted, strict=True):
        assert a == pytest.approx(b, abs=tolerance)


def sigma(value):
    return 1 / (1 + math.exp(-value))


# --------------------------------------------------------------------------------------------- symmetry


def test_the_probabilities_of_both_sides_add_up_to_one_exactly(scorer):
    made = scorer()
    texts = ["one", "two three", "the house runs", " one", "cat dog blue green"]
    for first, second in itertools.permutations(texts, 2):
        p, q = made.probability("red cat", first, second), made.probability("red cat", second, first)
        assert p + q == 1.0
    assert abs(made.probability("red cat", "one", "two three") - 0.5) > 1e-3


def test_both_sides_of_a_pair_are_worked_out_from_the_same_batch(scorer, monkeypatch):
    """Else the rounding of another order of the batch would break the sum of exactly 1."""
    batches = []
    original = chunks.build_batch

    def noted(*arguments, **options):
        batches.append(original(*arguments, **options).input_ids.tolist())
        return original(*arguments, **options)

    monkeypatch.setattr(chunks, "build_batch", noted)
    made = scorer()
    made.probability("red cat", "one", "two three")
    made.probability("red cat", "two three", "one")
    assert batches[0] == batches[1]


def test_equal_responses_are_even_without_asking(scorer):
    made = scorer()
    assert made.probability("red cat", "one", "one") == 0.5
    assert all_rewards(made, [group_of("one", "one", "one")]) == [(0.5, 0.5, 0.5)]
    assert (made.position_bias.pairs, made.report.kept) == (0, 0)


def test_the_probability_is_that_of_plain_transformers_in_both_orders(scorer, tmp_path):
    made = scorer()
    save_reward_model(made.model, tmp_path / "model")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    letters = [tokenizer.convert_tokens_to_ids(letter) for letter in "AB"]

    def first_is_better(first, second):
        turn = {"role": "user", "content": comparison_text(conversation("red cat"), first, second)}
        ids = tokenizer.apply_chat_template([turn], add_generation_prompt=True, return_tensors="pt", return_dict=True)[
            "input_ids"
        ]
        with torch.no_grad():
            logits = theirs(input_ids=ids).logits[0, -1]
        return float(torch.softmax(logits[letters], dim=0)[0])

    wanted = (first_is_better("one", "two three") + 1 - first_is_better("two three", "one")) / 2
    assert made.probability("red cat", "one", "two three") == pytest.approx(wanted, abs=1e-6)
    again = load(tmp_path / "model")
    assert isinstance(again, PairwiseScorer)
    assert again.probability("red cat", "one", "two three") == pytest.approx(wanted, abs=1e-6)


def test_a_model_that_always_says_a_is_biased_and_says_nothing(planted):
    made = planted(lambda first, second: 2.0)
    assert all_rewards(made, [group_of("a", "b", "c")]) == [(0.5, 0.5, 0.5)]
    assert sum(first for first, *_ in made.position_bias.sums) / made.position_bias.pairs == pytest.approx(sigma(2))
    assert sum(decides for _, decides, _ in made.position_bias.sums) == 3


# --------------------------------------------------------------------------------------- rules of a group


def test_all_pairs_gives_mean_probabilities_against_the_others(planted):
    table = {("a", "b"): 2.0, ("b", "a"): -1.0, ("a", "c"): 0.5, ("c", "a"): 0.0, ("b", "c"): 1.0, ("c", "b"): 1.0}
    made = planted(lambda first, second: table[first, second])
    ab = (sigma(2) + 1 - sigma(-1)) / 2
    ac = (sigma(0.5) + 0.5) / 2
    (found,) = all_rewards(made, [group_of("a", "b", "c")])
    assert found == pytest.approx(((ab + ac) / 2, (1 - ab + 0.5) / 2, (1 - ac + 0.5) / 2))
    assert made.asked == 6
    (probabilities,) = made.probabilities([group_of("a", "b", "c")])
    assert probabilities[0].tolist() == pytest.approx([0.5, ab, ac])
    assert (probabilities + probabilities.T == 1.0).all()


def test_equal_responses_are_compared_once_and_have_one_reward(planted):
    made = planted(lambda first, second: 1.0 if first < second else -1.0)
    (found,) = all_rewards(made, [group_of("a", "b", "a")])
    assert found == pytest.approx(((sigma(1) + 0.5) / 2, sigma(-1), (sigma(1) + 0.5) / 2))
    assert made.asked == 2


STRENGTH = {"aa": 0.3, "b": -1.0, "cccc": 2.0, "ddd": 0.0, "eeeee": -0.4}


def transitive(first, second):
    return STRENGTH[first] - STRENGTH[second]


def test_linear_and_all_pairs_agree_where_log_odds_add_up(planted):
    group = group_of(*STRENGTH)
    linear, full = planted(transitive, mode="linear"), planted(transitive)
    (found,), (wanted,) = linear.score_groups([group]), full.score_groups([group])
    assert found.rewards == pytest.approx(wanted.rewards, abs=1e-12)
    assert found.strengths == pytest.approx(wanted.strengths, abs=1e-12)
    assert (linear.asked, full.asked) == (2 * 4, 5 * 4)
    for numbers in (found.rewards, found.strengths):
        assert np.argsort(numbers).tolist() == np.argsort(list(STRENGTH.values())).tolist()
    tables = [next(made.probabilities([group])) for made in (linear, full)]
    assert tables[0] == pytest.approx(tables[1], abs=1e-12)


def test_the_anchor_is_the_response_of_median_length_in_whatever_order_they_stand(planted):
    met = set()

    def noted(first, second):
        met.update({frozenset((first, second))})
        return transitive(first, second)

    made = planted(noted, mode="linear")
    rewards = set()
    for texts in itertools.permutations(STRENGTH):
        (found,) = all_rewards(made, [group_of(*texts)])
        rewards.add(tuple(round(reward, 12) for _, reward in sorted(zip(texts, found, strict=True))))
    assert all("ddd" in pair for pair in met)
    assert len(rewards) == 1


def test_a_cycle_is_even_for_all_pairs_and_is_not_seen_by_one_anchor(planted):
    cycle = {("a", "b"), ("b", "c"), ("c", "a")}

    def answers(first, second):
        return 2.0 if (first, second) in cycle else -2.0

    assert all_rewards(planted(answers), [group_of("a", "b", "c")])[0] == pytest.approx((0.5, 0.5, 0.5))
    assert max(all_rewards(planted(answers, mode="linear"), [group_of("a", "b", "c")])[0]) > 0.6


def test_log_odds_of_two_differ_by_those_of_the_pair_so_that_sigma_gives_the_probability(planted):
    made = planted(lambda first, second: 3.0 if first == "a" else -1.0)
    (found,) = made.score_groups([group_of("a", "b")])
    a, b = found.strengths
    assert found.comparisons == ((3.0, -1.0),)
    assert found.in_log_odds().rewards == (a, b)
    assert sigma(a - b) == pytest.approx((sigma(3) + 1 - sigma(-1)) / 2)


@pytest.mark.parametrize("mode", ["all_pairs", "linear"])
def test_a_lone_response_has_no_reward_and_the_reason(scorer, mode):
    (found,) = scorer(mode=mode).score_groups([group_of("one")])
    assert (found.rewards, found.reason) == ((None,), NOTHING_TO_COMPARE)
    with pytest.warns(UserWarning, match="no reward for response 0: nothing to compare with"):
        assert scorer(mode=mode).score("hi", ["one"]) == (None,)
    with pytest.raises(InvalidGroupError, match="one string"):
        scorer(mode=mode).score("hi", "one")


# ------------------------------------------------------------------------------------------- tournament


def test_a_knockout_finds_the_best_in_the_fewest_meetings(planted):
    for texts in itertools.permutations(STRENGTH):
        made = planted(transitive)
        assert list(made.best([group_of(*texts)])) == [texts.index("cccc")]
        assert made.asked == 2 * 4


def test_a_knockout_of_many_groups_runs_together_and_handles_each_end(planted):
    made = planted(transitive)
    groups = [group_of("aa", "cccc", "b"), group_of("b"), group_of("b", "b"), group_of("ddd", "aa")]
    tagged = [group_of("x [RESPONSE A]", "b", "aa"), group_of("x [RESPONSE A]", "b")]
    assert list(made.best([*groups, *tagged])) == [1, 0, 0, 1, 2, None]
    assert list(made.best([])) == []
    tie = planted(lambda first, second: 1.0)
    assert list(tie.best([group_of("a", "b", "c")])) == [0]


# ------------------------------------------------------------------------------------ what is left out


@pytest.mark.parametrize("mode", ["all_pairs", "linear"])
def test_a_response_with_a_tag_has_no_reward_and_the_others_theirs(scorer, mode):
    made = scorer(mode=mode)
    (found,) = made.score_groups([group_of("one", "see [RESPONSE A] there", "two three")])
    (wanted,) = all_rewards(scorer(mode=mode), [group_of("one", "two three")])
    assert found.rewards == (pytest.approx(wanted[0], abs=2e-6), None, pytest.approx(wanted[1], abs=2e-6))
    assert found.reason == RESPONSE_TAG
    assert made.report.changed[RESPONSE_TAG] > 0


@pytest.mark.parametrize("mode", ["all_pairs", "linear"])
def test_a_response_too_long_to_be_compared_has_no_reward_and_the_others_do_not_depend_on_it(scorer, mode):
    made, prompt = scorer(mode=mode), "red cat " * 60
    (found,) = made.score_groups([group_of("one", "two three", "blue dog " * 200, prompt=prompt)])
    (wanted,) = all_rewards(scorer(mode=mode), [group_of("one", "two three", prompt=prompt)])
    assert found.rewards[2] is None
    assert found.reason == PAIR_TOO_LONG
    assert found.rewards[:2] == pytest.approx(wanted, abs=2e-6)
    with pytest.raises(DataError, match="cannot compare: comparisons whose two responses alone"):
        made.probability(prompt, "one", "blue dog " * 200)


def test_a_model_that_gives_no_number_is_no_answer(scorer):
    made = scorer()
    with torch.no_grad():
        made.model.core.model.norm.weight.fill_(math.nan)
    (found,) = made.score_groups([group_of("one", "two")])
    assert (found.rewards, found.reason) == ((None, None), pairwise.NOT_FINITE)


# ---------------------------------------------------------------------------------- layouts and batches


@pytest.mark.parametrize("mode", ["all_pairs", "linear"])
@pytest.mark.parametrize(("layout", "max_tokens"), [("shared_prefix", 1), ("shared_prefix", 300), ("packed", 4096)])
def test_rewards_do_not_depend_on_layout_or_memory(scorer, make_groups, mode, layout, max_tokens):
    groups = make_groups(4, responses=(2, 4))
    wanted = all_rewards(scorer("padded", mode=mode), groups)
    close(all_rewards(scorer(layout, mode=mode, max_tokens=max_tokens), groups), wanted)


def test_rewards_come_in_order_and_do_not_depend_on_the_groups_beside(scorer, make_groups):
    made, groups = scorer(), make_groups(6)
    together = list(made.score_groups(groups))
    assert [each.id for each in together] == [group.id for group in groups]
    close([each.rewards for each in together], [made.score(group.prompt, group.responses) for group in groups])


def test_comparisons_of_a_group_are_computed_with_one_prompt(scorer, monkeypatch):
    sizes = []
    original = chunks.build_batch

    def counted(*arguments, **options):
        batch = original(*arguments, **options)
        sizes.append(batch.num_tokens)
        return batch

    monkeypatch.setattr(chunks, "build_batch", counted)
    group = group_of(*("one two", "two", "three cat", "dog"), prompt="red green blue " * 12)
    found = [all_rewards(scorer(layout), [group])[0] for layout in ("packed", "shared_prefix")]
    close(found[:1], found[1:])
    # 12 comparisons of one prompt
    assert len(sizes) == 2
    assert sizes[0] > 2.5 * sizes[1]


def test_it_reads_no_further_ahead_than_its_window_and_its_comparisons(planted, monkeypatch):
    read = []

    def stream(count, size):
        for number in range(count):
            read.append(number)
            yield group_of(*("x" * (k + 1) for k in range(size)))

    made = planted(lambda first, second: 0.0)
    next(made.score_groups(stream(2 * WINDOW, 2)))
    assert len(read) == WINDOW
    read.clear()
    monkeypatch.setattr(pairwise, "MAX_COMPARISONS", 60)
    next(made.score_groups(stream(20, 6)))
    assert len(read) == 2


# ------------------------------------------------------------------------- checkpoints and the command line


@pytest.fixture(scope="module")
def saved(make_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("pairwise") / "model"
    save_reward_model(make_model(), path)
    return path


def test_a_saved_model_comes_back_as_a_pairwise_scorer_with_the_same_rewards(saved, scorer, make_groups):
    groups, made = make_groups(3), load(saved)
    assert isinstance(made, PairwiseScorer)
    assert isinstance(open_scorer(str(saved)), PairwiseScorer)
    assert made.model.recipe.form == "comparison"
    close(all_rewards(made, groups), all_rewards(scorer(), groups))
    unsaved = made.model.recipe.model_copy(update={"tokenizer_hash": None, "config_hash": None})
    assert unsaved.hash == scorer().info.recipe_hash != scorer(mode="linear").info.recipe_hash
    assert made.info.weights_hash == scorer().info.weights_hash != scorer(model={"seed": 1}).info.weights_hash


def test_the_mode_of_the_recipe_is_that_of_the_scorer(make_model):
    head = dataclasses.replace(COMPARISON, comparison_mode="linear")
    model = make_model(head=head)
    assert PairwiseScorer(model).mode == "linear"
    assert PairwiseScorer(model, mode="all_pairs").mode == "all_pairs"


def test_merged_and_unmerged_adapters_give_the_same_rewards(make_model, make_groups, tmp_path):
    base = make_model()
    save_reward_model(base, tmp_path / "base")
    loaded, _ = load_reward_model(str(tmp_path / "base"))
    adapted = add_lora(loaded, rank=2, alpha=4, dropout=0.0, targets="all-linear", seed=0)
    with torch.no_grad():
        for name, weight in adapted.network.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3, generator=torch.Generator().manual_seed(len(name)))
    groups = make_groups(2)
    found = all_rewards(PairwiseScorer(adapted), groups)
    save_reward_model(adapted, tmp_path / "adapter")
    close(all_rewards(load(tmp_path / "adapter"), groups), found)
    close(all_rewards(PairwiseScorer(merge_lora(adapted)), groups), found, tolerance=1e-5)
    assert np.abs(np.subtract(found[0], all_rewards(PairwiseScorer(base), groups)[0])).max() > 1e-3


def test_models_of_the_other_form_are_refused_on_either_side(make_decoder, make_model, saved):
    with pytest.raises(ModelError, match="needs a model of the form comparison"):
        PairwiseScorer(make_decoder())
    with pytest.raises(ModelError, match="is scored by a PairwiseScorer"):
        RewardScorer(make_model())
    with pytest.raises(ConfigError, match=r"aggregation is last, but .* compares responses"):
        load(saved, aggregation="last")
    with pytest.raises(ConfigError, match="max_tokens is 0"):
        load(saved, max_tokens=0)


def test_another_template_would_move_the_read_out_and_is_refused(saved, tmp_path):
    import shutil

    shutil.copytree(saved, tmp_path / "model")
    template = (tmp_path / "model" / "chat_template.jinja").read_text()
    (tmp_path / "model" / "chat_template.jinja").write_text(template.replace("add_generation_prompt", "false"))
    with pytest.raises(CheckpointError, match="is not the one the model was trained with"):
        load(tmp_path / "model")


def test_the_doctor_finds_nothing_wrong(saved):
    checks = {check.name: check for check in diagnose(str(saved))}
    assert {check.status for check in checks.values()} == {"ok"}
    assert "asked which of two responses is better, all pairs" in checks["head"].found
    assert "[RESPONSE B]" in checks["rendered sample"].found
    assert "the comparison ends in '<|assistant|>'" in checks["first and last token"].found
    assert "agrees with transformers" in checks


def test_a_file_is_scored_and_the_position_bias_reported(saved, make_groups, tmp_path):
    from plaudit.data.reading.read import read_groups
    from plaudit.data.reading.write import write_groups
    from plaudit.scoring.files import read_rewards

    groups = [*make_groups(3), group_of("alone")]
    write_groups(tmp_path / "in.jsonl", groups)
    report = score_file(load(saved), read_groups(tmp_path / "in.jsonl"), tmp_path / "out.jsonl", model=str(saved))
    assert (report.groups, report.scored) == (4, 3)
    assert report.left_out == {NOTHING_TO_COMPARE: 1}
    assert report.position_bias.pairs == sum(len(g.responses) * (len(g.responses) - 1) // 2 for g in groups)
    close(
        [each.rewards for each in list(read_rewards(tmp_path / "out.jsonl"))[:3]], all_rewards(load(saved), groups[:3])
    )


def test_an_evaluation_reads_log_odds_so_that_its_probabilities_are_those_of_the_model(saved, tmp_path):
    groups = [
        dataclasses.replace(group_of(a, b, prompt=f"red {k}"), preferences=(Preference(0, 1),), id=str(k))
        for k, (a, b) in enumerate([("one", "two three"), ("cat", "dog eats"), ("blue", "green"), ("you", "why not")])
    ]
    made = load(saved)
    result = evaluate(made, groups, name="held_out", model="m", output_dir=tmp_path)
    chances = [made.probability(group.prompt, *group.responses) for group in groups]
    assert result.figures["brier"].value == pytest.approx(np.mean([(1 - p) ** 2 for p in chances]), abs=1e-6)
    assert result.figures["accuracy"].value == np.mean([p > 0.5 for p in chances])
    assert made.position_bias.pairs == 8
    assert (made.info.scale, made.info.strengths) == ("win_rates", "log_odds_differences")
