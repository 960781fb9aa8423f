#!/usr/bin/env python3
"""Converts a Qwen3 checkpoint folder to one GGUF file, for llama.cpp and OpenVINO.

Matrices get the chosen type, norms stay in float32, as in the files people publish.
"""

import argparse
import json
import re
from pathlib import Path

import gguf
import torch
from gguf.quants import quantize
from safetensors import safe_open

TYPES = {
    "F32": gguf.LlamaFileType.ALL_F32,
    "F16": gguf.LlamaFileType.MOSTLY_F16,
    "BF16": gguf.LlamaFileType.MOSTLY_BF16,
    "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "Q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
}
TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
BLOCK = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(name: str) -> str:
    stem = name.removesuffix(".weight")
    if stem in TOP:
        return f"{TOP[stem]}.weight"
    layer, rest = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", stem).groups()
    return f"blk.{layer}.{BLOCK[rest]}.weight"


def add_parameters(writer: gguf.GGUFWriter, config: dict) -> None:
    rope = config.get("rope_parameters") or {}
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config.get("rope_theta") or rope["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])


def add_tokenizer(writer: gguf.GGUFWriter, config: dict, tokenizer: dict) -> None:
    """A byte-level BPE; ids without a token (a vocabulary rounded up) get a name of their own."""
    special = {t["id"]: t["content"] for t in tokenizer["added_tokens"]}
    by_id = {i: t for t, i in tokenizer["model"]["vocab"].items()} | special
    ids = range(config["vocab_size"])
    kinds = (gguf.TokenType.CONTROL if i in special else gguf.TokenType.NORMAL if i in by_id else gguf.TokenType.UNUSED for i in ids)
    merges = tokenizer["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([by_id.get(i, f"<unused{i}>") for i in ids])
    writer.add_token_types([int(k) for k in kinds])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_add_bos_token(False)
    writer.add_eos_token_id(config["eos_token_id"])
    if config.get("bos_token_id") is not None:
        writer.add_bos_token_id(config["bos_token_id"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--type", choices=TYPES, default="BF16")
    args = parser.parse_args()
    config = json.loads((args.checkpoint / "config.json").read_text())
    tokenizer = json.loads((args.checkpoint / "tokenizer.json").read_text())
    kind = gguf.GGMLQuantizationType[args.type]
    writer = gguf.GGUFWriter(args.out, "qwen3", use_temp_file=True)
    writer.add_name(args.checkpoint.name)
    writer.add_file_type(TYPES[args.type])
    add_parameters(writer, config)
    add_tokenizer(writer, config, tokenizer)
    with safe_open(args.checkpoint / "model.safetensors", framework="pt") as file:
        for name in file.keys():
            values = file.get_tensor(name).to(torch.float32).numpy()
            if values.ndim == 1:
                writer.add_tensor(gguf_name(name), values)
            else:
                writer.add_tensor(gguf_name(name), quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(json.dumps({"out": str(args.out), "type": args.type, "bytes": args.out.stat().st_size}))


if __name__ == "__main__":
    main()
