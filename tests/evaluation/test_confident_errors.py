from plaudit.data.schema.group import Group, Message, Preference, conversation
from plaudit.evaluation.store.confident_errors import ConfidentErrorCollector
from plaudit.evaluation.store.items import item_score
from plaudit.scoring.scorer import GroupRewards


def add(collector: ConfidentErrorCollector, name: str, rewards: tuple[float, ...], **fields) -> None:
    group = Group(
        prompt=fields.pop("prompt", conversation(f"prompt {name}")),
        responses=fields.pop("responses", tuple(f"response {k} of {name}" for k in range(len(rewards)))),
        preferences=fields.pop("preferences", (Preference(0, 1),)),
        id=name,
        **fields,
    )
    collector.add(group, item_score(group, GroupRewards(id=name, rewards=rewards)))


def ids(collector: ConfidentErrorCollector) -> list[str]:
    return [pair.id for pair in collector.pairs().pairs]


def test_the_largest_errors_are_kept_in_order_and_right_pairs_and_ties_are_not():
    collector = ConfidentErrorCollector(limit=2)
    add(collector, "small", (0.0, 1.0))
    add(collector, "right", (5.0, 0.0))
    add(collector, "tie", (1.0, 1.0))
    add(collector, "large", (0.0, 4.0))
    add(collector, "middle", (0.0, 3.0))
    assert ids(collector) == ["large", "middle"]


def test_of_equal_errors_the_first_is_kept():
    collector = ConfidentErrorCollector(limit=2)
    for name in ("a", "b", "c"):
        add(collector, name, (0.0, 1.0))
    assert ids(collector) == ["a", "b"]


def test_a_prompt_appears_once_with_its_worst_pair():
    collector = ConfidentErrorCollector(limit=3)
    same = conversation("the same prompt")
    add(collector, "first", (0.0, 1.0), prompt=same)
    add(collector, "worse", (0.0, 2.0), prompt=same)
    add(collector, "better", (0.0, 1.5), prompt=same)
    add(
        collector,
        "ranked",
        (0.0, 3.0, 9.0),
        preferences=(Preference(0, 1), Preference(0, 2), Preference(2, 1)),
    )
    assert ids(collector) == ["ranked", "worse"]
    worst = collector.pairs().pairs[0]
    assert (worst.chosen, worst.rejected) == ("response 0 of ranked", "response 2 of ranked")
    assert (worst.chosen_reward, worst.rejected_reward) == (0.0, 9.0)


def test_a_label_below_one_half_turns_the_pair_round():
    collector = ConfidentErrorCollector()
    add(collector, "soft", (3.0, 1.0), preferences=(Preference(0, 1, probability=0.2),))
    found = collector.pairs().pairs[0]
    assert (found.chosen, found.rejected) == ("response 1 of soft", "response 0 of soft")


def test_texts_are_cut_and_their_whole_length_is_said():
    collector = ConfidentErrorCollector(max_characters=9)
    add(collector, "long", (0.0, 1.0), prompt=conversation("0123456789"), responses=("abcdefghij", "short"))
    found = collector.pairs()
    assert found.max_characters == 9
    assert found.pairs[0].prompt == "0123…6789"
    assert found.pairs[0].chosen == "abcdefgh…"
    assert found.pairs[0].rejected == "short"
    assert (found.pairs[0].prompt_length, found.pairs[0].chosen_length) == (10, 10)


def test_the_turns_of_a_conversation_are_labelled():
    collector = ConfidentErrorCollector()
    turns = (Message("user", "hello"), Message("assistant", "hi"), Message("user", "bye"))
    add(collector, "chat", (0.0, 1.0), prompt=turns)
    assert collector.pairs().pairs[0].prompt == "user: hello\n\nassistant: hi\n\nuser: bye"
