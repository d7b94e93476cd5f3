"""How much of a teacher's divergence is lost when only its k likeliest tokens are stored, and what float16 would cost.

    python benchmarks/topk_bias.py TEACHER STUDENT CONVERSATIONS [--rows 32] [--temperature 1]

TEACHER and STUDENT are Hugging Face folders with one tokenizer, CONVERSATIONS a `conversations.jsonl` of the store.
Prints, in nats per response token, KL(teacher || student) over the whole vocabulary and, for each k, over the k
likeliest tokens of the teacher and one bucket for the rest, its share of the whole, the mass that is left, and the mean
absolute error that storing log-probabilities in float16 would add.
"""

import argparse
from itertools import islice
from pathlib import Path

import torch

from harness.data.conversations import read_conversations
from harness.models.chat import encode
from harness.models.divergences import Divergence, divergence_of, top_divergence
from harness.models.load import load_model, load_tokenizer, output_head
from harness.models.logprobs import Head, TopTarget, top_logprobs
from harness.train.losses import IGNORED, response_states

KS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("teacher", "student", "conversations"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--temperature", type=float, default=1.0)
    given = parser.parse_args()
    words = len(load_tokenizer(given.teacher))
    (teacher, head), (student, student_head) = (states(folder, given) for folder in (given.teacher, given.student))
    mine = student_head[:words].logits(student) / given.temperature
    whole = (head[:words].logits(teacher) / given.temperature).log_softmax(-1)
    full = divergence_of(Divergence(), mine.log_softmax(-1), whole)[0].mean().item()
    print(f"{len(student)} positions, {words} words, KL {full:.5f} nats per token")
    print(f"{'k':>4} {'KL':>9} {'share':>7} {'mass left':>10} {'float16 error':>14}")
    for k in (k for k in KS if k < words):
        top = top_logprobs(teacher, head[:words], k, given.temperature)
        half = TopTarget(top.ids, top.logprobs.half().float())
        kept, rounded = (top_divergence(Divergence(), mine.clone(), target)[0] for target in (top, half))
        left = (1 - top.logprobs.exp().sum(-1)).mean().item()
        error = (kept - rounded).abs().mean().item()
        print(f"{k:>4} {kept.mean():>9.5f} {kept.mean() / full:>7.1%} {left:>10.2e} {error:>14.1e}")


def states(folder: Path, given: argparse.Namespace) -> tuple[torch.Tensor, Head]:
    """The hidden states at the response positions of the first rows, and what makes logits of them."""
    tokenizer, model = load_tokenizer(folder), load_model(folder, "float32")
    found = []
    with torch.inference_mode():
        for one in islice(read_conversations(given.conversations), given.rows):
            encoded = encode(tokenizer, one.messages, given.max_length)
            labels = [i if r else IGNORED for i, r in zip(encoded.input_ids, encoded.response_mask, strict=True)]
            ids = torch.tensor([encoded.input_ids])
            batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.tensor([labels])}
            found.append(response_states(model, batch))
        return torch.cat(found), output_head(model.requires_grad_(False))


if __name__ == "__main__":
    main()
