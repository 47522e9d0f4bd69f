"""GRU and LSTM on a CPU number by number, compiled by Numba: what `recurrence` says in torch's operations.

A step of a few sequences is some hundred numbers, and torch's operations take most of their time on the way to the
arithmetic. Here going through time is one call, whose loops become vector instructions. Names and shapes are those of
`recurrence`; arrays are float32 and contiguous.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .machine_code import compiled

Float: TypeAlias = np.float32
Array: TypeAlias = NDArray[np.float32]

HALF, ONE, TWO = Float(0.5), Float(1), Float(2)
ABOVE = Float(135135), Float(17325), Float(378), Float(1)
BELOW = Float(135135), Float(62370), Float(3150), Float(28)

FAR = Float(9)
"""From here on tanh is 1, as far as float32 can tell."""


@compiled
def tanh(x: Float) -> Float:
    """The hyperbolic tangent, to 3e-7: in a loop this becomes vector instructions, which a call to C would not.

    With t = tanh(x / 2), of which Lambert's continued fraction needs seven terms, it is 2t / (1 + t²).
    """
    x = -FAR if x < -FAR else x  # written so that NaN remains
    x = FAR if x > FAR else x
    half = HALF * x
    square = half * half
    above = half * (ABOVE[0] + square * (ABOVE[1] + square * (ABOVE[2] + square * ABOVE[3])))
    below = BELOW[0] + square * (BELOW[1] + square * (BELOW[2] + square * BELOW[3]))
    return TWO * above * below / (below * below + above * above)


@compiled
def sigmoid(x: Float) -> Float:
    """1 / (1 + e⁻ˣ), to 2e-7."""
    return HALF + HALF * tanh(HALF * x)


@compiled
def add_product(found: Array, left: Array, right: Array) -> None:
    """Add left (B, n) @ right (n, m) to what stands in found (B, m): four rows of `right` at a time, near at hand for
    all of `left`."""
    terms = len(right) - len(right) % 4
    for k in range(0, terms, 4):
        first, second, third, fourth = right[k], right[k + 1], right[k + 2], right[k + 3]
        for b in range(len(left)):
            to, one, two, three, four = found[b], left[b, k], left[b, k + 1], left[b, k + 2], left[b, k + 3]
            for i in range(len(to)):
                to[i] += (one * first[i] + two * second[i]) + (three * third[i] + four * fourth[i])
    for k in range(terms, len(right)):
        for b in range(len(left)):
            for i in range(found.shape[1]):
                found[b, i] += left[b, k] * right[k, i]


@compiled
def gru(
    gates: Array, memory: Array, masks: Array, weight: Array, bias: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """`recurrence.gru`."""
    steps, sequences, size = len(gates), *memory.shape
    outputs = np.empty((steps, sequences, size), Float)
    before, hidden_new, new = np.empty_like(outputs), np.empty_like(outputs), np.empty_like(outputs)
    switches = np.empty((steps, sequences, 2 * size), Float)
    hidden = np.empty((sequences, 3 * size), Float)
    for t in range(steps):
        for b in range(sequences):
            hidden[b] = bias
            for i in range(size):
                before[t, b, i] = memory[b, i] * masks[t, b, 0]
        add_product(hidden, before[t], weight)
        for b in range(sequences):
            for i in range(2 * size):
                switches[t, b, i] = sigmoid(gates[t, b, i] + hidden[b, i])
            for i in range(size):
                reset, update = switches[t, b, i], switches[t, b, size + i]
                hidden_new[t, b, i] = hidden[b, 2 * size + i]
                new[t, b, i] = tanh(gates[t, b, 2 * size + i] + reset * hidden_new[t, b, i])
                outputs[t, b, i] = new[t, b, i] + update * (before[t, b, i] - new[t, b, i])
        memory = outputs[t]
    return outputs, before, switches, hidden_new, new


@compiled
def gru_gradient(
    gradient: Array,
    before: Array,
    switches: Array,
    hidden_new: Array,
    new: Array,
    masks: Array,
    weight: Array,
) -> tuple[Array, Array, Array]:
    """`recurrence.gru_gradient`."""
    steps, sequences, size = gradient.shape
    of_gates = np.empty((steps, sequences, 3 * size), Float)
    of_hidden = np.empty_like(of_gates)
    of_memory = np.zeros((sequences, size), Float)
    for t in range(steps - 1, -1, -1):
        for b in range(sequences):
            for i in range(size):
                reset, update = switches[t, b, i], switches[t, b, size + i]
                total = gradient[t, b, i] + of_memory[b, i]
                of_new = total * (ONE - update) * (ONE - new[t, b, i] * new[t, b, i])
                of_reset = of_new * hidden_new[t, b, i] * reset * (ONE - reset)
                of_update = total * (before[t, b, i] - new[t, b, i]) * update * (ONE - update)
                of_gates[t, b, i] = of_hidden[t, b, i] = of_reset
                of_gates[t, b, size + i] = of_hidden[t, b, size + i] = of_update
                of_gates[t, b, 2 * size + i] = of_new
                of_hidden[t, b, 2 * size + i] = of_new * reset
                of_memory[b, i] = total * update
        add_product(of_memory, of_hidden[t], weight)
        of_memory *= masks[t]
    return of_gates, of_hidden, of_memory


@compiled
def lstm(
    gates: Array, memory: Array, masks: Array, weight: Array, bias: Array
) -> tuple[Array, Array, Array, Array, Array, Array, Array, Array]:
    """`recurrence.lstm`."""
    steps, sequences, size = len(gates), len(memory), len(weight)
    outputs = np.empty((steps, sequences, size), Float)
    outputs_before, cells_before = np.empty_like(outputs), np.empty_like(outputs)
    candidate, let_out, squashed = np.empty_like(outputs), np.empty_like(outputs), np.empty_like(outputs)
    switches = np.empty((steps, sequences, 2 * size), Float)
    output, cell = memory[:, :size].copy(), memory[:, size:].copy()
    gate = np.empty((sequences, 4 * size), Float)
    for t in range(steps):
        for b in range(sequences):
            for i in range(4 * size):
                gate[b, i] = gates[t, b, i] + bias[i]
            for i in range(size):
                outputs_before[t, b, i] = output[b, i] * masks[t, b, 0]
                cells_before[t, b, i] = cell[b, i] * masks[t, b, 0]
        add_product(gate, outputs_before[t], weight)
        for b in range(sequences):
            for i in range(2 * size):
                switches[t, b, i] = sigmoid(gate[b, i])
            for i in range(size):
                candidate[t, b, i] = tanh(gate[b, 2 * size + i])
                let_out[t, b, i] = sigmoid(gate[b, 3 * size + i])
                let_in, keep = switches[t, b, i], switches[t, b, size + i]
                cell[b, i] = keep * cells_before[t, b, i] + let_in * candidate[t, b, i]
                squashed[t, b, i] = tanh(cell[b, i])
                outputs[t, b, i] = let_out[t, b, i] * squashed[t, b, i]
        output = outputs[t]
    return outputs, cell, outputs_before, cells_before, switches, candidate, let_out, squashed


@compiled
def lstm_gradient(
    gradient: Array,
    of_cell: Array,
    cells_before: Array,
    switches: Array,
    candidate: Array,
    let_out: Array,
    squashed: Array,
    masks: Array,
    weight: Array,
) -> tuple[Array, Array]:
    """`recurrence.lstm_gradient`."""
    steps, sequences, size = gradient.shape
    of_gates = np.empty((steps, sequences, 4 * size), Float)
    of_output, of_cell = np.zeros((sequences, size), Float), of_cell.copy()
    for t in range(steps - 1, -1, -1):
        for b in range(sequences):
            for i in range(size):
                let_in, keep, guess = switches[t, b, i], switches[t, b, size + i], candidate[t, b, i]
                out, shown = let_out[t, b, i], squashed[t, b, i]
                total = gradient[t, b, i] + of_output[b, i]
                inner = of_cell[b, i] + total * out * (ONE - shown * shown)
                of_gates[t, b, i] = inner * guess * let_in * (ONE - let_in)
                of_gates[t, b, size + i] = inner * cells_before[t, b, i] * keep * (ONE - keep)
                of_gates[t, b, 2 * size + i] = inner * let_in * (ONE - guess * guess)
                of_gates[t, b, 3 * size + i] = total * shown * out * (ONE - out)
                of_cell[b, i] = inner * keep * masks[t, b, 0]
                of_output[b, i] = Float(0)
        add_product(of_output, of_gates[t], weight)
        of_output *= masks[t]
    return of_gates, np.concatenate((of_output, of_cell), axis=1)
