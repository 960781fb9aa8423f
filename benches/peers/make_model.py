#!/usr/bin/env python3
"""Writes a random checkpoint in the shape of Qwen3-0.6B as a Hugging Face folder, with a tokenizer of its own.

Speed does not depend on the values of weights, so nothing needs to be downloaded. The tokenizer is a byte-level BPE learned
from the Python standard library; the vocabulary is 32,000 (the published model's is 151,936), so that it can be learned at all:
473 million parameters with 28 layers.
"""

import argparse
import json
import sysconfig
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

HIDDEN, INTERMEDIATE, HEADS, KV_HEADS, HEAD, VOCAB = 1024, 3072, 16, 8, 128, 32000
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{%- for m in messages -%}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)


def config(layers: int) -> dict:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": VOCAB,
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "rope_scaling": None,
        "max_position_embeddings": 40960,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
        "use_sliding_window": False,
        "sliding_window": None,
        "max_window_layers": layers,
        "use_cache": True,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "torch_dtype": "bfloat16",
    }


def weights(layers: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)

    def normal(rows, columns):
        return (0.02 * torch.randn(rows, columns, generator=generator)).bfloat16()

    def ones(n):
        return torch.ones(n, dtype=torch.bfloat16)

    out = {"model.embed_tokens.weight": normal(VOCAB, HIDDEN), "model.norm.weight": ones(HIDDEN)}
    shapes = {
        "self_attn.q_proj": (HEADS * HEAD, HIDDEN),
        "self_attn.k_proj": (KV_HEADS * HEAD, HIDDEN),
        "self_attn.v_proj": (KV_HEADS * HEAD, HIDDEN),
        "self_attn.o_proj": (HIDDEN, HEADS * HEAD),
        "mlp.gate_proj": (INTERMEDIATE, HIDDEN),
        "mlp.up_proj": (INTERMEDIATE, HIDDEN),
        "mlp.down_proj": (HIDDEN, INTERMEDIATE),
    }
    norms = {
        "input_layernorm": HIDDEN,
        "post_attention_layernorm": HIDDEN,
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--tokenizer", type=Path, help="copy this tokenizer.json rather than learn one")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    made = Tokenizer.from_file(str(args.tokenizer)) if args.tokenizer else tokenizer()
    made.save(str(args.out / "tokenizer.json"))
    (args.out / "config.json").write_text(json.dumps(config(args.layers), indent=2) + "\n")
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
    tensors = weights(args.layers)
    save_file(tensors, args.out / "model.safetensors", metadata={"format": "pt"})
    parameters = sum(t.numel() for t in tensors.values())
    print(json.dumps({"out": str(args.out), "parameters": parameters, "vocabulary": made.get_vocab_size()}))


if __name__ == "__main__":
    main()
