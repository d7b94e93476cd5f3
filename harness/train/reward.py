"""Train a reward model: a causal language model with a single row of weights in place of its output matrix.

-log sigmoid(r_chosen - r_rejected), the mean over pairs        Bradley and Terry; Ouyang et al., arXiv 2203.02155
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.core.lines import numbered_lines, write_json, write_lines
from harness.core.seeds import derive_seed
from harness.models.batching import padded
from harness.models.chat import encode
from harness.models.load import check_finite, load_reward_model, load_tokenizer, quiet
from harness.models.rendering import Refused
from harness.train.api import Loss
from harness.train.batches import Cutting, EffectiveBatches
from harness.train.run import check_trainable, random_state_kept
from harness.train.saving import write_model
from harness.train.settings import OptimSettings
from harness.train.trainer import DistillTrainer, Progress, Report, arguments, last_checkpoint

Pair = dict[str, list[int]]
"""`chosen` and `rejected`: token ids of the conversation with either answer."""


def train_reward(
    base_folder: Path,
    pairs_path: Path,
    settings: OptimSettings,
    out: Path,
    work: Path,
    seed: int,
    progress: Progress,
) -> dict[str, Json]:
    """Train on preference pairs; write `model/` (one label), `log.jsonl` and `training.json` to `out`.

    A pair is a line {id, prompt or messages, chosen, rejected}: a question, or a conversation that ends with a
    question, and two answers. Settings that count conversations count pairs here. A pair is skipped and counted if an
    answer is blank, both are equal, either has more than `max_length` tokens, or the chat template refuses it. A
    stopped training continues from its last checkpoint.

    Returns:
        The content of `training.json`: rows, trained_rows, skipped by reason, steps.

    Raises:
        HarnessError: a line that is no pair, no pair to train on, a loss that is not finite.
    """
    check_trainable(base_folder)
    tokenizer = load_tokenizer(base_folder)
    pairs, skipped = read_pairs(pairs_path, tokenizer, settings.max_length)
    with random_state_kept():
        torch.manual_seed(derive_seed(seed, "reward head"))
        model = load_reward_model(base_folder, "float32", "cuda" if torch.cuda.is_available() else "cpu", new_head=True)
        check_finite(model, str(base_folder))
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        model.config.get_text_config().pad_token_id = pad
        args = arguments(settings, work, seed % 2**32, max_steps=settings.max_steps)
        cutting = Cutting(
            collate=lambda batch: collate_pairs(batch, pad),
            length=lambda pair: max(len(pair["chosen"]), len(pair["rejected"])),
            count=lambda pair: 1,
            filler=None,
            rows=settings.micro_rows,
            tokens=settings.micro_batch_tokens,
        )
        trainer = DistillTrainer(
            objective=lambda model, batch: Loss(reward_loss(model, batch)),
            dtype=settings.dtype,
            model=model,
            args=args,
            batches=EffectiveBatches(len(pairs), settings.batch_size, args.data_seed),
            train_dataset=pairs,
            data_collator=cutting,
            callbacks=[Report(progress)],
        )
        with quiet():
            trainer.train(resume_from_checkpoint=last_checkpoint(work))
    write_model(trainer.model, None, base_folder, out / "model")
    write_lines(out / "log.jsonl", (_log_line(entry) for entry in trainer.state.log_history if "loss" in entry))
    summary: dict[str, Json] = {
        "rows": len(pairs) + sum(skipped.values()),
        "trained_rows": len(pairs),
        "skipped": skipped,
        "steps": trainer.state.global_step,
    }
    write_json(out / "training.json", summary)
    return summary


def reward_loss(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """-log sigmoid(r_chosen - r_rejected) summed over the batch's pairs, in nats."""
    rewards = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0].float()
    chosen, rejected = rewards.chunk(2)
    return -torch.nn.functional.logsigmoid(chosen - rejected).sum()


def collate_pairs(pairs: Sequence[Pair], pad: int) -> dict[str, Tensor]:
    """B pairs to (2B, L) `input_ids` and `attention_mask`, the chosen answers first."""
    ids, mask = padded([pair[side] for side in ("chosen", "rejected") for pair in pairs], pad)
    return {"input_ids": ids, "attention_mask": mask}


def read_pairs(path: Path, tokenizer: Any, max_length: int) -> tuple[list[Pair], dict[str, int]]:
    """A file's pairs as tokens, and how many were skipped, by reason. HarnessError when all were."""
    pairs: list[Pair] = []
    skipped: Counter[str] = Counter()
    for number, record in numbered_lines(path):
        prompt, answers = _pair(record, f"{path}:{number}")
        if not all(answer.strip() for answer in answers):
            skipped["empty response"] += 1
        elif answers[0] == answers[1]:
            skipped["equal responses"] += 1
        else:
            chats = [[*prompt, {"role": "assistant", "content": answer}] for answer in answers]
            try:
                chosen, rejected = (encode(tokenizer, chat, max_length) for chat in chats)
            except Refused as error:
                skipped[error.what] += 1
                continue
            if chosen.truncated or rejected.truncated:
                skipped["beyond max_length"] += 1
            else:
                pairs.append({"chosen": chosen.input_ids, "rejected": rejected.input_ids})
    counts = dict(sorted(skipped.items()))
    if not pairs:
        reasons = ", ".join(f"{reason}: {n}" for reason, n in counts.items()) or "the file is empty"
        raise HarnessError(f"there is nothing to train on ({reasons})", where=str(path))
    return pairs, counts


def _pair(record: Any, where: str) -> tuple[list[dict[str, str]], tuple[str, str]]:
    """The prompt as messages, and the chosen and the rejected answer."""
    if isinstance(record, Mapping):
        answers = record.get("chosen"), record.get("rejected")
        prompt = record.get("messages") or record.get("prompt")
        if isinstance(prompt, str):
            prompt = [{"role": "user", "content": prompt}]
        if isinstance(answers[0], str) and isinstance(answers[1], str) and isinstance(prompt, list):
            return prompt, (answers[0], answers[1])
    raise HarnessError(
        "not a preference pair",
        where=where,
        fix="Write {id, prompt or messages, chosen, rejected} with texts as chosen and rejected.",
    )


def _log_line(entry: Mapping[str, Json]) -> dict[str, Json]:
    names = ("step", "loss", "learning_rate", "grad_norm")
    return {**{name: entry.get(name) for name in names}, "pairs": entry["tokens"]}
