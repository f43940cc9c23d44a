# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Triton kernels of one decoder step, forwards and backwards, for `model.recurrence.triton_function`.

Letters as in `model.recurrence`; every tensor is contiguous, its shape stands in `model.recurrence.triton_function`; `t` is the
step. A program owns all that it writes and adds in a fixed order, so that results do not change from run to run. State that is
carried from step to step lives in two buffers in turn: a value that several threads read is written by one of them.

ACC is the type of sums and pointwise functions; PRODUCTS that of the operands of matrix products, which multiply as MULTIPLY:
the same, except in Triton's interpreter. The location features multiply as FEATURES: a cumulative alignment needs eleven bits.
"""

from functools import partial

import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]

# One compilation serves every batch, length and step: dimensions of the model alone are constants.
kernel = partial(triton.jit, do_not_specialize=["t", "T", "B", "N"])


@triton.jit
def tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def filters(location, d, D: tl.constexpr, K: tl.constexpr, BLOCK_W: tl.constexpr):
    """Rows d of the location filters (D, 2K), transposed: a tile of (BLOCK_W, rows)."""
    w = tl.arange(0, BLOCK_W)[:, None]
    return tl.load(location + d[None, :] * (2 * K) + w, mask=(w < 2 * K) & (d < D)[None, :], other=0.0)


@triton.jit
def windows(history, n, N, K: tl.constexpr, BLOCK_W: tl.constexpr):
    """The K neighbours of symbols n in both rows of `history` (2, N): a tile of (symbols, BLOCK_W)."""
    w = tl.arange(0, BLOCK_W)[None, :]
    at = n[:, None] + w % K - K // 2
    return tl.load(history + w // K * N + at, mask=(w < 2 * K) & (at >= 0) & (at < N), other=0.0)


@kernel
def lstm_forward(
    gates,
    dropout,
    recurrent,
    query,
    fed,
    before,
    cells,
    parts,
    t,
    B,
    A: tl.constexpr,
    E: tl.constexpr,
    D: tl.constexpr,
    ACC: tl.constexpr,
    MULTIPLY: tl.constexpr,
    PRODUCTS: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_A: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """The LSTM for a tile of utterances and hidden units, and these units' part of the query.

    Row 4a + g of `recurrent` (4A, E + A) is gate g of unit a: one product has the four gates of a unit side by side.
    """
    step = tl.cast(t, tl.int64) * B
    gates, before, cells, fed = gates + step * 4 * A, before + step * 4 * A, cells + step * A, fed + step * (E + A)
    b = tl.program_id(1) * BLOCK_B + tl.arange(0, BLOCK_B)
    r, d = tl.arange(0, BLOCK_A), tl.arange(0, BLOCK_D)
    a = tl.program_id(0) * BLOCK_A + r // 4 * 4 + r % 4  # r, but in fours: one layout in registers for every type
    row = tl.program_id(0) * 4 * BLOCK_A + tl.arange(0, 4 * BLOCK_A)
    here = (b < B)[:, None] & (a < A)[None, :]
    gate, unit = b[:, None] * (4 * A) + a[None, :], b[:, None] * A + a[None, :]
    # Asked for before the product, to arrive while it runs.
    gate_0 = tl.load(gates + gate, mask=here, other=0.0)
    gate_1 = tl.load(gates + gate + A, mask=here, other=0.0)
    gate_2 = tl.load(gates + gate + 2 * A, mask=here, other=0.0)
    gate_3 = tl.load(gates + gate + 3 * A, mask=here, other=0.0)
    cell = tl.load(cells + unit, mask=here, other=0.0)
    total = tl.zeros((BLOCK_B, 4 * BLOCK_A), dtype=ACC)
    for start in range(0, E + A, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        x = tl.load(fed + b[:, None] * (E + A) + k[None, :], mask=(b < B)[:, None] & (k < E + A)[None, :], other=0.0)
        at = recurrent + row[None, :] * (E + A) + k[:, None]
        w = tl.load(at, mask=(row < 4 * A)[None, :] & (k < E + A)[:, None], other=0.0)
        total = tl.dot(x.to(MULTIPLY), w.to(MULTIPLY), total, out_dtype=ACC, input_precision="ieee")
    even, odd = tl.split(tl.reshape(total, (BLOCK_B, BLOCK_A, 2, 2)))
    enter, leave = tl.split(even)
    forget, new = tl.split(odd)
    enter, forget, leave, new = enter + gate_0, forget + gate_1, leave + gate_2, new + gate_3
    tl.store(before + gate, enter, mask=here)
    tl.store(before + gate + A, forget, mask=here)
    tl.store(before + gate + 2 * A, leave, mask=here)
    tl.store(before + gate + 3 * A, new, mask=here)
    cell = tl.sigmoid(forget) * cell + tl.sigmoid(enter) * tanh(new)
    tl.store(cells + B * A + unit, cell, mask=here)
    hidden = tl.sigmoid(leave) * tanh(cell)
    if dropout is not None:
        hidden *= tl.load(dropout + step * A + unit, mask=here, other=0.0)
    hidden = hidden.to(PRODUCTS)
    tl.store(fed + (B + b)[:, None] * (E + A) + E + a[None, :], hidden, mask=here)
    w = tl.load(query + d[:, None] * A + a[None, :], mask=(d < D)[:, None] & (a < A)[None, :], other=0.0)
    part = tl.dot(w.to(MULTIPLY), tl.trans(hidden.to(MULTIPLY)), out_dtype=ACC, input_precision="ieee")
    at = parts + (tl.program_id(0) * B + b)[None, :] * D + d[:, None]
    tl.store(at, part, mask=(d < D)[:, None] & (b < B)[None, :])


@kernel
def attention_forward(
    parts,
    memory,
    keys,
    padding,
    limits,
    location,
    energy,
    fed,
    history,
    queries,
    scores,
    t,
    B,
    N,
    A: tl.constexpr,
    E: tl.constexpr,
    D: tl.constexpr,
    K: tl.constexpr,
    PARTS: tl.constexpr,
    ACC: tl.constexpr,
    FEATURES: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_M: tl.constexpr,
    STAGES: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_W: tl.constexpr,
):
    """Query, energies, softmax and context of one utterance, as far as its symbols go."""
    b = tl.program_id(0)
    utterance = b.to(tl.int64) * N
    now = tl.cast(t, tl.int64) * B + b
    before, after = history + now * 2 * N, history + (now + B) * 2 * N
    memory, keys, padding, scores = memory + utterance * E, keys + utterance * D, padding + utterance, scores + utterance
    limit = tl.load(limits + b)
    d, e, p = tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_E), tl.arange(0, BLOCK_P)
    at = parts + (p * B + b)[:, None] * D + d[None, :]
    part = tl.load(at, mask=(p < PARTS)[:, None] & (d < D)[None, :], other=0.0)
    filter = filters(location, d, D, K, BLOCK_W).to(FEATURES)
    v = tl.load(energy + d, mask=d < D, other=0.0).to(ACC)
    query = tl.sum(part, 0)
    tl.store(queries + now * D + d, query, mask=d < D)
    top, total = tl.full((), -1e30, ACC), tl.full((), 0.0, ACC)  # finite: a tile may be padding from end to end
    for start in range(0, limit, BLOCK_N):
        n = start + tl.arange(0, BLOCK_N)
        key = tl.load(keys + n[:, None] * D + d[None, :], mask=(n < limit)[:, None] & (d < D)[None, :], other=0.0)
        rows = windows(before, n, N, K, BLOCK_W).to(FEATURES)
        inner = tl.dot(rows, filter, out_dtype=ACC, input_precision="ieee") + key + query[None, :]
        score = tl.sum(tanh(inner) * v[None, :], 1)
        score = tl.where(tl.load(padding + n, mask=n < limit, other=1) != 0, -float("inf"), score)
        tl.store(scores + n, score, mask=n < limit)
        higher = tl.maximum(top, tl.max(score, 0))
        total = total * tl.exp(top - higher) + tl.sum(tl.exp(score - higher), 0)
        top = higher
    tl.debug_barrier()  # scores are read by other threads than wrote them
    context = tl.zeros((BLOCK_M, BLOCK_E), dtype=ACC)
    for start in tl.range(0, limit, BLOCK_M, num_stages=STAGES):
        n = start + tl.arange(0, BLOCK_M)
        rows = tl.load(memory + n[:, None] * E + e[None, :], mask=(n < limit)[:, None] & (e < E)[None, :], other=0.0)
        weight = tl.exp(tl.load(scores + n, mask=n < limit, other=-float("inf")) - top) / total
        tl.store(after + n, weight, mask=n < limit)
        tl.store(after + N + n, tl.load(before + N + n, mask=n < limit, other=0.0) + weight, mask=n < limit)
        context += weight[:, None] * rows.to(ACC)
    tl.store(fed + (now + B) * (E + A) + e, tl.sum(context, 0), mask=e < E)


@kernel
def attention_backward(
    d_context,
    d_alignment,
    d_fed,
    memory,
    keys,
    limits,
    location,
    energy,
    queries,
    history,
    d_weights,
    d_windows,
    d_sums,
    d_contexts,
    d_scores,
    d_queries,
    t,
    B,
    N,
    A: tl.constexpr,
    E: tl.constexpr,
    D: tl.constexpr,
    K: tl.constexpr,
    SPLIT: tl.constexpr,
    ACC: tl.constexpr,
    MULTIPLY: tl.constexpr,
    PRODUCTS: tl.constexpr,
    FEATURES: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_M: tl.constexpr,
    STAGES: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_W: tl.constexpr,
):
    """From the gradients of one utterance's context and alignment to those of its query and of the windows it looked at.

    `d_windows` holds the gradient of the next step's windows when this begins, and of this step's when it ends.
    """
    b = tl.program_id(0)
    utterance = b.to(tl.int64) * N
    now = tl.cast(t, tl.int64) * B + b
    before, after = history + now * 2 * N, history + (now + B) * 2 * N
    memory, keys, d_windows = memory + utterance * E, keys + utterance * D, d_windows + utterance * BLOCK_W
    d_weights, d_alignment, d_scores = d_weights + utterance, d_alignment + now * N, d_scores + now * N
    old_sums, new_sums = d_sums + ((t + 1) % 2 * B + b) * N, d_sums + (t % 2 * B + b) * N
    limit = tl.load(limits + b)
    d, e, w = tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_E), tl.arange(0, BLOCK_W)[:, None]
    d_total = tl.load(d_context + now * E + e, mask=e < E, other=0.0).to(ACC)
    for s in tl.static_range(SPLIT):
        d_total += tl.load(d_fed + (s * B + b) * (E + A) + e, mask=e < E, other=0.0)
    tl.store(d_contexts + now * E + e, d_total, mask=e < E)
    mean = tl.zeros((BLOCK_M,), dtype=ACC)
    for start in tl.range(0, limit, BLOCK_M, num_stages=STAGES):
        n = start + tl.arange(0, BLOCK_M)
        rows = tl.load(memory + n[:, None] * E + e[None, :], mask=(n < limit)[:, None] & (e < E)[None, :], other=0.0)
        # A symbol stood at place k of the window of the symbol k - K // 2 before it.
        at = n[None, :] - w % K + K // 2
        window = tl.load(d_windows + w * N + at, mask=(w < 2 * K) & (at >= 0) & (at < limit), other=0.0)
        d_sum = tl.load(old_sums + n, mask=n < limit, other=0.0) + tl.sum(tl.where(w < K, 0.0, window), 0)
        tl.store(new_sums + n, d_sum, mask=n < limit)
        d_weight = tl.sum(rows.to(ACC) * d_total[None, :], 1) + tl.sum(tl.where(w < K, window, 0.0), 0) + d_sum
        d_weight += tl.load(d_alignment + n, mask=n < limit, other=0.0)
        tl.store(d_weights + n, d_weight, mask=n < limit)
        mean += tl.load(after + n, mask=n < limit, other=0.0) * d_weight
    mean = tl.sum(mean, 0)
    tl.debug_barrier()  # d_weights are read by other threads than wrote them, and d_windows written that others read
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
        tl.store(d_windows + w * N + n[None, :], window, mask=(n < limit)[None, :])
    tl.store(d_queries + now * D + d, d_query, mask=d < D)


@kernel
def lstm_backward(
    d_hidden,
    d_fed,
    d_queries,
    query,
    dropout,
    before,
    cells,
    d_cells,
    d_gates,
    t,
    B,
    A: tl.constexpr,
    E: tl.constexpr,
    D: tl.constexpr,
    SPLIT: tl.constexpr,
    ACC: tl.constexpr,
    MULTIPLY: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_A: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """From the gradients of a tile of hidden states and of the queries to those of its gates."""
    step = tl.cast(t, tl.int64) * B
    before, d_gates, cells = before + step * 4 * A, d_gates + step * 4 * A, cells + step * A
    old_cells, new_cells = d_cells + (t + 1) % 2 * B * A, d_cells + t % 2 * B * A
    # The tile as rows of four units: one layout in registers for every type.
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
    d = tl.arange(0, BLOCK_D)
    x = tl.load(d_queries + step * D + b[:, None] * D + d[None, :], mask=(b < B)[:, None] & (d < D)[None, :], other=0.0)
    w = tl.load(query + d[:, None] * A + a[None, :], mask=(d < D)[:, None] & (a < A)[None, :], other=0.0)
    queried = tl.dot(x.to(MULTIPLY), w.to(MULTIPLY), out_dtype=ACC, input_precision="ieee")
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
    d_gates,
    recurrent,
    d_fed,
    t,
    B,
    A: tl.constexpr,
    E: tl.constexpr,
    SPLIT: tl.constexpr,
    ACC: tl.constexpr,
    MULTIPLY: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_X: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """d_gates[t] (B, 4A) times `recurrent` (4A, E + A), over one of SPLIT shares of the 4A rows, to d_fed (SPLIT, B, E + A).
    The readers of `d_fed` add the shares up: tiles are too few to fill the device, so that each share has its own programs.
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
    d_scores,
    queries,
    history,
    keys,
    limits,
    location,
    energy,
    d_keys,
    d_location,
    d_energy,
    T,
    B,
    N,
    D: tl.constexpr,
    K: tl.constexpr,
    ACC: tl.constexpr,
    MULTIPLY: tl.constexpr,
    PRODUCTS: tl.constexpr,
    FEATURES: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_W: tl.constexpr,
):
    """Over all steps, for a tile of symbols and units of one utterance: gradients of keys, filters and energy vector."""
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
