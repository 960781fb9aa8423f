#!/usr/bin/env python3
"""Hugging Face transformers on the CPU: prefill and greedy decode in tokens per second, one JSON line."""

import argparse
import time

import torch
import transformers
from common import add_arguments, prompt, report, seconds_of

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


class Sequence:
    """One sequence: a prompt and what was decoded after it."""

    def __init__(self, model):
        self.model, self.cache = model, None

    def feed(self, ids: list[int]) -> int:
        out = self.model(torch.tensor([ids]), past_key_values=self.cache, use_cache=True, logits_to_keep=1)
        self.cache = out.past_key_values
        return out.logits[0, -1].argmax().item()


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--attention", choices=["sdpa", "eager"], default="sdpa")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        args.model, dtype=DTYPES[args.dtype], attn_implementation=args.attention
    ).eval()
    prefill_s, decode_s, token = [], [], 0

    for index in range(args.rounds + 1):
        sequence, ids = Sequence(model), prompt(index, args.prefill, model.config.vocab_size)
        started = time.perf_counter()
        token = sequence.feed(ids)
        prefilled = time.perf_counter() - started

        def decode():
            nonlocal token
            for _ in range(args.decode):
                token = sequence.feed([token])

        decoded = seconds_of(decode)
        if index > 0:
            prefill_s.append(prefilled)
            decode_s.append(decoded)
    version = f"{transformers.__version__} on torch {torch.__version__}"
    report("transformers", version, args, prefill_s, decode_s, dtype=args.dtype, attention=args.attention)


if __name__ == "__main__":
    main()
