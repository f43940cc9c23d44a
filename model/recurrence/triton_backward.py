# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Triton kernels of one decoder step backward, and of what follows the loop over the steps. Conventions in `triton_shared`."""

import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]

from model.recurrence.triton_shared import filters, kernel, tanh, windows


@triton.jit
def weights_backward(
    d_total, d_windows, old_sums, d_alignment, memory, after, limit, N,  # read
    new_sums, d_weights,  # written
    E: tl.constexpr, K: tl.constexpr, ACC: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_W: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Compute the gradients of one utterance's weights and of their running sum; return the weights' mean gradient."""
    e, w = tl.arange(0, BLOCK_E), tl.arange(0, BLOCK_W)[:, None]
    mean = tl.zeros((BLOCK_M,), dtype=ACC)
    for start in tl.range(0, limit, BLOCK_M, num_stages=STAGES):
        n = start + tl.arange(0, BLOCK_M)
        rows = tl.load(memory + n[:, None] * E + e[None, :], mask=(n < limit)[:, None] & (e < E)[None, :], other=0.0)
        # A symbol has place k in the window of the symbol k - K // 2 before it.
        at = n[None, :] - w % K + K // 2
        window = tl.load(d_windows + w * N + at, mask=(w < 2 * K) & (at >= 0) & (at < limit), other=0.0)
        d_sum = tl.load(old_sums + n, mask=n < limit, other=0.0) + tl.sum(tl.where(w < K, 0.0, window), 0)
        tl.store(new_sums + n, d_sum, mask=n < limit)
        d_weight = tl.sum(rows.to(ACC) * d_total[None, :], 1) + tl.sum(tl.where(w < K, window, 0.0), 0) + d_sum
        d_weight += tl.load(d_alignment + n, mask=n < limit, other=0.0)
        tl.store(d_weights + n, d_weight, mask=n < limit)
        mean += tl.load(after + n, mask=n < limit, other=0.0) * d_weight
    return tl.sum(mean, 0)


@kernel
def attention_backward(
    d_context, d_alignment, d_fed, memory, keys, limits, location, energy, queries, history,  # read
    d_weights, d_windows, d_sums, d_contexts, d_scores, d_queries,  # written; d_windows and d_sums are carried
    t, B, N,
    A: tl.constexpr, E: tl.constexpr, D: tl.constexpr, K: tl.constexpr, SPLIT: tl.constexpr,
    ACC: tl.constexpr, MULTIPLY: tl.constexpr, PRODUCTS: tl.constexpr, FEATURES: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_M: tl.constexpr, STAGES: tl.constexpr,
    BLOCK_E: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_W: tl.constexpr,
):  # fmt: skip
    """Turn the gradients of one utterance's context and alignment into those of its query and of its location windows.

    `d_windows` holds the gradient of the next step's windows on entry, and of this step's on return.
    """
    b = tl.program_id(0)
    utterance = b.to(tl.int64) * N
    now = tl.cast(t, tl.int64) * B + b
    before, after = history + now * 2 * N, history + (now + B) * 2 * N
    memory, keys, d_windows = memory + utterance * E, keys + utterance * D, d_windows + utterance * BLOCK_W
    d_weights, d_alignment, d_scores = d_weights + utterance, d_alignment + now * N, d_scores + now * N
    old_sums, new_sums = d_sums + ((t + 1) % 2 * B + b) * N, d_sums + (t % 2 * B + b) * N
    limit = tl.load(limits + b)
    e, w = tl.arange(0, BLOCK_E), tl.arange(0, BLOCK_W)[:, None]
    d_total = tl.load(d_context + now * E + e, mask=e < E, other=0.0).to(ACC)
    for s in tl.static_range(SPLIT):
        d_total += tl.load(d_fed + (s * B + b) * (E + A) + e, mask=e < E, other=0.0)
    tl.store(d_contexts + now * E + e, d_total, mask=e < E)
    mean = weights_backward(
        d_total, d_windows, old_sums, d_alignment, memory, after, limit, N, new_sums, d_weights,
        E, K, ACC, BLOCK_M, BLOCK_E, BLOCK_W, STAGES,
    )  # fmt: skip
    tl.debug_barrier()  # other threads read the d_weights written above, and write the d_windows read above
    for first in tl.static_range(0, D, BLOCK_D):
        d = first + tl.arange(0, BLOCK_D)
        query = tl.load(queries + now * D + d, mask=d < D, other=0.0)
        v = tl.load(energy + d, mask=d < D, other=0.0).to(ACC)
        filter = filters(location, d, D, K, BLOCK_W)
        d_query = tl.zeros((BLOCK_D,), dtype=ACC)
        for start in range(0, limit, BLOCK_N):
            n = start + tl.arange(0, BLOCK_N)
            d_weight = tl.load(d_weights + n, mask=n < limit, other=0.0)
            d_score = tl.load(after + n, mask=n < limit, other=0.0) * (d_weight - mean)
            tl.store(d_scores + n, d_score, mask=n < limit)
            key = tl.load(keys + n[:, None] * D + d[None, :], mask=(n < limit)[:, None] & (d < D)[None, :], other=0.0)
            rows = windows(before, n, N, K, BLOCK_W).to(FEATURES)
            squash = tanh(tl.dot(rows, filter.to(FEATURES), out_dtype=ACC, input_precision="ieee") + key + query[None, :])
            d_inner = (1 - squash * squash) * v[None, :] * d_score[:, None]
            d_query += tl.sum(d_inner, 0)
            taps, d_inner = filter.to(PRODUCTS).to(MULTIPLY), d_inner.to(PRODUCTS).to(MULTIPLY)
            window = tl.dot(taps, tl.trans(d_inner), out_dtype=ACC, input_precision="ieee")
            at = d_windows + w * N + n[None, :]
            if first > 0:
                window += tl.load(at, mask=(n < limit)[None, :], other=0.0)
                tl.debug_barrier()  # a sum may be read by several threads, one of them writes it
            tl.store(at, window, mask=(n < limit)[None, :])
        tl.store(d_queries + now * D + d, d_query, mask=d < D)
        if first + BLOCK_D < D:
            tl.debug_barrier()  # other threads read the d_windows written above


@kernel
def lstm_backward(
    d_hidden, d_fed, d_queries, query, dropout, before, cells,  # read
    d_cells, d_gates,  # written; d_cells is carried
    t, B,
    A: tl.constexpr, E: tl.constexpr, D: tl.constexpr, SPLIT: tl.constexpr,
    ACC: tl.constexpr, MULTIPLY: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_A: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Turn the gradients of a tile of hidden states and of the queries into those of its gates."""
    step = tl.cast(t, tl.int64) * B
    before, d_gates, cells = before + step * 4 * A, d_gates + step * 4 * A, cells + step * A
    old_cells, new_cells = d_cells + (t + 1) % 2 * B * A, d_cells + t % 2 * B * A
    # The tile as rows of four units gives one register layout for every type.
    i = tl.arange(0, BLOCK_B * BLOCK_A // 4)[:, None]
    b = tl.program_id(1) * BLOCK_B + i // (BLOCK_A // 4)
    a = tl.program_id(0) * BLOCK_A + i % (BLOCK_A // 4) * 4 + tl.arange(0, 4)[None, :]
    here = (b < B) & (a < A)
    gate, unit = b * (4 * A) + a, b * A + a
    enter = tl.load(before + gate, mask=here, other=0.0)
    forget = tl.load(before + gate + A, mask=here, other=0.0)
    leave = tl.load(before + gate + 2 * A, mask=here, other=0.0)
    new = tl.load(before + gate + 3 * A, mask=here, other=0.0)
    cell = tl.load(cells + unit, mask=here, other=0.0)
    next_cell = tl.load(cells + B * A + unit, mask=here, other=0.0)
    d_cell = tl.load(old_cells + unit, mask=here, other=0.0)
    d_state = tl.load(d_hidden + step * A + unit, mask=here, other=0.0).to(ACC)
    for s in tl.static_range(SPLIT):
        d_state += tl.load(d_fed + (s * B + b) * (E + A) + E + a, mask=here, other=0.0)
    b = tl.program_id(1) * BLOCK_B + tl.arange(0, BLOCK_B)
    a = tl.program_id(0) * BLOCK_A + tl.arange(0, BLOCK_A)
    queried = tl.zeros((BLOCK_B, BLOCK_A), dtype=ACC)
    for start in tl.static_range(0, D, BLOCK_D):
        d = start + tl.arange(0, BLOCK_D)
        x = tl.load(d_queries + step * D + b[:, None] * D + d[None, :], mask=(b < B)[:, None] & (d < D)[None, :], other=0.0)
        w = tl.load(query + d[:, None] * A + a[None, :], mask=(d < D)[:, None] & (a < A)[None, :], other=0.0)
        queried = tl.dot(x.to(MULTIPLY), w.to(MULTIPLY), queried, out_dtype=ACC, input_precision="ieee")
    d_state += tl.reshape(queried, (BLOCK_B * BLOCK_A // 4, 4))
    if dropout is not None:
        d_state *= tl.load(dropout + step * A + unit, mask=here, other=0.0)
    enter, forget, leave = tl.sigmoid(enter.to(ACC)), tl.sigmoid(forget.to(ACC)), tl.sigmoid(leave.to(ACC))
    new, squash = tanh(new.to(ACC)), tanh(next_cell)
    d_cell += d_state * leave * (1 - squash * squash)
    tl.store(new_cells + unit, d_cell * forget, mask=here)
    tl.store(d_gates + gate, d_cell * new * enter * (1 - enter), mask=here)
    tl.store(d_gates + gate + A, d_cell * cell * forget * (1 - forget), mask=here)
    tl.store(d_gates + gate + 2 * A, d_state * squash * leave * (1 - leave), mask=here)
    tl.store(d_gates + gate + 3 * A, d_cell * enter * (1 - new * new), mask=here)


@kernel
def recurrent_backward(
    d_gates, recurrent,  # read
    d_fed,  # written
    t, B,
    A: tl.constexpr, E: tl.constexpr, SPLIT: tl.constexpr,
    ACC: tl.constexpr, MULTIPLY: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_X: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Multiply d_gates[t] (B, 4A) by `recurrent` (4A, E + A), over one of SPLIT shares of the 4A rows: d_fed (SPLIT, B, E + A).

    The readers of `d_fed` add up the shares: there are too few tiles to fill the device, so each share has its own programs.
    """
    x = tl.program_id(0) * BLOCK_X + tl.arange(0, BLOCK_X)
    b = tl.program_id(1) * BLOCK_B + tl.arange(0, BLOCK_B)
    share: tl.constexpr = (4 * A + SPLIT * BLOCK_K - 1) // (SPLIT * BLOCK_K) * BLOCK_K
    d_gates += tl.cast(t, tl.int64) * B * 4 * A
    total = tl.zeros((BLOCK_B, BLOCK_X), dtype=ACC)
    for start in range(0, share, BLOCK_K):
        k = tl.program_id(2) * share + start + tl.arange(0, BLOCK_K)
        gate = tl.load(d_gates + b[:, None] * (4 * A) + k[None, :], mask=(b < B)[:, None] & (k < 4 * A)[None, :], other=0.0)
        at = recurrent + k[:, None] * (E + A) + x[None, :]
        w = tl.load(at, mask=(k < 4 * A)[:, None] & (x < E + A)[None, :], other=0.0)
        total = tl.dot(gate.to(MULTIPLY), w.to(MULTIPLY), total, out_dtype=ACC, input_precision="ieee")
    at = d_fed + (tl.program_id(2) * B + b)[:, None] * (E + A) + x[None, :]
    tl.store(at, total, mask=(b < B)[:, None] & (x < E + A)[None, :])


@kernel
def deferred_backward(
    d_scores, queries, history, keys, limits, location, energy,  # read
    d_keys, d_location, d_energy,  # written
    T, B, N,
    D: tl.constexpr, K: tl.constexpr,
    ACC: tl.constexpr, MULTIPLY: tl.constexpr, PRODUCTS: tl.constexpr, FEATURES: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_W: tl.constexpr,
):  # fmt: skip
    """Sum the gradients of keys, filters and energy vector over all steps, for a tile of symbols and units of one utterance."""
    b = tl.program_id(2)
    utterance = b.to(tl.int64) * N
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    d, w = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_W)[None, :]
    limit = tl.load(limits + b)
    key = tl.load(keys + utterance * D + n[:, None] * D + d[None, :], mask=(n < limit)[:, None] & (d < D)[None, :], other=0.0)
    v = tl.load(energy + d, mask=d < D, other=0.0).to(ACC)
    filter = filters(location, d, D, K, BLOCK_W).to(FEATURES)
    key_sum = tl.zeros((BLOCK_N, BLOCK_D), dtype=ACC)
    filter_sum = tl.zeros((BLOCK_D, BLOCK_W), dtype=ACC)
    energy_sum = tl.zeros((BLOCK_D,), dtype=ACC)
    steps = tl.where(tl.program_id(0) * BLOCK_N < limit, T, 0)
    for t in range(0, steps):
        now = t * tl.cast(B, tl.int64) + b
        rows = windows(history + now * 2 * N, n, N, K, BLOCK_W)
        query = tl.load(queries + now * D + d, mask=d < D, other=0.0)
        d_score = tl.load(d_scores + now * N + n, mask=n < limit, other=0.0)
        squash = tanh(tl.dot(rows.to(FEATURES), filter, out_dtype=ACC, input_precision="ieee") + key + query[None, :])
        energy_sum += tl.sum(squash * d_score[:, None], 0)
        d_inner = (1 - squash * squash) * v[None, :] * d_score[:, None]
        key_sum += d_inner
        d_inner, rows = d_inner.to(PRODUCTS).to(MULTIPLY), rows.to(PRODUCTS).to(MULTIPLY)
        filter_sum = tl.dot(tl.trans(d_inner), rows, filter_sum, out_dtype=ACC, input_precision="ieee")
    tl.store(d_keys + utterance * D + n[:, None] * D + d[None, :], key_sum, mask=(n < N)[:, None] & (d < D)[None, :])
    part = b * tl.num_programs(0) + tl.program_id(0)
    at = d_location + (part * D + d)[:, None] * (2 * K) + w
    tl.store(at, filter_sum, mask=(d < D)[:, None] & (w < 2 * K))
    tl.store(d_energy + part * D + d, energy_sum, mask=d < D)
