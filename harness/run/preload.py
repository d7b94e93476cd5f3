"""Imported once by the fork server: what stages import, and what libraries work out when they are first used.

So a worker starts in a tenth of a second, not in three. Nothing here may start a thread or touch a GPU: a fork would
inherit half of it.
"""

import gc

import torch
import transformers.models.llama.modeling_llama
import transformers.models.mixtral.modeling_mixtral
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.conversion_mapping import get_checkpoint_conversion_mapping

import harness.generate.transformers_engine
import harness.models.chat
import harness.run.worker
import harness.stages.registry
import harness.train.run
from harness.core.discover import in_tree
from harness.store.provenance import provenance

__all__ = ["AutoModelForCausalLM", "AutoTokenizer", "DynamicCache", "harness", "torch", "transformers"]

get_checkpoint_conversion_mapping("llama")  # The first call compiles the patterns of every architecture.
provenance()
for room, exported in (
    ("bench", "BENCHMARK"),
    ("judge.forms", "FORM"),
    ("teachers.scores", "SCORE"),
    ("train.steps", "STEP"),
):
    in_tree(f"harness.{room}", exported)  # ours alone: plug-ins are a worker's, since each run has its own
# What is there by now stays: a worker's collections need not look at it, nor copy the pages that they would write to.
gc.freeze()
