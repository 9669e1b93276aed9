"""The eight shapes: what each server is sent, and how its answers are read, in the form that server gives them."""

from __future__ import annotations

import math

import pytest

from plaudit.data.schema.group import Group, Message
from plaudit.errors import ModelError
from plaudit.scoring.remote import load_remote

from .remote_scorers import group, plain, quick

TWO = [group("a", "bbb", id="g0"), group("cc", "d", prompt="ho", id="g1")]
TEXTS = [
    "user: hi\n\nassistant: a",
    "user: hi\n\nassistant: bbb",
    "user: ho\n\nassistant: cc",
    "user: ho\n\nassistant: d",
]
USAGE = {"prompt_tokens": 20, "total_tokens": 20, "completion_tokens": 0, "prompt_tokens_details": None}


def last_word(text):
    """A reward that can be told from the text: the length of its last word, and negative, as a raw one may be."""
    return -float(len(text.split()[-1]))


def vllm(make, *, number="classify"):
    """A vLLM server that answers in reverse order with the indices, as a server may."""

    def answer(body):
        texts = body["input"] if "input" in body else [body["messages"][-1]["content"]]
        rows = [{"index": index, **make(last_word(text))} for index, text in enumerate(texts)]
        head = {"id": f"{number}-9bf17f2847b046c7b2d5495f4b4f9682", "object": "list", "created": 1745383213}
        return 200, head | {"model": body.get("model", "m"), "data": rows[::-1], "usage": USAGE}

    return answer


vllm_classify = vllm(lambda value: {"label": "LABEL_0", "probs": [value], "num_classes": 1})
vllm_pooling = vllm(lambda value: {"object": "pooling", "data": [value]}, number="pool")


def vllm_score(body):
    rows = [{"index": i, "object": "score", "score": last_word(text)} for i, text in enumerate(body["documents"])]
    head = {"id": "score-4e2d", "object": "list", "created": 1745383213, "model": body.get("model", "m")}
    return 200, head | {"data": rows[::-1], "usage": USAGE}


def sglang(body):
    meta = {"id": "7c60", "finish_reason": None, "prompt_tokens": 9, "e2e_latency": 0.01, "cached_tokens": 0}
    return 200, [{"embedding": [last_word(text)], "meta_info": meta} for text in body["text"]]


def tei(body):
    return 200, [[{"score": last_word(text), "label": "LABEL_0"}] for (text,) in body["inputs"]]


def openrlhf(body):
    numbers = [last_word(text) for text in body["query"]]
    return 200, {"rewards": numbers, "scores": numbers, "extra_logs": {"dummy_scores": numbers}}


def llamafactory(body):
    head = {"id": "scoreeval-15ab", "object": "score.evaluation", "model": body["model"]}
    return 200, head | {"scores": [last_word(text) for text in body["messages"]]}


RAW = {"model": "m", "input": TEXTS, "add_special_tokens": True, "use_activation": False}
PAIRS = {"queries": ["hi", "hi", "ho", "ho"], "documents": ["a", "bbb", "cc", "d"]}
SHAPES = [
    ("vllm-classify", "__classify", vllm_classify, RAW),
    ("vllm-pooling", "__pooling", vllm_pooling, RAW | {"task": "classify"}),
    ("vllm-score", "__score", vllm_score, PAIRS | {"model": "m", "use_activation": False}),
    ("sglang", "__classify", sglang, {"model": "m", "text": TEXTS}),
    ("tei", "__predict", tei, {"inputs": [[text] for text in TEXTS], "raw_scores": True, "truncate": False}),
    ("openrlhf", "__get_reward", openrlhf, {"query": TEXTS, "prompts": PAIRS["queries"], "labels": [""] * 4}),
    ("llamafactory", "__v1__score__evaluation", llamafactory, {"model": "m", "messages": TEXTS}),
]


@pytest.mark.parametrize(("shape", "route", "answer", "body"), SHAPES, ids=[shape for shape, *_ in SHAPES])
def test_every_shape_sends_its_body_and_reads_its_answer_in_order(serve, shape, route, answer, body):
    server = serve(**{route: answer})
    template = None if shape == "vllm-score" else plain()
    found = list(quick(server.url, shape, model="m", template=template).score_groups(TWO))
    assert [(each.id, each.rewards, each.reason) for each in found] == [
        ("g0", (-1.0, -3.0), None),
        ("g1", (-2.0, -1.0), None),
    ]
    assert server.requests == [(route.replace("__", "/"), body)]


def test_the_shape_of_plaudit_carries_whole_groups_and_all_that_a_scorer_gives(serve):
    def answer(body):
        rows = [
            {
                "id": each["id"],
                "rewards": [float(len(response)) for response in each["responses"]],
                "attributes": {"help": [0.5, None]},
                "steps": [[0.1, 0.9], None],
                "uncertainty": [0.25, 0.5],
                "strengths": [9.0, -9.0],
                "comparisons": [[1.0, -1.0]],
            }
            for each in body["groups"]
        ]
        return 200, {"groups": rows}

    server = serve(__rewards=answer)
    found = list(quick(server.url, "plaudit").score_groups(TWO))
    assert [each.rewards for each in found] == [(1.0, 3.0), (2.0, 1.0)]
    assert found[0].attributes == {"help": (0.5, None)}
    assert found[0].steps == ((0.1, 0.9), None)
    assert found[0].uncertainty == (0.25, 0.5)
    # whatever a server says beside rewards, it does not take their place
    assert (found[0].strengths, found[0].comparisons, found[0].in_log_odds().rewards) == (None, (), (1.0, 3.0))
    (body,) = server.bodies("/rewards")
    assert body["groups"][0] == {"id": "g0", "prompt": [{"role": "user", "content": "hi"}], "responses": ["a", "bbb"]}


@pytest.mark.parametrize(("shape", "more"), [("vllm-classify", {}), ("vllm-pooling", {"task": "classify"})])
def test_messages_go_to_vllm_one_response_to_a_request(serve, shape, more):
    server = serve(__classify=vllm_classify, __pooling=vllm_pooling)
    found = list(quick(server.url, shape).score_groups([group("one word", "x", prompt="hi there")]))
    assert found[0].rewards == (-4.0, -1.0)
    turns = [{"role": "user", "content": "hi there"}, {"role": "assistant", "content": "one word"}]
    assert server.requests[0][1] == {"messages": turns, "use_activation": False, **more}
    assert len(server.requests) == 2


def test_a_prompt_of_several_turns_is_a_query_with_its_roles(serve):
    server = serve(__score=vllm_score)
    turns = (Message("system", "be kind"), Message("user", "hi"))
    list(quick(server.url, "vllm-score").score_groups([Group(turns, ("a",), id="0")]))
    assert server.bodies("/score")[0]["queries"] == ["system: be kind\n\nuser: hi"]


def test_text_is_rendered_with_the_template_of_the_model_and_bos_stands_once(serve, make_decoder, tmp_path):
    model = make_decoder(num_layers=1)
    model.tokenizer.bos_token = "<s>"
    model.tokenizer.chat_template = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    model.tokenizer.save_pretrained(tmp_path / "tokenizer")
    server = serve(__classify=vllm_classify, __predict=tei, __get_reward=openrlhf)
    for shape in ("vllm-classify", "tei", "openrlhf"):
        scorer = load_remote(f"{server.url}?shape={shape}&template={tmp_path / 'tokenizer'}")
        list(scorer.score_groups([group("a b")]))
    (classify,), (predict,), (get_reward,) = map(server.bodies, ("/classify", "/predict", "/get_reward"))
    assert classify["input"] == ["<s>[user]hi[assistant]a b"]
    assert classify["add_special_tokens"] is False
    assert predict["inputs"] == [["[user]hi[assistant]a b"]]  # TEI writes BOS and cannot be told not to
    assert get_reward["query"] == ["<s>[user]hi[assistant]a b"]  # OpenRLHF adds no special tokens


# ------------------------------------------------------------------------ other forms that these servers give


@pytest.mark.parametrize(
    ("shape", "route", "answer"),
    [
        # the pooler of SGLang's cross-encoders leaves out the list of one number
        ("sglang", "__classify", [{"embedding": -2.5, "meta_info": {}}, {"embedding": 1.5, "meta_info": {}}]),
        # a model that vLLM converts by itself has one more list, that of the tokens pooled
        ("vllm-pooling", "__pooling", {"data": [{"index": 1, "data": [[1.5]]}, {"index": 0, "data": [[-2.5]]}]}),
        ("openrlhf", "__get_reward", {"rewards": [[-2.5], [1.5]]}),
        ("tei", "__predict", [{"score": -2.5, "label": "a"}, {"score": 1.5, "label": "a"}]),
    ],
)
def test_one_number_in_more_or_fewer_lists_is_the_reward(serve, shape, route, answer):
    server = serve(**{route: lambda body: (200, answer)})
    (found,) = quick(server.url, shape, template=plain()).score_groups([group("a", "b")])
    assert found.rewards == (-2.5, 1.5)


@pytest.mark.parametrize(
    ("shape", "route", "answer", "status"),
    [
        (
            "vllm-classify",
            "__classify",
            {"error": {"message": "maximum context length", "type": "BadRequestError", "param": None, "code": 400}},
            400,
        ),
        ("sglang", "__classify", {"error": {"message": "The input is longer than the model's context length"}}, 400),
        ("tei", "__predict", {"error": "`inputs` must have less than 512 tokens", "error_type": "Validation"}, 413),
        ("tei", "__predict", {"error": "Tokenization error", "error_type": "Tokenizer"}, 422),
        ("tei", "__predict", {"error": "score is NaN", "error_type": "Backend"}, 424),
    ],
)
def test_the_refusal_of_one_text_in_the_words_of_each_server_leaves_the_others_their_rewards(
    serve, shape, route, answer, status
):
    right = {"vllm-classify": vllm_classify, "sglang": sglang, "tei": tei}[shape]
    server = serve(**{route: lambda body: (status, answer) if "bad" in str(body) else right(body)})
    found = list(quick(server.url, shape, template=plain()).score_groups([group("aa", "bad"), group("c", id="1")]))
    assert [each.rewards for each in found] == [(-2.0, None), (-1.0,)]
    assert found[0].reason.startswith(f"refused by the server: HTTP {status} ")
    assert found[0].reason.endswith("(response 1)")


def test_several_outputs_of_a_classifier_are_no_reward(serve):
    entry = [{"score": 2.0, "label": "POSITIVE"}, {"score": -2.0, "label": "NEGATIVE"}]
    server = serve(__predict=lambda body: (200, [entry, entry]))
    (found,) = quick(server.url, "tei", template=plain()).score_groups([group("a", "b")])
    assert found.rewards == (None, None)
    assert "'score' holds 2 entries for one response" in found.reason
    assert "num_labels 1" in found.reason


# ---------------------------------------------------------------------------- what is not what the model gave


def numbered(shape, value):
    """A server of a shape whose n-th reward is ``value(n)``, n from 0."""
    count = iter(range(10**6))
    return {
        "vllm-classify": lambda body: (
            200,
            {"data": [{"index": i, "probs": [value(next(count))]} for i in range(len(body["input"]))]},
        ),
        "sglang": lambda body: (200, [{"embedding": [value(next(count))]} for _ in body["text"]]),
        "tei": lambda body: (200, [[{"score": value(next(count)), "label": "a"}] for _ in body["inputs"]]),
        "openrlhf": lambda body: (200, {"rewards": [value(next(count)) for _ in body["query"]]}),
        "llamafactory": lambda body: (200, {"scores": [value(next(count)) for _ in body["messages"]]}),
    }[shape]


def scored(serve, shape, value, count=40, **options):
    routes = {"vllm-classify": "__classify", "sglang": "__classify", "tei": "__predict", "openrlhf": "__get_reward"}
    server = serve(**{routes.get(shape, "__v1__score__evaluation"): numbered(shape, value)})
    scorer = quick(server.url, shape, template=plain(), concurrency=1, batch=2, **options)
    return scorer.score_groups(group("a", "b", id=str(number)) for number in range(count // 2))


def sigmoid(number):
    return 1 / (1 + math.exp(-math.sin(number) * 5))


@pytest.mark.parametrize("shape", ["vllm-classify", "sglang", "tei"])
def test_rewards_that_are_all_exactly_one_are_those_of_a_softmax_over_one_output(serve, shape):
    with pytest.raises(ModelError, match="the first 4 rewards are all exactly 1, as from a softmax"):
        list(scored(serve, shape, lambda number: 1.0))
    assert len(list(scored(serve, shape, lambda number: float(number != 3) + number))) == 20


def test_rewards_that_are_all_exactly_zero_are_what_llamafactory_gives_for_nan(serve):
    with pytest.raises(ModelError, match="the first 4 rewards are all exactly 0, which LLaMA-Factory gives"):
        list(scored(serve, "llamafactory", lambda number: 0.0))
    found = list(scored(serve, "llamafactory", lambda number: 0.0 if number else 0.5))
    assert [each.rewards for each in found[:2]] == [(0.5, 0.0), (0.0, 0.0)]
    assert len(list(scored(serve, "openrlhf", lambda number: 0.0))) == 20


@pytest.mark.parametrize("shape", ["vllm-classify", "sglang"])
def test_rewards_after_a_sigmoid_that_was_not_asked_for_end_the_run(serve, shape):
    stream, made = scored(serve, shape, sigmoid), []
    with pytest.raises(ModelError, match=r"the first 16 rewards all lie from 0 to 1, .* add probabilities=yes"):
        made.extend(stream)
    assert len(made) == 7  # seven groups of two; the eighth completes the sixteen


def test_rewards_from_0_to_1_that_are_meant_are_taken(serve):
    found = list(scored(serve, "vllm-classify", sigmoid, probabilities=True))
    assert found[3].rewards == pytest.approx((sigmoid(6), sigmoid(7)))
    assert len(found) == 20
    # TEI and OpenRLHF put no sigmoid on rewards that are asked for raw
    assert len(list(scored(serve, "tei", sigmoid))) == 20
    assert len(list(scored(serve, "openrlhf", sigmoid))) == 20


def test_one_reward_outside_0_to_1_among_the_first_sixteen_shows_that_they_are_raw(serve):
    assert len(list(scored(serve, "sglang", lambda number: -0.001 if number == 15 else sigmoid(number)))) == 20
