#!/usr/bin/env python3
"""OpenVINO GenAI on the CPU, from a GGUF file: prefill and greedy decode in tokens per second, one JSON line.

Prefill time is its time to the first token, decode time its mean time per further token.
"""

import argparse

import numpy as np
import openvino
import openvino_genai
from common import add_arguments, prompt, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--vocab", type=int, default=32000, help="prompt ids are below this")
    parser.add_argument("--property", action="append", default=[], metavar="KEY=VALUE", help="plugin property, e.g. KV_CACHE_PRECISION=f16")
    args = parser.parse_args()
    properties = {"INFERENCE_NUM_THREADS": args.threads} | dict(p.split("=", 1) for p in args.property)
    pipeline = openvino_genai.LLMPipeline(args.model, "CPU", **properties)
    greedy = openvino_genai.GenerationConfig()
    greedy.max_new_tokens = args.decode + 1
    greedy.do_sample = False
    greedy.ignore_eos = True
    prefill_s, decode_s = [], []
    for index in range(args.rounds + 1):
        ids = np.array([prompt(index, args.prefill, args.vocab)], dtype=np.int64)
        metrics = pipeline.generate(openvino.Tensor(ids), greedy).perf_metrics
        if index > 0:
            prefill_s.append(metrics.get_ttft().mean / 1e3)
            decode_s.append(metrics.get_tpot().mean / 1e3 * args.decode)
    version = openvino_genai.__version__
    report("openvino-genai", version, args, prefill_s, decode_s, properties={k: str(v) for k, v in properties.items()})


if __name__ == "__main__":
    main()
