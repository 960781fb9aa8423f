#!/usr/bin/env python3
"""Trains the demo model: addition of two numbers of one to three digits, character by character.

The text `128+345=` is continued with `473` and the end-of-sequence token. The network is an ordinary
Qwen3 (grouped-query attention, query/key norms, tied embedding), small enough to live in the repository,
and is written as a plain Hugging Face folder, so that the executor loads it like any other checkpoint.

    python executor/demo/train.py                 # train, round to bfloat16, export, evaluate
    python executor/demo/train.py --evaluate      # evaluate the exported folder only

The run is a pure function of `--seed` and `--threads`: batches come from one seeded generator, and every
reduction has a fixed order (the embedding is a one-hot matrix product for that reason: the backward of a
gather adds in whatever order the threads arrive).

Held-out rule: the unordered pair {a, b} is held out of training if
`splitmix64(1000 * min(a, b) + max(a, b)) % 50 == 0`; so neither `a+b=` nor `b+a=` is ever trained on.
"""

import argparse
import json
import math
import os
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHARS = "0123456789+="
PAD, EOS = 12, 13
SPECIALS = ["<pad>", "<eos>"]
VOCAB = 16  # twelve characters, two specials, and two unused rows to make it a round number
PROMPT_MAX, ANSWER_MAX = 8, 4
LENGTH = PROMPT_MAX + ANSWER_MAX  # inputs of one example; the end token is a label only
MASK64 = (1 << 64) - 1


def splitmix64(x: int) -> int:
    """The finaliser of splitmix64 applied to one step of its counter."""
    z = (x + 0x9E3779B97F4A7C15) & MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
    return z ^ (z >> 31)


def is_held_out(a: int, b: int) -> bool:
    """Whether training must never see `a+b=` (nor `b+a=`)."""
    return splitmix64(1000 * min(a, b) + max(a, b)) % 50 == 0


def held_out_prompts(count: int) -> list[dict[str, str]]:
    """`count` held-out prompts: all those with a number below ten, a quarter with one below a hundred, then any.

    Pairs drawn evenly would nearly all have three digits, so the short ones are taken first."""
    pairs = [(a, b) for a in range(1000) for b in range(1000) if is_held_out(a, b)]
    pairs.sort(key=lambda p: splitmix64(p[0] * 1000 + p[1] + (1 << 40)))
    groups = [[p for p in pairs if (min(p) >= 10) + (min(p) >= 100) == g] for g in range(3)]
    small, middle = groups[0][: count // 5], groups[1][: count // 4]
    chosen = small + middle + groups[2][: count - len(small) - len(middle)]
    return [{"prompt": f"{a}+{b}=", "answer": str(a + b)} for a, b in chosen]


def model_config():
    """The architecture, in the words of transformers."""
    from transformers import Qwen3Config

    return Qwen3Config(
        vocab_size=VOCAB,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=128,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
        attention_bias=False,
        initializer_range=0.02,
        bos_token_id=None,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )


class Batches:
    """Seeded training batches: token ids, labels (-100 where the prompt is) of shape [batch, LENGTH]."""

    def __init__(self, seed: int):
        import torch

        self.torch, self.generator = torch, torch.Generator().manual_seed(seed)
        n = torch.arange(2000)
        self.digits = torch.stack([n // 10**p % 10 for p in range(4)], 1)  # least significant first
        self.length = 1 + (n >= 10).long() + (n >= 100).long() + (n >= 1000).long()
        self.held_out = torch.tensor([[is_held_out(a, b) for b in range(1000)] for a in range(1000)])

    def draw_pairs(self, batch: int):
        """Pairs that favour long carries: three digits mostly, and for 40 % digits of `b` that complete those of `a`."""
        torch, g = self.torch, self.generator
        widths = torch.multinomial(torch.tensor([0.07, 0.18, 0.75]), 2 * batch, replacement=True, generator=g) + 1
        low = torch.tensor([0, 0, 10, 100])[widths]
        high = torch.tensor([0, 10, 100, 1000])[widths]
        n = low + (torch.rand(2 * batch, generator=g) * (high - low)).long()
        a, b = n[:batch], n[batch:]
        target = 9 + (torch.rand(batch, 3, generator=g) < 0.25).long()
        complement = (target - self.digits[a][:, :3]).clamp(0, 9)
        swap = torch.rand(batch, 3, generator=g) < 0.6
        mixed = torch.where(swap, complement, self.digits[b][:, :3])
        hard = mixed[:, 0] + 10 * mixed[:, 1] + 100 * mixed[:, 2]
        return a, torch.where(torch.rand(batch, generator=g) < 0.4, hard, b)

    def draw(self, batch: int):
        torch = self.torch
        a, b = self.draw_pairs(batch)
        while (held := self.held_out[a, b]).any():
            a2, b2 = self.draw_pairs(batch)
            a, b = torch.where(held, a2, a), torch.where(held, b2, b)
        return self.encode(a, b)

    def encode(self, a, b):
        """Left-aligned rows `a + b = sum <eos>`, shifted into inputs and labels."""
        torch = self.torch
        rows = torch.full((len(a), LENGTH + 1), PAD)
        labels = torch.full((len(a), LENGTH + 1), -100)
        at = torch.zeros(len(a), dtype=torch.long)
        index = torch.arange(len(a))

        def put(n, is_answer):
            nonlocal at
            for place in (3, 2, 1, 0):
                keep = self.length[n] > place
                rows[index[keep], at[keep]] = self.digits[n[keep], place]
                if is_answer:
                    labels[index[keep], at[keep]] = self.digits[n[keep], place]
                at = at + keep.long()

        put(a, False)
        rows[index, at] = CHARS.index("+")
        at = at + 1
        put(b, False)
        rows[index, at] = CHARS.index("=")
        at = at + 1
        put(a + b, True)
        rows[index, at] = EOS
        labels[index, at] = EOS
        return rows[:, :-1].contiguous(), labels[:, 1:].contiguous()


def exact_match(model, batches: Batches, prompts: list[dict[str, str]]) -> float:
    """Share of prompts answered exactly, end token included.

    Greedy decoding is right precisely when every teacher-forced argmax is, so one forward pass is enough."""
    torch = batches.torch
    pairs = torch.tensor([[int(n) for n in p["prompt"][:-1].split("+")] for p in prompts])
    ids, labels = batches.encode(pairs[:, 0], pairs[:, 1])
    with torch.no_grad():
        guess = model(input_ids=ids, use_cache=False).logits.argmax(-1)
    return ((guess == labels) | (labels == -100)).all(1).double().mean().item()


def train(args) -> float:
    """Trains and exports; returns the minutes it took."""
    import torch
    from torch.nn import functional as F
    from transformers import Qwen3ForCausalLM

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    model = Qwen3ForCausalLM(model_config())
    batches = Batches(args.seed)
    heldout = held_out_prompts(1000)

    hidden = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    optimizers = [
        torch.optim.Muon(hidden, lr=args.lr, weight_decay=0.05, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=args.lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]

    def loss_of(ids, labels):
        embedded = F.one_hot(ids, VOCAB).float() @ model.model.embed_tokens.weight
        logits = model(inputs_embeds=embedded, use_cache=False).logits
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)

    step_loss = loss_of if args.eager else torch.compile(loss_of)
    log = open(HERE / "train.log", "w", encoding="utf-8")

    def say(text):
        print(text, flush=True)
        print(text, file=log, flush=True)

    say(f"seed {args.seed} threads {args.threads} batch {args.batch} steps {args.steps} lr {args.lr}")
    say(f"parameters {sum(p.numel() for p in model.parameters())}")
    started = time.time()
    for step in range(args.steps):
        warm = min(1.0, (step + 1) / 100)
        decay = 0.5 * (1 + math.cos(math.pi * step / args.steps))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = args.lr * warm * decay
        loss = step_loss(*batches.draw(args.batch))
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if step % args.log_every == args.log_every - 1 or step + 1 == args.steps:
            minutes = (time.time() - started) / 60
            say(f"step {step + 1:5d} loss {loss.item():.6f} held-out {exact_match(model, batches, heldout):.4f} minutes {minutes:.1f}")
    minutes = (time.time() - started) / 60
    export(model.to(torch.bfloat16), Path(args.out))
    say(f"exported bfloat16 weights; training took {minutes:.1f} minutes")
    return minutes


def export(model, out: Path) -> None:
    """Writes the Hugging Face folder."""
    model.config._name_or_path = ""
    model.save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)
    greedy = {"do_sample": False, "eos_token_id": EOS, "pad_token_id": PAD}
    (out / "generation_config.json").write_text(json.dumps(greedy, indent=2) + "\n", encoding="utf-8")
    write_tokenizer(out)


def write_tokenizer(out: Path) -> None:
    """A token for each character, and a chat template that makes `128+345=` of a message `128 + 345`.

    There is no beginning-of-sequence token: a prompt is its characters and nothing else."""
    from tokenizers import Tokenizer, decoders, models

    vocab = {c: i for i, c in enumerate([*CHARS, *SPECIALS])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(SPECIALS)
    tokenizer.save(str(out / "tokenizer.json"))
    template = (
        "{%- set text = (messages | last)['content'] | replace(' ', '') | trim -%}"
        "{{- text -}}{%- if text[-1:] != '=' -%}={%- endif -%}"
    )
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "model_max_length": 128,
        "clean_up_tokenization_spaces": False,
        "chat_template": template,
    }
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def evaluate(out: Path, every_pair: bool) -> dict:
    """Greedy decoding of the exported folder by transformers, prompt by prompt as text, in f32 and in bfloat16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    prompts = held_out_prompts(1000)
    tokenizer = AutoTokenizer.from_pretrained(out)
    result = {"prompts": len(prompts)}
    for dtype in (torch.float32, torch.bfloat16):
        model = AutoModelForCausalLM.from_pretrained(out, dtype=dtype).eval()
        right = 0
        for length in sorted({len(p["prompt"]) for p in prompts}):
            group = [p for p in prompts if len(p["prompt"]) == length]
            ids = torch.tensor([tokenizer.encode(p["prompt"]) for p in group])
            made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False)[:, length:]
            for p, row in zip(group, made.tolist(), strict=True):
                wanted = [CHARS.index(c) for c in p["answer"]] + [EOS]
                right += row[: len(wanted)] == wanted
        result[str(dtype).removeprefix("torch.")] = right / len(prompts)
        if every_pair and dtype == torch.float32:
            result["all pairs"] = all_pairs(model)
    for text in ("128+345=", "128 + 345"):
        chat = tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True)
        assert chat == "128+345=", chat
    return result


def all_pairs(model) -> float:
    """Share of all million pairs answered exactly."""
    batches = Batches(0)
    torch = batches.torch
    right = 0
    b = torch.arange(1000)
    with torch.no_grad():
        for a in range(0, 1000, 2):
            first = torch.tensor([a, a + 1]).repeat_interleave(1000)
            ids, labels = batches.encode(first, b.repeat(2))
            guess = model(input_ids=ids, use_cache=False).logits.argmax(-1)
            right += ((guess == labels) | (labels == -100)).all(1).sum().item()
    return right / 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--out", default=str(HERE / "model"))
    parser.add_argument("--log-every", type=int, default=100)
    parser.add_argument("--eager", action="store_true", help="without torch.compile (needs no C++ compiler; slower, other rounding)")
    parser.add_argument("--evaluate", action="store_true", help="evaluate the exported folder only")
    parser.add_argument("--every-pair", action="store_true", help="also count the right answers over all million pairs (minutes)")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
    (HERE / "heldout.json").write_text(
        "[\n" + ",\n".join(json.dumps(p) for p in held_out_prompts(1000)) + "\n]\n", encoding="utf-8"
    )
    if not args.evaluate:
        train(args)
    print(json.dumps(evaluate(Path(args.out), args.every_pair)))


if __name__ == "__main__":
    main()
