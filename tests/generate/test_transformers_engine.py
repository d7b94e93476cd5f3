from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.core.errors import Incomplete
from harness.generate.api import Answer, GenerateSettings, Request
from harness.generate.decoding import Row, batch_length, choose
from harness.generate.prompts import answer_text
from harness.generate.transformers_engine import TransformersEngine, load
from harness.models.chat import encode_prompt, end_of_turn_ids
from harness.models.load import load_model, load_tokenizer
from harness.models.pocket import build, parse_spec
from tests.models import gemma2
from tests.models.chatty import LAST, TRIMS, base_model, tokenizer

WORDS = ("red", "blue", "green shop", "the price of a red shop", "two", "three four five six")


def _requests(temperature: float = 0.0, max_new_tokens: int = 12) -> list[Request]:
    return [_request(str(i), text, temperature, max_new_tokens) for i, text in enumerate(WORDS)]


def _request(key: str, text: str, temperature: float = 0.0, max_new_tokens: int = 12) -> Request:
    messages = ({"role": "user", "content": text},)
    return Request(key, messages, temperature, max_new_tokens, seed=100 + int(key))


def _complete(engine: TransformersEngine, requests: list[Request]) -> dict[str, Answer]:
    done: list[Answer] = []
    engine.complete(requests, done.extend)
    assert len({c.id for c in done}) == len(done) == len(requests)
    return {c.id: c for c in done}


@pytest.fixture
def engine(pocket_folder: Path) -> Callable[..., TransformersEngine]:
    return lambda **settings: load(pocket_folder, GenerateSettings(**settings))


def test_greedy_answers_are_those_of_a_plain_loop(
    pocket_folder: Path, engine: Callable[..., TransformersEngine]
) -> None:
    model, tokenizer = load_model(pocket_folder, "float32"), load_tokenizer(pocket_folder)
    done = _complete(engine(batch_size=3), _requests())
    for request in _requests():
        ids = prompt = encode_prompt(tokenizer, request.messages)
        while len(ids) < len(prompt) + 12 and (ids[-1] != 3 or ids == prompt):
            with torch.no_grad():
                ids = [*ids, int(model(torch.tensor([ids])).logits[0, -1].argmax())]
        answer = done[request.id]
        assert answer.turns[0] == tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True)
        assert answer.tokens == (len(ids) - len(prompt),)
        assert answer.finish[0] == ("stop" if ids[-1] == 3 else "length")


def test_a_model_that_bounds_its_attention_answers_as_generate_does(tmp_path: Path) -> None:
    """Gemma 2: its bounds stay, and a batch of unequal prompts outgrows the window of half of its layers."""
    folder = gemma2.write(tmp_path)
    done = _complete(load(folder, GenerateSettings(batch_size=4)), _requests(max_new_tokens=20))
    model, tokenizer = load_model(folder, "float32"), load_tokenizer(folder)
    lengths = []
    for request in _requests():
        prompt = encode_prompt(tokenizer, request.messages)
        out = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=20)[0, len(prompt) :]
        assert done[request.id].turns[0] == tokenizer.decode(out, skip_special_tokens=True)
        lengths.append(len(prompt) + len(out))
    assert max(lengths) > 2 * model.config.sliding_window


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_answers_do_not_depend_on_batch_or_order(engine: Callable[..., TransformersEngine], temperature: float) -> None:
    requests = _requests(temperature, max_new_tokens=20)
    alone = _complete(engine(batch_size=1), requests)
    assert alone == _complete(engine(batch_size=6), requests[::-1])
    assert alone == _complete(engine(batch_size=4), requests)
    assert alone["1"] == _complete(engine(batch_size=4), requests[1:2])["1"]


def test_samples_follow_seed_and_temperature(engine: Callable[..., TransformersEngine]) -> None:
    loaded = engine(batch_size=64)
    same_words = [_request(str(i), "red", 1.0) for i in range(40)]
    assert len({c.turns[0] for c in _complete(loaded, same_words).values()}) > 20
    cold = [_request(str(i), "red", 1e-4) for i in range(10)]
    greedy = _complete(loaded, [_request("0", "red")])["0"].turns[0]
    assert {c.turns[0] for c in _complete(loaded, cold).values()} == {greedy}


@pytest.mark.parametrize(("top_p", "kept"), [(1.0, 3), (0.9, 2), (0.5, 1)])
def test_draws_follow_the_softmax(top_p: float, kept: int) -> None:
    """Probabilities .867, .117, .016 at temperature .5: a nucleus of .9 needs the first two, one of .5 the first."""
    logits = torch.tensor([0.0, 1.0, -1.0, -torch.inf])
    row = Row([], 1, 0.5, 0, top_p)
    drawn = torch.cat([choose(logits.expand(8, -1), [row] * 8) for _ in range(500)])
    shares = torch.bincount(drawn, minlength=4) / 4000
    expected = torch.softmax(logits / 0.5, 0)
    expected[expected.argsort(descending=True)[kept:]] = 0
    torch.testing.assert_close(shares, expected / expected.sum(), atol=0.02, rtol=0)
    assert int((shares > 0).sum()) == kept


def test_rows_may_stop_at_different_lengths(engine: Callable[..., TransformersEngine]) -> None:
    requests = [_request(str(i), text, 0.0, max_new_tokens=i + 1) for i, text in enumerate(WORDS)]
    together, alone = _complete(engine(batch_size=6), requests), _complete(engine(batch_size=1), requests)
    assert together == alone
    assert [together[str(i)].tokens[0] for i in range(2)] == [1, 2]


def test_request_that_is_too_long_fails_alone(engine: Callable[..., TransformersEngine]) -> None:
    requests = [_request("0", "red " * 600), _request("1", "red")]
    done = _complete(engine(), requests)
    assert done["0"].turns[0] is None
    assert "limit is 512" in done["0"].finish[0]
    assert done["0"].finish[0].startswith("error: ")
    assert done["1"].turns[0] is not None


def test_request_that_the_template_refuses_fails_alone(tmp_path: Path) -> None:
    asked = {"role": "user", "content": "red"}
    requests = [Request("0", ({"role": "system", "content": "x"}, asked), 0.0, 2, 0), _request("1", "red", 0.0, 2)]
    done = _complete(load(base_model(tmp_path, TRIMS), GenerateSettings()), requests)
    assert done["0"].turns[0] is None
    assert done["0"].finish[0] == "error: the chat template refuses this conversation (no system role)"
    assert done["1"].turns[0] is not None


def test_what_follows_an_end_token_is_no_answer() -> None:
    """Nor is the end token, where decoding would not hide it."""
    found = tokenizer(LAST, hidden=False)
    ids, stops = found("Yes.<|end|>\n<|user|>", add_special_tokens=False)["input_ids"], end_of_turn_ids(found)
    assert answer_text(found, ids, stops) == "Yes."
    assert answer_text(found, ids[:3], stops) == "Yes"


def test_answer_is_cut_at_the_limit(pocket_folder: Path, engine: Callable[..., TransformersEngine]) -> None:
    prompt = len(encode_prompt(load_tokenizer(pocket_folder), _request("0", "red").messages))
    for room in (1, 2):
        done = _complete(engine(max_length=prompt + room), [_request("0", "red")])["0"]
        assert (done.tokens, done.finish) == ((room,), ("length",))


def test_batches_are_handed_over_as_they_finish(engine: Callable[..., TransformersEngine]) -> None:
    sizes: list[int] = []
    engine(batch_size=4).complete(_requests(), lambda batch: sizes.append(len(batch)))
    assert sizes == [4, 2]


def test_one_long_prompt_does_not_pad_all_others() -> None:
    """Four rows may hold 4 x 512 padded tokens: 2,000 stand alone, 600 go in threes, the short ones in fours."""
    rest = [2000, 600, 600, 600, 600, *[10] * 5]
    batches = []
    while rest:
        length = batch_length(rest[0], 4)
        batches.append(rest[:length])
        rest = rest[length:]
    assert batches == [[2000], [600, 600, 600], [600, 10, 10], [10, 10, 10]]
    assert batch_length(9999, 1) == 1


def test_mixtral_answers_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    build(parse_spec("mixtral?layers=2&width=32&heads=4"), tmp_path)
    one, six = (_complete(load(tmp_path, GenerateSettings(batch_size=size)), _requests()) for size in (1, 6))
    assert one == six


class _Short:
    """A model on a device with memory for `most` rows at once; what it raises beyond that is the allocator's own."""

    def __init__(self, model: Any, most: int) -> None:
        self.model, self.most = model, most
        self.tried: list[int] = []
        self.steps = 0

    def __call__(self, input_ids: torch.Tensor, **rest: Any) -> Any:
        """One step; the memory runs out in the third, when some tokens are already there."""
        if rest["past_key_values"].get_seq_length() == 0:
            self.tried.append(len(input_ids))
            self.steps = 0
        self.steps += 1
        if self.steps == 3 and len(input_ids) > self.most:
            torch.empty(1 << 60, dtype=torch.uint8)
        return self.model(input_ids=input_ids, **rest)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_batches_that_do_not_fit_are_halved(
    pocket_folder: Path, engine: Callable[..., TransformersEngine], temperature: float
) -> None:
    requests = [_request(str(i), "red blue two", temperature, 30) for i in range(12)]
    short = _Short(load_model(pocket_folder, "float32"), 2)
    slim = TransformersEngine(load_tokenizer(pocket_folder), short, GenerateSettings(batch_size=8))
    with pytest.warns(RuntimeWarning, match="out of memory") as said:
        done = _complete(slim, requests)
    assert done == _complete(engine(batch_size=1), requests), "draws begin anew with the batch"
    assert short.tried[:3] == [8, 4, 2], "halved until they fit"
    assert set(short.tried[3:]) == {2}, "and so for the rest"
    assert len(said) == 2
    assert str(said[-1].message) == "out of memory with 4 conversations at once: going on with batches of 2"
    assert Path(said[-1].filename).name == "test_transformers_engine.py"


def test_a_conversation_that_never_fits_leaves_the_work_unfinished(pocket_folder: Path) -> None:
    short = _Short(load_model(pocket_folder, "float32"), 0)
    slim = TransformersEngine(load_tokenizer(pocket_folder), short, GenerateSettings(batch_size=1))
    done: list[Answer] = []
    with pytest.raises(Incomplete, match="does not fit in memory"):
        slim.complete([_request("0", "red", 0.0, 30)], done.extend)
    assert done == [], "no failed sample is made of it"


def test_other_errors_of_the_model_are_not_taken_for_short_memory(pocket_folder: Path) -> None:
    class Broken(_Short):
        def __call__(self, input_ids: torch.Tensor, **rest: Any) -> Any:
            raise RuntimeError("CUDA error: device-side assert triggered")

    broken = TransformersEngine(
        load_tokenizer(pocket_folder), Broken(load_model(pocket_folder, "float32"), 9), GenerateSettings()
    )
    with pytest.raises(RuntimeError, match="device-side assert"):
        broken.complete([_request("0", "red")], print)


def test_no_requests(engine: Callable[..., TransformersEngine]) -> None:
    assert _complete(engine(), []) == {}


REAL = (
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "Name three fruits.",
    "What is 2 + 2?",
    "Translate 'good morning' into Spanish, and then explain briefly when one would say it.",
    "Who wrote Hamlet?",
)


@pytest.mark.slow
def test_a_real_model_answers_the_same_whatever_the_batch(smollm2_folder: Path) -> None:
    requests = [_request(str(i), text, t, 32) for t in (0.0, 0.7) for i, text in enumerate(REAL)]
    greedy, sampled = requests[:6], requests[6:]
    engines = [load(smollm2_folder, GenerateSettings(batch_size=size)) for size in (1, 3, 6)]
    for batch in (greedy, sampled):
        first, *others = [_complete(engine, batch) for engine in engines]
        assert all(other == first for other in others)
    answer = _complete(engines[0], greedy[:1])["0"]
    assert "Paris" in str(answer.turns[0])
    assert answer.finish == ("stop",)
