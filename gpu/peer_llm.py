#!/usr/bin/env python3
"""Hugging Face transformers on this GPU: prefill and greedy decode of one sequence in tokens per second, as a JSON file.

Decode runs over a static cache through torch.compile with CUDA graphs; where that fails or takes too long, the uncompiled model's
figure stands, and the file says so.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
import transformers


def rates(tokens: int, seconds: list[float]) -> dict:
    return {"best": tokens / min(seconds), "median": tokens / statistics.median(seconds)}


class Sequence:
    """One sequence over a static cache."""

    def __init__(self, model, length: int):
        self.model = model
        self.cache = transformers.StaticCache(config=model.config, max_cache_len=length)
        self.at = 0

    def feed(self, ids, step):
        places = torch.arange(self.at, self.at + ids.shape[1], device=ids.device)
        self.at += ids.shape[1]
        out = step(
            input_ids=ids, past_key_values=self.cache, use_cache=True, cache_position=places,
            position_ids=places[None], logits_to_keep=1,
        )  # fmt: skip
        return out.logits[:, -1].argmax(-1, keepdim=True)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=200.0)
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    ends = time.monotonic() + args.seconds
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.bfloat16).cuda().eval()
    report = {
        "peer": f"transformers {transformers.__version__} on torch {torch.__version__}",
        "prefill_tokens": args.prefill,
        "decode_tokens": args.decode,
    }

    def measure(step, mode: str) -> None:
        prefill_s, decode_s = [], []
        # The first round compiles and warms up.
        for index in range(args.rounds + 1):
            if index > 1 and time.monotonic() > ends:
                break
            sequence = Sequence(model, args.prefill + args.decode)
            ids = torch.randint(model.config.vocab_size, (1, args.prefill), device="cuda")
            torch.cuda.synchronize()
            began = time.perf_counter()
            token = sequence.feed(ids, model.forward)
            torch.cuda.synchronize()
            prefilled = time.perf_counter()
            for _ in range(args.decode):
                token = sequence.feed(token.clone(), step)
            torch.cuda.synchronize()
            if index > 0:
                prefill_s.append(prefilled - began)
                decode_s.append(time.perf_counter() - prefilled)
        report["mode"] = mode
        report["prefill_tokens_per_s"] = rates(args.prefill, prefill_s)
        report["decode_tokens_per_s"] = rates(args.decode, decode_s)
        args.json.write_text(json.dumps(report, indent=1) + "\n")

    measure(model.forward, "eager")
    report["eager_decode_tokens_per_s"] = report["decode_tokens_per_s"]
    if time.monotonic() < ends:
        try:
            measure(torch.compile(model.forward, mode="reduce-overhead", fullgraph=True), "torch.compile")
        except Exception as error:  # What the compiler refuses is an answer.
            report["compile_error"] = f"{type(error).__name__}: {error}"[:1000]
            args.json.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
