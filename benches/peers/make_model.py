#!/usr/bin/env python3
"""Writes a random checkpoint in the shape of Qwen3-0.6B or Qwen3-8B as a Hugging Face folder, with a tokenizer of its own.

Speed does not depend on the values of weights, so nothing needs to be downloaded. The tokenizer is a byte-level BPE learned
from the Python standard library; the vocabulary is 32,000 (the published models' is 151,936), so that it can be learned at all:
473 million parameters with the 28 layers of 0.6B. With --bytes the tokenizer has a token per byte and no more, in no time, and
--vocabulary says how many rows the embedding has.
"""

import argparse
import json
import sysconfig
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SHAPES = {
    "qwen3-0.6b": {"hidden": 1024, "intermediate": 3072, "heads": 16, "kv_heads": 8, "layers": 28, "tied": True},
    "qwen3-8b": {"hidden": 4096, "intermediate": 12288, "heads": 32, "kv_heads": 8, "layers": 36, "tied": False},
}
HEAD, VOCAB = 128, 32000
# Most bytes of one file of weights.
SHARD_BYTES = 4 << 30
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{%- for m in messages -%}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)


def config(shape: dict, layers: int, vocabulary: int) -> dict:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": vocabulary,
        "hidden_size": shape["hidden"],
        "intermediate_size": shape["intermediate"],
        "num_hidden_layers": layers,
        "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["kv_heads"],
        "head_dim": HEAD,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "rope_scaling": None,
        "max_position_embeddings": 40960,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "tie_word_embeddings": shape["tied"],
        "use_sliding_window": False,
        "sliding_window": None,
        "max_window_layers": layers,
        "use_cache": True,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "torch_dtype": "bfloat16",
    }


def weights(shape: dict, layers: int, vocabulary: int, device: str) -> dict[str, torch.Tensor]:
    generator = torch.Generator(device).manual_seed(0)
    hidden, q_width, kv_width = shape["hidden"], shape["heads"] * HEAD, shape["kv_heads"] * HEAD

    def normal(rows, columns):
        return (0.02 * torch.randn(rows, columns, generator=generator, device=device)).bfloat16().cpu()

    def ones(n):
        return torch.ones(n, dtype=torch.bfloat16)

    out = {"model.embed_tokens.weight": normal(vocabulary, hidden), "model.norm.weight": ones(hidden)}
    if not shape["tied"]:
        out["lm_head.weight"] = normal(vocabulary, hidden)
    shapes = {
        "self_attn.q_proj": (q_width, hidden),
        "self_attn.k_proj": (kv_width, hidden),
        "self_attn.v_proj": (kv_width, hidden),
        "self_attn.o_proj": (hidden, q_width),
        "mlp.gate_proj": (shape["intermediate"], hidden),
        "mlp.up_proj": (shape["intermediate"], hidden),
        "mlp.down_proj": (hidden, shape["intermediate"]),
    }
    norms = {
        "input_layernorm": hidden,
        "post_attention_layernorm": hidden,
        "self_attn.q_norm": HEAD,
        "self_attn.k_norm": HEAD,
    }
    for layer in range(layers):
        out |= {f"model.layers.{layer}.{name}.weight": normal(*shape) for name, shape in shapes.items()}
        out |= {f"model.layers.{layer}.{name}.weight": ones(n) for name, n in norms.items()}
    return out


def tokenizer() -> Tokenizer:
    """Learned from the standard library's own modules (no tests, no installed packages), in the order of their paths."""
    library = Path(sysconfig.get_paths()["stdlib"])
    skipped = {"site-packages", "test", "tests", "__pycache__"}
    files = [f for f in sorted(library.rglob("*.py")) if not skipped & set(f.relative_to(library).parts)]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator((f.read_text(encoding="utf-8", errors="ignore") for f in files), trainer)
    return made


def tokenizer_of_bytes() -> Tokenizer:
    """A token for each byte, and the special ones."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*SPECIALS, *alphabet])}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(SPECIALS)
    return made


def save(tensors: dict[str, torch.Tensor], out: Path) -> None:
    """One file, or several with their index."""
    shards, size = [{}], 0
    for name, tensor in tensors.items():
        if size + tensor.nbytes > SHARD_BYTES and shards[-1]:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    if len(shards) == 1:
        save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
        return
    places = {}
    for number, shard in enumerate(shards):
        file = f"model-{number + 1:05}-of-{len(shards):05}.safetensors"
        save_file(shard, out / file, metadata={"format": "pt"})
        places |= dict.fromkeys(shard, file)
    index = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": places}
    (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="qwen3-0.6b")
    parser.add_argument("--layers", type=int, help="fewer than the shape has")
    parser.add_argument("--vocabulary", type=int, default=VOCAB, help="rows of the embedding")
    parser.add_argument("--device", default="cpu", help="where the numbers are made: cpu or cuda")
    parser.add_argument("--bytes", action="store_true", help="a tokenizer of single bytes")
    parser.add_argument("--tokenizer", type=Path, help="copy this tokenizer.json rather than learn one")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    shape = SHAPES[args.shape]
    layers = args.layers or shape["layers"]
    if args.tokenizer:
        made = Tokenizer.from_file(str(args.tokenizer))
    else:
        made = tokenizer_of_bytes() if args.bytes else tokenizer()
    made.save(str(args.out / "tokenizer.json"))
    (args.out / "config.json").write_text(json.dumps(config(shape, layers, args.vocabulary), indent=2) + "\n")
    generation = {"bos_token_id": 0, "eos_token_id": 2, "do_sample": False}
    (args.out / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "model_max_length": 40960,
        "clean_up_tokenization_spaces": False,
        "chat_template": TEMPLATE,
    }
    (args.out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    tensors = weights(shape, layers, args.vocabulary, args.device)
    save(tensors, args.out)
    parameters = sum(t.numel() for t in tensors.values())
    print(json.dumps({"out": str(args.out), "parameters": parameters, "vocabulary": made.get_vocab_size()}))


if __name__ == "__main__":
    main()
