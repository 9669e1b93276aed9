"""From a URL to a scorer: its shape and options, and a file that is scored through it."""

from __future__ import annotations

import threading

import pytest

from plaudit.data.reading.read import read_groups
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group, conversation
from plaudit.errors import ConfigError, ModelError
from plaudit.models.checkpoint.files import save_reward_model
from plaudit.opening import open_scorer
from plaudit.scoring.files import read_rewards, score_file
from plaudit.scoring.remote import load_remote


@pytest.mark.parametrize(
    ("routes", "shape"),
    [
        (["/pooling", "/classify", "/score", "/tokenize"], "vllm-classify"),
        (["/pooling", "/health"], "vllm-pooling"),
        (["/classify", "/generate"], "sglang"),
        (["/get_reward"], "openrlhf"),
        (["/predict", "/rerank"], "tei"),
        (["/v1/score/evaluation", "/v1/models"], "llamafactory"),
        (["/rewards"], "plaudit"),
    ],
)
def test_the_shape_of_a_server_is_told_from_its_routes(serve, routes, shape):
    server = serve(**{"__openapi.json": lambda body: (200, {"paths": {route: {} for route in routes}})})
    takes_texts = shape in ("sglang", "openrlhf", "tei", "llamafactory")
    assert load_remote(server.url + ("?template=plain" if takes_texts else "")).shape == shape
    assert [path for path, _ in server.requests] == ["/openapi.json"]


def test_tei_lists_its_routes_at_a_place_of_its_own(serve):
    server = serve(**{"__api-doc__openapi.json": lambda body: (200, {"paths": {"/predict": {}, "/rerank": {}}})})
    assert load_remote(f"{server.url}?template=plain").shape == "tei"
    assert [path for path, _ in server.requests] == ["/openapi.json", "/api-doc/openapi.json"]


def test_a_server_that_does_not_answer_is_no_server_of_an_unknown_shape(serve):
    server = serve(**{"__openapi.json": lambda body: (503, {"error": "starting"})})
    with pytest.raises(ModelError, match=r"no answer from the server: HTTP 503 .* after 1 try"):
        load_remote(f"{server.url}?retries=0")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, {"paths": {"/predict": {}, "/get_reward": {}}}), r"from its routes \(/predict, /get_reward\)"),
        ((200, {"paths": {"/chat": {}}}), "none that gives rewards"),
        ((200, [1]), "cannot be told"),
        ((200, b"<html>"), "cannot be told"),
        ((404, {}), r"cannot be told .*HTTP 404.*say which with \?shape="),
    ],
)
def test_a_shape_that_cannot_be_told_is_asked_for(serve, answer, words):
    server = serve(**{"__openapi.json": lambda body: answer})
    with pytest.raises(ConfigError, match=words):
        load_remote(server.url)


@pytest.mark.parametrize(
    ("path", "shape", "base"),
    [
        ("/get_reward?template=plain", "openrlhf", ""),
        ("/rm/pooling", "vllm-pooling", "/rm"),
        ("/v1/score", "vllm-score", ""),
        ("/v1/score/evaluation?template=plain", "llamafactory", ""),
        ("/predict/?template=concatenate", "tei", ""),
    ],
)
def test_the_route_in_a_url_says_the_shape_without_asking(path, shape, base):
    scorer = load_remote(f"http://127.0.0.1:9{path}")
    assert (scorer.shape, scorer.endpoint.base) == (shape, f"http://127.0.0.1:9{base}")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("shape=vlm-classify", "no shape 'vlm-classify'; did you mean 'vllm-classify'"),
        ("shap=tei", "no option 'shap'; did you mean 'shape'"),
        ("shape=tei", "takes texts; name the chat template"),
        ("shape=plaudit&template=plain", "renders by itself"),
        ("shape=plaudit&batch=0", "batch is '0'; it must be a whole number from 1"),
        ("shape=plaudit&timeout=nan", "timeout is 'nan'"),
        ("shape=plaudit&retries=-1", "retries is '-1'"),
        ("shape=plaudit&shape=tei", "an option stands twice"),
        ("shape=vllm-score&probabilities=1", "probabilities is '1'; it must be yes or no"),
    ],
)
def test_an_option_that_is_wrong_is_refused_with_what_is_allowed(query, words):
    with pytest.raises(ConfigError, match=words):
        open_scorer(f"http://127.0.0.1:9?{query}")


@pytest.mark.parametrize("query", ["api_key=SECRET", "shape=tei&token=SECRET", "token=SECRET&token=SECRET"])
def test_what_is_no_option_may_be_a_key_and_is_not_repeated(query):
    with pytest.raises(ConfigError, match="there is no option") as raised:
        open_scorer(f"http://127.0.0.1:9?{query}")
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://?shape=plaudit", "there is no host in it"),
        ("http://a:0?shape=plaudit", "there is no host in it, or no port"),
        ("http://a:80000?shape=plaudit", "its port is no number from 1 to 65535"),
        ("http://a:b?shape=plaudit", "its port is no number from 1 to 65535"),
        ("http://[::1?shape=plaudit", "it must be http://HOST:PORT"),
    ],
)
def test_a_url_without_host_or_port_is_refused(url, words):
    with pytest.raises(ConfigError, match=words):
        load_remote(url)


def test_a_password_in_a_url_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="set PLAUDIT_API_KEY instead") as caught:
        load_remote("http://me:secret@host:81/rewards")
    assert "secret" not in str(caught.value)
    assert "http://host:81/rewards" in str(caught.value)


def test_the_options_of_a_url_are_those_of_the_scorer():
    scorer = load_remote("http://a/score?model=m&batch=2&concurrency=3&timeout=4.5&retries=6&probabilities=yes")
    endpoint = scorer.endpoint
    assert (scorer.shape, scorer.model, scorer.batch, scorer.concurrency) == ("vllm-score", "m", 2, 3)
    assert (endpoint.timeout_seconds, endpoint.retries, scorer.probabilities) == (4.5, 6, True)
    assert not load_remote("http://a/score").probabilities


def test_settings_of_the_server_are_not_set_from_here():
    with pytest.raises(ConfigError, match="settings of the server"):
        open_scorer("http://127.0.0.1:9?shape=plaudit", aggregation="min")


def test_the_hash_tells_addresses_shapes_models_and_templates_apart():
    urls = ["a?shape=sglang&template=plain", "b?shape=sglang&template=plain", "a?shape=openrlhf&template=plain"]
    urls += ["a?shape=sglang&template=concatenate", "a?shape=sglang&template=plain&model=m"]
    hashes = [load_remote(f"http://{url}").info.recipe_hash for url in urls]
    assert len(set(hashes)) == 5
    assert load_remote("http://a?shape=sglang&template=plain&batch=2&retries=0").info.recipe_hash == hashes[0]


def test_a_file_is_scored_through_a_server_as_without_it(serve, make_decoder, make_groups, tmp_path):
    """The server holds a model and answers in plaudit's own shape; the rewards are those of the model itself."""
    save_reward_model(make_decoder(num_layers=1), tmp_path / "model")
    model = open_scorer(str(tmp_path / "model"))
    lock = threading.Lock()

    def answer(body):
        asked = [
            Group(conversation(each["prompt"]), tuple(each["responses"]), id=each["id"]) for each in body["groups"]
        ]
        with lock:
            scored = list(model.score_groups(asked))
        return 200, {"groups": [{"id": each.id, "rewards": each.rewards} for each in scored]}

    server = serve(__rewards=answer)
    write_groups(tmp_path / "groups.jsonl", make_groups(20))
    url = f"{server.url}/rewards?batch=6&concurrency=3"
    groups = read_groups(tmp_path / "groups.jsonl")
    report = score_file(open_scorer(url), groups, tmp_path / "remote.jsonl", model=url)
    score_file(open_scorer(str(tmp_path / "model")), groups, tmp_path / "local.jsonl", model="model")
    assert (report.groups, report.scored) == (20, 20)
    there, here = (list(read_rewards(tmp_path / f"{name}.jsonl")) for name in ("remote", "local"))
    assert [each.id for each in there] == [each.id for each in here]
    for one, other in zip(there, here, strict=True):
        assert one.rewards == pytest.approx(other.rewards, abs=1e-5)
