"""Zones to layers: a few planes in each of which no pixel has two zones."""

from __future__ import annotations

import heapq

import numpy as np

from zoneraster._burn.arrays import sort_order, stable_order
from zoneraster._burn.cache import inlined, kernel


@kernel
def _count_neighbours(graph):  # type: ignore[no-untyped-def]
    """With how many others each zone shares pixels, (n_zones,) int64."""
    set_ptr, members, zone_ptr, sets = graph
    n_zones = zone_ptr.size - 1
    found, seen = np.zeros(n_zones, np.int64), np.full(n_zones, -1, np.int64)
    for z in range(n_zones):
        seen[z] = z
        for i in range(zone_ptr[z], zone_ptr[z + 1]):
            for j in range(set_ptr[sets[i]], set_ptr[sets[i] + 1]):
                if seen[members[j]] != z:
                    seen[members[j]] = z
                    found[z] += 1
    return found


@inlined
def _is_free(z, k, graph, layer):  # type: ignore[no-untyped-def]
    """Whether zone `z` has no neighbour in layer `k`."""
    set_ptr, members, zone_ptr, sets = graph
    for i in range(zone_ptr[z], zone_ptr[z + 1]):
        for j in range(set_ptr[sets[i]], set_ptr[sets[i] + 1]):
            if members[j] != z and layer[members[j]] == k:
                return False
    return True


@kernel
def _lowest_free(z, graph, layer, room):  # type: ignore[no-untyped-def]
    """The lowest layer in which zone `z` has no neighbour, of its degree at most, below `room`."""
    set_ptr, members, zone_ptr, sets = graph
    taken = np.zeros(room + 1, np.bool_)
    for i in range(zone_ptr[z], zone_ptr[z + 1]):
        for j in range(set_ptr[sets[i]], set_ptr[sets[i] + 1]):
            if members[j] != z and 0 <= layer[members[j]] < room:
                taken[layer[members[j]]] = True
    k = 0
    while taken[k]:
        k += 1
    return k


@inlined
def _place(z, k, graph, layer, marks, queue, rank):  # type: ignore[no-untyped-def]
    """Put zone `z` into layer `k`, and let its neighbours know."""
    set_ptr, members, zone_ptr, sets = graph
    ptr, words, n_taken = marks
    layer[z] = k
    for i in range(zone_ptr[z], zone_ptr[z + 1]):
        for j in range(set_ptr[sets[i]], set_ptr[sets[i] + 1]):
            m, word = members[j], ptr[members[j]] + k // 64
            bit = np.uint64(1) << np.uint64(k % 64)
            if layer[m] < 0 and word < ptr[m + 1] and not words[word] & bit:
                words[word] |= bit
                n_taken[m] += 1
                heapq.heappush(queue, _urgency(m, n_taken, rank))


@inlined
def _urgency(z, n_taken, rank):  # type: ignore[no-untyped-def]
    """Zones that have the least choice of layers come first, then those of the lowest rank."""
    return ((np.int64(2**30) - n_taken[z]) << 32) | rank[z]


@kernel
def colour_zones(set_ptr, members, zone_ptr, sets, zone_id, known):  # type: ignore[no-untyped-def]
    """Layers of zones, so that no two of a set are in one.

    Parameters
    ----------
    set_ptr : (n_sets + 1,) int64
    members : (m,) int64
        Zones of each set: zones that share a pixel.
    zone_ptr : (n_zones + 1,) int64
    sets : (m,) int64
        Sets of each zone: `members` the other way round.
    zone_id : (n_zones,) int64
        Decides where nothing else does.
    known : (n_zones,) int64
        The layer that a zone had before, which it keeps where it can; -1 for none.

    Returns
    -------
    (n_zones,) int64
        From 0; as many as a set has zones are needed at least.

    Notes
    -----
    Brelaz (1979): next comes the zone whose neighbours are in most layers, of these the one with
    most neighbours, and it gets the lowest layer that is free. Then zones of the last layer are
    moved down as long as all of them find a place: so layers that earlier zones needed vanish, and
    none is empty.
    """
    graph = (set_ptr, members, zone_ptr, sets)
    n_neighbours = _count_neighbours(graph)
    order = stable_order(zone_id)
    sort_order(order, 0, order.size, -n_neighbours)
    rank = np.empty(order.size, np.int64)
    rank[order] = np.arange(order.size)
    # For each zone the layers that its neighbours are in: bits, as many as it has neighbours.
    ptr = np.zeros(order.size + 1, np.int64)
    ptr[1:] = np.cumsum(n_neighbours // 64 + 1)
    marks = (ptr, np.zeros(ptr[-1], np.uint64), np.zeros(order.size, np.int64))
    layer = np.full(order.size, -1, np.int64)
    queue = [_urgency(z, marks[2], rank) for z in order]
    for z in order:
        if known[z] >= 0 and _is_free(z, known[z], graph, layer):
            _place(z, known[z], graph, layer, marks, queue, rank)
    while queue:
        z = order[heapq.heappop(queue) & 0xFFFFFFFF]
        if layer[z] < 0:
            k = _lowest_free(z, graph, layer, n_neighbours[z] + 1)
            _place(z, k, graph, layer, marks, queue, rank)
    deepest = 1
    for s in range(set_ptr.size - 1):
        deepest = max(deepest, set_ptr[s + 1] - set_ptr[s])
    while order.size and layer.max() >= deepest:
        top, before = layer.max(), layer.copy()
        for z in order:
            if layer[z] == top:
                layer[z] = _lowest_free(z, graph, layer, top)
                if layer[z] == top:
                    return before
    return layer
