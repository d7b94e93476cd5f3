"""A checkpoint as lm-eval's model, which says how far it is and makes smaller batches where memory runs out."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.models.huggingface import HFLM

from harness.bench.api import Measured
from harness.bench.lm_eval.how import How, request_key
from harness.core.errors import Incomplete
from harness.generate.api import Ending
from harness.generate.prompts import answer_text, stop_ids
from harness.models.ends import end_ids
from harness.models.load import available, load_model, load_tokenizer
from harness.models.memory import ran_out, release
from harness.models.rendering import refusal, template_of

Run = Callable[..., list[Any]]
"""One of lm-eval's ways to ask: requests to results, in order."""


def load(model: Measured, how: How, endings: dict[str, Ending]) -> HFLM:
    """Load the checkpoint, on the GPU where there is one; `endings` is told how each generated text ends.

    With prompts in the chat template, texts end where the template ends an answer.

    Without one texts are generated one at a time, as the command does by default: transformers copies the whole cache
    in every step of a batch and waits for its longest text (`benchmarks/lm_eval_overhead.py` has the figures).
    """
    loaded = load_model(model.folder, model.dtype, available())
    lm = HFLM(
        pretrained=loaded,
        tokenizer=load_tokenizer(model.folder),
        batch_size=model.batch_size,
        enable_thinking=how.enable_thinking,
        think_end_token=how.think_end_token,
    )
    if how.apply_chat_template:
        _end_turns(lm)
    ends, progress = _Ends(lm, endings), _Progress(model)
    for kind in ("loglikelihood", "loglikelihood_rolling", "generate_until"):
        tell = ends.one if kind == "generate_until" else None
        size = 1 if loaded.device.type == "cpu" and kind == "generate_until" else model.batch_size
        setattr(lm, kind, _Patient(lm, getattr(lm, kind), size, progress, tell))
    return lm


def _end_turns(lm: HFLM) -> None:
    """Give lm-eval's model our chat template, its errors in our words, and our ends of an answer."""
    write = lm.apply_chat_template
    lm.tokenizer.chat_template = template_of(lm.tokenizer)
    stops = stop_ids(lm.tokenizer, lm.model.generation_config)
    lm.model.generation_config.eos_token_id = sorted(stops)

    def decode(tokens: Any, skip_special_tokens: bool = True) -> str:
        if skip_special_tokens:
            return answer_text(lm.tokenizer, tokens, stops, [lm.think_end_token] if lm.think_end_token else [])
        return str(lm.tokenizer.decode(tokens, skip_special_tokens=False))

    def written(*given: Any, **how: Any) -> str:
        try:
            return str(write(*given, **how))
        except Exception as error:  # a template is a program: it can fail in any way
            raise refusal(lm.tokenizer, error) from None

    lm.tok_decode, lm.apply_chat_template = decode, written


class _Ends:
    """How each generated text ended: told by its tokens and its text, which lm-eval decodes just before it is done."""

    def __init__(self, lm: HFLM, endings: dict[str, Ending]) -> None:
        self._lm, self._endings, self._decode = lm, endings, lm.tok_decode
        self._tokens, self._text = list[int](), ""
        lm.tok_decode = self._decoded

    def _decoded(self, tokens: Any, *given: Any, **how: Any) -> str:
        self._tokens, self._text = tokens, self._decode(tokens, *given, **how)
        return self._text

    def one(self, args: Sequence[Any], result: str) -> None:
        """A text is done."""
        told, end = args[1], self._lm.think_end_token
        until = [told["until"]] if isinstance(told.get("until"), str) else told.get("until") or []
        ended = {*end_ids(self._lm.model.generation_config.eos_token_id), self._lm.eot_token_id}
        stopped = not ended.isdisjoint(self._tokens) or any(stop and stop in self._text for stop in until)
        ending: Ending = "complete" if stopped else "cut"
        if not result.strip():
            ending = "empty"
        if end is not None and end not in self._text:
            ending = "unfinished"
        self._endings[request_key(args)] = ending


class _Progress:
    """How many of the requests seen so far are answered."""

    def __init__(self, model: Measured) -> None:
        self._model, self._done, self._total = model, 0, 0

    def more(self, requests: int) -> None:
        self._total += requests

    def one(self) -> None:
        self._done += 1
        self._model.progress(min(self._done, self._total), self._total, "requests")


class _Patient:
    """One kind of request; where memory runs out, in batches half as large, and what is answered stays."""

    def __init__(
        self, lm: HFLM, run: Run, size: int, progress: _Progress, tell: Callable[[Sequence[Any], str], None] | None
    ) -> None:
        self._lm, self._run, self._size, self._progress, self._tell = lm, run, size, progress, tell

    def __call__(self, requests: Sequence[Any]) -> list[Any]:
        """The results, in order.

        Raises:
            Incomplete: memory is too short for a single request.
        """
        self._progress.more(len(requests))
        found: dict[int, Any] = {}
        while left := [k for k in range(len(requests)) if k not in found]:
            done, results = self._tried([requests[k] for k in left])
            if results is not None:
                found |= zip(left, results, strict=True)
                continue
            found |= {k: own.pop(0) for k in left if (own := done.get(request_key(requests[k].args)))}
            self._halve()
        return [found[k] for k in range(len(requests))]

    def _tried(self, requests: list[Any]) -> tuple[dict[str, list[Any]], list[Any] | None]:
        """What was answered, by request, and the results in order: None where memory ran out."""
        done: dict[str, list[Any]] = {}

        def answered(_: str, args: Sequence[Any], result: Any) -> None:
            done.setdefault(request_key(args), []).append(result)
            self._progress.one()
            if self._tell is not None:
                self._tell(args, result)

        self._lm.cache_hook.add_partial = answered  # what lm-eval calls for each request that is done
        self._lm.batch_size_per_gpu = self._size
        try:
            return done, self._run(requests, disable_tqdm=True)
        except RuntimeError as error:
            if not ran_out(error):
                raise
        release()
        return done, None

    def _halve(self) -> None:
        if self._size == 1:
            what = "one request does not fit in memory"
            raise Incomplete(what, where="lm_eval", fix="Free some memory or use another device, and run again.")
        self._size //= 2
        warnings.warn(f"out of memory: going on with batches of {self._size}", RuntimeWarning, stacklevel=4)
