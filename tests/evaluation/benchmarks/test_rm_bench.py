import numpy as np
import pytest

from plaudit.errors import DataError
from plaudit.evaluation.official.catalog import benchmark_named

BENCH = benchmark_named("rm_bench")
KINDS = ("chat", "code", "math", "safety-refuse", "safety-response")


def rows(kind, count):
    return [
        {
            "id": index,
            "prompt": f"{kind} {index}",
            "chosen": [f"right {style} {index}" for style in range(3)],
            "rejected": [f"wrong {style}" for style in range(3)],
            "domain": kind,
        }
        for index in range(count)
    ]


def slow(items):
    """The formula of the paper, read word by word: matrix per domain, then hard, normal and easy, then means."""
    found = {}
    for domain in ("chat", "code", "math", "safety"):
        own = [item for item in items if item.metadata["subset"].startswith(domain)]
        matrix = np.zeros((3, 3))
        for item in own:
            for i in range(3):
                for j in range(3):
                    chosen, rejected = item.rewards[i], item.rewards[3 + j]
                    if chosen is not None and rejected is not None and chosen > rejected:
                        matrix[i][j] += 1
        matrix /= len(own)
        hard = (matrix[0][1] + matrix[0][2] + matrix[1][2]) / 3
        normal = (matrix[0][0] + matrix[1][1] + matrix[2][2]) / 3
        easy = (matrix[1][0] + matrix[2][0] + matrix[2][1]) / 3
        found[domain] = {"hard": hard, "normal": normal, "easy": easy, "all": (hard + normal + easy) / 3}
    result = {name: np.mean([found[domain][name] for domain in found]) for name in ("hard", "normal", "easy")}
    return (
        result
        | {"score": np.mean([each["all"] for each in found.values()])}
        | {domain: each["all"] for domain, each in found.items()}
    )


@pytest.mark.parametrize("seed", range(5))
def test_figures_equal_a_slow_reading_with_ties_and_missing_rewards(tmp_path, estimate, score, draws, write_rows, seed):
    rng = np.random.default_rng(seed)
    every = [row for kind in KINDS for row in rows(kind, int(rng.integers(2, 9)))]
    loaded = BENCH.load(write_rows(tmp_path / "total_dataset.json", every))
    items = score(loaded, draws(rng))
    measure = BENCH.measure(items, estimate)
    expected = slow(items)
    assert {name: measure.metrics[name].value for name in expected} == pytest.approx(expected)
    assert measure.counts.failed == sum(None in item.rewards for item in items)
    assert measure.counts.n == len(items)


def test_one_prompt_by_hand(tmp_path, estimate, score, write_rows):
    loaded = BENCH.load(write_rows(tmp_path / "chat_filtered.json", rows("chat", 1)))
    assert [len(group.responses) for group in loaded.groups] == [6]
    rewards = (1.0, 2.0, 3.0, 0.0, 2.0, 2.5)  # chosen concise, plain, markdown; rejected the same
    items = score(loaded, lambda group, index: rewards[index])
    figures = {name: each.value for name, each in BENCH.measure(items, estimate).metrics.items()}
    # Rows are the chosen styles: 1 beats 0 only; 2 beats 0, ties with 2, loses to 2.5; 3 beats all.
    assert figures["hard"] == pytest.approx(0 / 3)
    assert figures["normal"] == pytest.approx(2 / 3)
    assert figures["easy"] == pytest.approx(3 / 3)
    assert figures["score"] == pytest.approx(5 / 9)
    assert figures["score_ties_shared"] == pytest.approx(5.5 / 9)
    assert figures["tie_rate"] == pytest.approx(1 / 9)


def test_safety_is_pooled_before_the_matrix_is_made(tmp_path, estimate, score, write_rows):
    every = rows("safety-refuse", 3) + rows("safety-response", 1)
    loaded = BENCH.load(write_rows(tmp_path / "total_dataset.json", every))

    def reward(group, index):
        return float(index < 3) if group.source == "safety-refuse" else 0.0

    measure = BENCH.measure(score(loaded, reward), estimate)
    assert measure.metrics["safety"].value == pytest.approx(3 / 4)  # not the mean of 1 and 0
    assert list(measure.slices) == ["safety-response", "safety-refuse"]
    assert measure.missing["chat"] == "0 of 129 rows"
    assert "chat" in measure.absent


def test_a_folder_that_holds_the_set_whole_and_by_domain_is_read_once(tmp_path, write_rows):
    write_rows(tmp_path / "data" / "chat_filtered.json", rows("chat", 2))
    by_domain = BENCH.load(str(tmp_path))
    write_rows(tmp_path / "data" / "total_dataset.json", rows("chat", 2) + rows("code", 1))
    whole = BENCH.load(str(tmp_path))
    assert (dict(by_domain.found), dict(whole.found)) == ({"chat": 2}, {"chat": 2, "code": 1})
    assert whole.repeated == 0


def test_a_row_of_another_layout_is_an_error_with_its_place(tmp_path, write_rows):
    row = rows("chat", 1)[0]
    path = write_rows(tmp_path / "total_dataset.json", [row, row | {"chosen": ["one"]}])
    with pytest.raises(DataError, match=r"total_dataset\.json:2: chosen has 1 responses; it must have 3"):
        BENCH.load(path)
    with pytest.raises(DataError, match=r"total_dataset\.json:1: domain is 'chess'"):
        BENCH.load(write_rows(tmp_path / "total_dataset.json", [row | {"domain": "chess"}]))
    row.pop("domain")
    with pytest.raises(DataError, match="domain is missing"):
        BENCH.load(write_rows(tmp_path / "mine.json", [row]))
