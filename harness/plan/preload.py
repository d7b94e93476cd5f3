"""Imported once by the fork server: what stages import, so that a worker starts in a tenth of a second, not in three.

Nothing here may start a thread or touch a GPU: a fork would inherit half of it.
"""

import torch
import transformers.models.llama.modeling_llama
import transformers.models.mixtral.modeling_mixtral
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

import harness.generate.transformers_engine
import harness.models.chat
import harness.plan.worker
import harness.stages.registry
import harness.train.run

__all__ = ["AutoModelForCausalLM", "AutoTokenizer", "DynamicCache", "harness", "torch", "transformers"]
