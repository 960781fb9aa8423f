#!/usr/bin/env python3
"""llama.cpp (through llama-cpp-python) on the CPU: prefill and greedy decode in tokens per second, one JSON line."""

import argparse
import time

import llama_cpp
import numpy as np
from common import add_arguments, prompt, report, seconds_of


class Sequence:
    """The model's one sequence; tokens are fed and the best next one comes back."""

    def __init__(self, args):
        self.llama = llama_cpp.Llama(
            model_path=args.model,
            n_ctx=args.prefill + args.decode + 8,
            n_batch=max(512, args.prefill),
            n_ubatch=512,
            n_threads=args.threads,
            n_threads_batch=args.threads,
            flash_attn=args.flash,
            verbose=False,
        )
        self.vocab = self.llama.n_vocab()

    def feed(self, ids: list[int]) -> int:
        self.llama.eval(ids)
        logits = llama_cpp.llama_get_logits_ith(self.llama.ctx, -1)
        return int(np.ctypeslib.as_array(logits, (self.vocab,)).argmax())

    def clear(self) -> None:
        self.llama.reset()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--flash", action="store_true", help="llama.cpp's flash attention")
    args = parser.parse_args()
    sequence = Sequence(args)
    prefill_s, decode_s, token = [], [], 0
    for index in range(args.rounds + 1):
        sequence.clear()
        ids = prompt(index, args.prefill, sequence.vocab)
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
    features = llama_cpp.llama_print_system_info().decode().strip()
    report("llama.cpp", llama_cpp.__version__, args, prefill_s, decode_s, flash=args.flash, features=features)


if __name__ == "__main__":
    main()
