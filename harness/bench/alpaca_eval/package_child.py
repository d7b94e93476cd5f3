"""The `alpaca_eval` package in a process of its own: JSON on stdin, JSON on stdout.

Importing the package changes the root logger, using it sets scikit-learn's metadata routing for the whole process, and
left alone it writes caches into its own folder. So `harness.bench.alpaca_eval.package` runs this module as `python -m
harness.bench.alpaca_eval.package_child`, and nothing imports it.

Requests are {"do": OPERATION, ...}; a pair is {instruction, output_1, output_2}, output_1 the baseline's.
"""

import json
import logging
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

Json = Any
Key = tuple[str, str, str]
_PLACEHOLDER = re.compile(r"\{(instruction|output_1|output_2)\}")
_COMPLETION_KEYS = ("completions", "completions_all")
_FIRST_IS_BETTER = {
    "completions": "[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]",
    "completions_all": {"logprobs": {"content": [{"top_logprobs": [{"token": "m", "logprob": 0.0}]}]}},
}
"""A reply that each parser understands, for a dry run."""


def prepare(request: Json) -> Json:
    """What the judge is shown for each pair: [{messages, switched}]; switched: the model's answer comes first.

    The package fills its template placeholder by placeholder, so that a `{output_1}` or `<|im_start|>` inside a text
    would be taken for its own. Here all are put in at once, which gives the same messages for every other text.
    """
    from alpaca_eval.utils import prompt_to_chatml

    single, shown = _run(request, lambda _: _FIRST_IS_BETTER)[1:]
    template = prompt_to_chatml(single.prompt_template)
    rows = []
    for pair in request["pairs"]:
        row = shown[_key(pair)]
        messages = [{"role": m["role"], "content": _filled(m["content"], row)} for m in template]
        rows.append({"messages": messages, "switched": bool(row["is_switched_outputs"])})
    return rows


def annotate(request: Json) -> Json:
    """The package's own reading of recorded `replies`, one per pair, null where none came.

    A reply is a text, or {token: log-probability} for an annotator that reads those. Returns the preferences in the
    pairs' order: 1..2, null where the package found none. Pairs with equal texts must have equal replies.
    """
    replies = {_key(p): r for p, r in zip(request["pairs"], request["replies"], strict=True)}
    annotated = _run(request, lambda key: _completion(replies[key]))[0]
    found = {_key(row): row["preference"] for row in annotated}
    values = [found.get(_key(pair)) for pair in request["pairs"]]
    return [None if v is None or v != v else float(v) for v in values]


def metrics(request: Json) -> Json:
    """The package's win rate and length-controlled win rate of `annotations`, with `reference` as its df_gamed.csv."""
    from alpaca_eval.metrics import glm_winrate

    glm_winrate.hf_hub_download = lambda **_: request["reference"]
    import pandas as pd

    frame = pd.DataFrame.from_records(request["annotations"])
    found = glm_winrate.get_length_controlled_winrate(frame, save_weights_dir=None)
    return {name: float(value) for name, value in found.items()}


def _run(request: Json, completion_of: Callable[[Key], Json]) -> tuple[list[Json], Any, dict[Key, Json]]:
    """Annotate the pairs: the annotations, the annotator, and what it showed of each pair (the order switched)."""
    from alpaca_eval.annotators import PairwiseAnnotator

    name = request["annotator"]
    annotator = PairwiseAnnotator(annotators_config=name, caching_path=None)
    single = annotator.annotators[name]
    make_prompts = single._make_prompts
    shown: dict[Key, Json] = {}
    asked: list[Key] = []

    def capture_prompts(*args: Any, **kwargs: Any) -> Any:
        prompts, frame = make_prompts(*args, **kwargs)
        rows = frame.to_dict("records")
        asked[:] = [_unswitched(row) for row in rows]
        shown.update(zip(asked, rows, strict=True))
        return prompts, frame

    def completions(prompts: list[str], **_: Any) -> dict[str, list[Json]]:
        assert len(prompts) == len(asked)
        return {kind: [completion_of(key)[kind] for key in asked] for kind in _COMPLETION_KEYS}

    single._make_prompts, single.fn_completions = capture_prompts, completions
    return annotator(request["pairs"]), single, shown


def _completion(reply: Json) -> Mapping[str, Json]:
    """A recorded reply as the package's `fn_completions` gives it; an empty one is its mark of a failed call."""
    if reply is None:
        return dict.fromkeys(_COMPLETION_KEYS, "")
    if isinstance(reply, str):
        return {"completions": reply or " ", "completions_all": {"text": reply or " "}}
    likeliest = [{"token": token, "logprob": logprob} for token, logprob in reply.items()]
    return {"completions": "", "completions_all": {"logprobs": {"content": [{"top_logprobs": likeliest}]}}}


def _key(pair: Mapping[str, str]) -> Key:
    return pair["instruction"], pair["output_1"], pair["output_2"]


def _unswitched(row: Mapping[str, Json]) -> Key:
    instruction, first, second = _key(row)
    return (instruction, second, first) if row["is_switched_outputs"] else (instruction, first, second)


def _filled(template: str, row: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: row[match[1]], template)


def main() -> None:
    """Answer one request."""
    request = json.load(sys.stdin)
    out, sys.stdout = sys.stdout, sys.stderr  # whatever the package prints is no answer
    logging.disable(logging.ERROR)  # it logs a traceback for every reply that does not parse
    answer = {"prepare": prepare, "annotate": annotate, "metrics": metrics}[request["do"]](request)
    json.dump(answer, out)


if __name__ == "__main__":
    main()
