# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Triton kernels of one decoder step forward: the attention LSTM, then the attention. Conventions in `triton_shared`."""

import triton.language as tl  # type: ignore[import-untyped]

from model.recurrence.triton_shared import filters, kernel, tanh, windows


@kernel
def lstm_forward(
    gates, dropout, units, query,  # read
    fed, before, cells, parts,  # written; fed and cells hold the state of the step before, too
    t, B,
    A: tl.constexpr, E: tl.constexpr, D: tl.constexpr,
    ACC: tl.constexpr, MULTIPLY: tl.constexpr, PRODUCTS: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_A: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute the LSTM for a tile of utterances and hidden units, and the part of the query that comes from these units.

    Row 4a + g of `units` (4A, E + A) is gate g of unit a: one product yields the four gates of a unit side by side.
    """
    step = tl.cast(t, tl.int64) * B
    gates, before, cells, fed = gates + step * 4 * A, before + step * 4 * A, cells + step * A, fed + step * (E + A)
    b = tl.program_id(1) * BLOCK_B + tl.arange(0, BLOCK_B)
    r = tl.arange(0, BLOCK_A)
    a = tl.program_id(0) * BLOCK_A + r // 4 * 4 + r % 4  # r, written in fours: one register layout for every type
    row = tl.program_id(0) * 4 * BLOCK_A + tl.arange(0, 4 * BLOCK_A)
    here = (b < B)[:, None] & (a < A)[None, :]
    gate, unit = b[:, None] * (4 * A) + a[None, :], b[:, None] * A + a[None, :]
    # Loaded before the product, so that they arrive while it runs.
    gate_0 = tl.load(gates + gate, mask=here, other=0.0)
    gate_1 = tl.load(gates + gate + A, mask=here, other=0.0)
    gate_2 = tl.load(gates + gate + 2 * A, mask=here, other=0.0)
    gate_3 = tl.load(gates + gate + 3 * A, mask=here, other=0.0)
    cell = tl.load(cells + unit, mask=here, other=0.0)
    total = tl.zeros((BLOCK_B, 4 * BLOCK_A), dtype=ACC)
    for start in range(0, E + A, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        x = tl.load(fed + b[:, None] * (E + A) + k[None, :], mask=(b < B)[:, None] & (k < E + A)[None, :], other=0.0)
        at = units + row[None, :] * (E + A) + k[:, None]
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
    for start in tl.static_range(0, D, BLOCK_D):
        d = start + tl.arange(0, BLOCK_D)
        w = tl.load(query + d[:, None] * A + a[None, :], mask=(d < D)[:, None] & (a < A)[None, :], other=0.0)
        part = tl.dot(w.to(MULTIPLY), tl.trans(hidden.to(MULTIPLY)), out_dtype=ACC, input_precision="ieee")
        at = parts + (tl.program_id(0) * B + b)[None, :] * D + d[:, None]
        tl.store(at, part, mask=(d < D)[:, None] & (b < B)[None, :])


@kernel
def attention_forward(
    parts, memory, keys, padding, limits, location, energy,  # read
    fed, history, queries, scores,  # written; history holds the alignments of the step before, too
    t, B, N,
    A: tl.constexpr, E: tl.constexpr, D: tl.constexpr, K: tl.constexpr, PARTS: tl.constexpr,
    ACC: tl.constexpr, FEATURES: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_M: tl.constexpr, STAGES: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_W: tl.constexpr,
):  # fmt: skip
    """Compute query, energies, softmax and context of one utterance, up to its last symbol."""
    b = tl.program_id(0)
    utterance = b.to(tl.int64) * N
    now = tl.cast(t, tl.int64) * B + b
    before, after = history + now * 2 * N, history + (now + B) * 2 * N
    memory, keys, padding, scores = memory + utterance * E, keys + utterance * D, padding + utterance, scores + utterance
    limit = tl.load(limits + b)
    e, p = tl.arange(0, BLOCK_E), tl.arange(0, BLOCK_P)
    top, total = tl.full((), -1e30, ACC), tl.full((), 0.0, ACC)  # finite, since a tile may be nothing but padding
    for first in tl.static_range(0, D, BLOCK_D):
        d = first + tl.arange(0, BLOCK_D)
        at = parts + (p * B + b)[:, None] * D + d[None, :]
        part = tl.load(at, mask=(p < PARTS)[:, None] & (d < D)[None, :], other=0.0)
        filter = filters(location, d, D, K, BLOCK_W).to(FEATURES)
        v = tl.load(energy + d, mask=d < D, other=0.0).to(ACC)
        query = tl.sum(part, 0)
        tl.store(queries + now * D + d, query, mask=d < D)
        for start in range(0, limit, BLOCK_N):
            n = start + tl.arange(0, BLOCK_N)
            key = tl.load(keys + n[:, None] * D + d[None, :], mask=(n < limit)[:, None] & (d < D)[None, :], other=0.0)
            rows = windows(before, n, N, K, BLOCK_W).to(FEATURES)
            inner = tl.dot(rows, filter, out_dtype=ACC, input_precision="ieee") + key + query[None, :]
            score = tl.sum(tanh(inner) * v[None, :], 1)
            if first > 0:
                score += tl.load(scores + n, mask=n < limit, other=0.0)
                tl.debug_barrier()  # several threads read a score, one of them writes it
            if first + BLOCK_D >= D:
                score = tl.where(tl.load(padding + n, mask=n < limit, other=1) != 0, -float("inf"), score)
                higher = tl.maximum(top, tl.max(score, 0))
                total = total * tl.exp(top - higher) + tl.sum(tl.exp(score - higher), 0)
                top = higher
            tl.store(scores + n, score, mask=n < limit)
        tl.debug_barrier()  # scores are read by other threads than those that wrote them
    context = tl.zeros((BLOCK_M, BLOCK_E), dtype=ACC)
    for start in tl.range(0, limit, BLOCK_M, num_stages=STAGES):
        n = start + tl.arange(0, BLOCK_M)
        rows = tl.load(memory + n[:, None] * E + e[None, :], mask=(n < limit)[:, None] & (e < E)[None, :], other=0.0)
        weight = tl.exp(tl.load(scores + n, mask=n < limit, other=-float("inf")) - top) / total
        tl.store(after + n, weight, mask=n < limit)
        tl.store(after + N + n, tl.load(before + N + n, mask=n < limit, other=0.0) + weight, mask=n < limit)
        context += weight[:, None] * rows.to(ACC)
    tl.store(fed + (now + B) * (E + A) + e, tl.sum(context, 0), mask=e < E)
