"""A GGUF file of a few kilobytes: a Llama of one layer with a byte-level tokenizer."""

from pathlib import Path

import numpy as np

WIDTH, HEADS, INNER, CONTEXT = 8, 2, 16, 64
_LETTERS = [chr(c) for c in range(ord("!"), ord("~") + 1)] + ["Ġ", "Ċ"]
_MERGES = ["o n", "on e", "Ġ a"]
VOCABULARY = ["<s>", "</s>", *_LETTERS, "on", "one", "Ġa"]
_TEMPLATE = "{% for m in messages %}<s>{{ m['content'] }}</s>{% endfor %}"


def write_tiny_gguf(path: Path) -> Path:
    """Write the file; the same bytes every time."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(VOCABULARY))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(VOCABULARY)
    writer.add_token_types([3, 3] + [1] * (len(VOCABULARY) - 2))
    writer.add_token_merges(_MERGES)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_chat_template(_TEMPLATE)
    for name, shape in _shapes().items():
        count = int(np.prod(shape))
        values = np.ones(count) if "norm" in name else np.sin(np.arange(count) + len(name)) / 10
        writer.add_tensor(name, values.astype(np.float32).reshape(shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _shapes() -> dict[str, tuple[int, ...]]:
    square, up = (WIDTH, WIDTH), (INNER, WIDTH)
    block: dict[str, tuple[int, ...]] = {
        **{f"attn_{part}": square for part in ("q", "k", "v", "output")},
        "ffn_gate": up,
        "ffn_up": up,
        "ffn_down": (WIDTH, INNER),
        "attn_norm": (WIDTH,),
        "ffn_norm": (WIDTH,),
    }
    embedding = (len(VOCABULARY), WIDTH)
    ends: dict[str, tuple[int, ...]] = {"token_embd": embedding, "output": embedding, "output_norm": (WIDTH,)}
    return {f"{name}.weight": shape for name, shape in ends.items()} | {
        f"blk.0.{name}.weight": shape for name, shape in block.items()
    }
