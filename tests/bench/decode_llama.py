"""Tokens a second of llama.cpp, through the low-level interface of llama-cpp-python: decode_llama.py FILE SEQUENCES [STEPS]
Each sequence has a prompt of 32 tokens; then all take a token a step, one batch a step. Nothing is sampled: ids are made up. Prints one number."""
import ctypes
import sys
import time

import llama_cpp as L

PROMPT, WARM, THREADS = 32, 2, 2


@L.llama_log_callback
def quiet(level, text, data):
    pass


def main(path, n, steps):
    L.llama_log_set(quiet, ctypes.c_void_p(0))
    L.llama_backend_init()
    mp = L.llama_model_default_params()
    mp.n_gpu_layers = 0
    model = L.llama_model_load_from_file(path.encode(), mp)
    cp = L.llama_context_default_params()
    cp.n_ctx = n * 256
    cp.n_batch = cp.n_ubatch = max(512, n)
    cp.n_seq_max = n
    cp.n_threads = cp.n_threads_batch = THREADS
    cp.no_perf = True
    context = L.llama_init_from_model(model, cp)
    batch = L.llama_batch_init(max(512, n), 0, 1)

    def put(i, token, position, sequence, wanted):
        batch.token[i] = token
        batch.pos[i] = position
        batch.n_seq_id[i] = 1
        batch.seq_id[i][0] = sequence
        batch.logits[i] = wanted

    for s in range(n):
        for p in range(PROMPT):
            put(p, 300 + (37 * s + 11 * p) % 20000, p, s, p == PROMPT - 1)
        batch.n_tokens = PROMPT
        assert L.llama_decode(context, batch) == 0
    for step in range(WARM + steps):
        if step == WARM:
            began = time.perf_counter()
        for s in range(n):
            put(s, 300 + (101 * step + s) % 20000, PROMPT + step, s, True)
        batch.n_tokens = n
        assert L.llama_decode(context, batch) == 0
        L.llama_get_logits(context)  # waits for them
    print(round(n * steps / (time.perf_counter() - began), 1))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 32)
