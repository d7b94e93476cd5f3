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
from harness.core.discover import discover
from harness.judge.protocol import forms
from harness.store.provenance import provenance
from harness.train.api import steps

__all__ = ["AutoModelForCausalLM", "AutoTokenizer", "DynamicCache", "harness", "torch", "transformers"]

get_checkpoint_conversion_mapping("llama")  # The first call compiles the patterns of every architecture.
for known in (provenance, forms, steps):
    known()
discover("harness.bench", "BENCHMARK")
# These objects stay: a worker's garbage collector then neither scans them nor copies the pages that they are on.
gc.freeze()
