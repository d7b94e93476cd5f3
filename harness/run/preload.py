"""Imported once by the fork server: the modules that stages import, and the work of libraries at their first use.

This way a worker starts in 0.1 seconds, not in 3. Nothing here may start a thread or touch a GPU, because a fork would
inherit a broken half of it.
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
# These objects stay: a worker's garbage collector then neither scans them nor copies the pages that they are on.
gc.freeze()
