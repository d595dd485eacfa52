"""Near-duplicates: the same scene photographed again, or the same photograph turned, mirrored or saved anew.

Where one photograph of such a pair is trained on and the other tested, the figures come out too good: the network need
not read the colour, it can recognize the photograph. This module finds such pairs from the pixels alone.

What is compared are signatures: the photograph as 32 x 32 cells, divided by its own brightness; the differences between
neighbouring cells (edges), divided by their own strength; and the brightness, so that exposure may drift but not jump.
They are scaled so that a pair counts as near-duplicates where its signatures differ by less than 1. A perceptual hash
of 64 bits would not do: in photographs of an assay all but the colour is alike, and the colour is what it leaves out.

It cannot tell everything. After the camera or the specimen moved by 1/200 of the image it sees another scene. Of a
field of colour without edges it finds only exact copies. And it knows nothing of specimens: two of nearly the same
concentration, seated alike under a fixed camera, are near it. To find no pair does not replace the column that names
each photograph's specimen (`data.group_column`).

Measured (test_duplicates.py holds the first figures). 29 specimens of nitrite, ten photographs each with a fixed
camera, five seconds apart, light falling by a fifth over them: of 1,305 pairs within a specimen 90 % are found at 64
pixels (87 % at 32, 91 % at 128), enough to connect each specimen whole; of 40,600 pairs between specimens none, the
nearest at 1.15. A DCT hash finds 78 % of the former together with 2,339 of the latter. 87 photographs of test strips,
each laid anew: none, within groups or between. Simulated photographs, all different: 1 of 50 million pairs; the same
simulated scene with other noise: 82 % are found, at 0.8 of the exposure 72 %, the palest not.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from twostage.data.splits import UNUSED
from twostage.data.store import Pixels
from twostage.errors import number_of, some
from twostage.tables.texts import Texts

__all__ = ["across_parts", "duplicates_message", "joined_groups", "near_duplicates"]

GRID = 32
"""Cells per side: coarse enough that noise averages out, fine enough that another scene shows."""
COLOR, EDGES, BRIGHTNESS = 0.04, 0.1, 0.4
"""What makes a pair different by itself: RMS of the cells and of the edges (shares), logarithm of the brightness."""
TURNED = 0.75
"""A turned or mirrored photograph is a copy from the disk, not a scene taken again: it must be nearer."""
DIRECTIONS = 32
NEAREST = 32
CHUNK = 256
"""Photographs, or pairs of them, in memory at a time."""


def near_duplicates(pixels: Pixels) -> np.ndarray:
    """Pairs of near-duplicates among N photographs uint8 (N,H,W,3): rows (M,2), the smaller first, sorted.

    Candidates come from a tree over 32 numbers for each photograph, its signature along the directions in which these
    photographs differ most; there nothing is farther apart than its signatures are, so the nearest are not missed. Of
    each photograph's candidates the nearest 32 are checked pixel by pixel, in each of the 8 turns and flips. So memory
    is bounded; where a scene was photographed more often not every pair is listed, but neighbours still connect all.

    >>> photos = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    >>> photos[4] = np.rot90(photos[1])
    >>> near_duplicates(photos).tolist()
    [[1, 4]]
    """
    found = [np.empty((0, 2), int)]
    if len(pixels) > 1:
        points = _points(pixels)
        tree = cKDTree(points[0])
        for view in range(8):
            below = 1.0 if view == 0 else TURNED
            candidates = _chunks(_candidates(tree, points[view], below))
            found += [pairs[_distances(pixels, pairs, view) < below] for pairs in candidates]
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def across_parts(pairs: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Those of the pairs (M,2) whose photographs lie in different parts (N,) of the split and are both used."""
    first, second = parts[pairs].T
    return pairs[(first != second) & (first != UNUSED) & (second != UNUSED)]


def joined_groups(images: list[str] | Texts, groups: np.ndarray | None, pairs: np.ndarray) -> np.ndarray:
    """Groups (N,) in which near-duplicates (M,2), and what was one group before, are together.

    A joined group is called after its members: groups, or photographs where there were none.

    >>> joined_groups(["a", "b", "c", "d"], None, np.array([[0, 2]])).tolist()
    ['a, c', 'b', 'a, c', 'd']
    """
    names, own = np.unique(np.array(images) if groups is None else groups, return_inverse=True)
    left, right = own[pairs].T
    graph = coo_matrix((np.ones(len(pairs)), (left, right)), shape=(len(names), len(names)))
    count, component = connected_components(graph, directed=False)
    members: list[list[str]] = [[] for _ in range(count)]
    for name, k in zip(names, component, strict=True):
        members[k].append(name)
    return np.array([some(together, 3) for together in members])[component[own]]


def duplicates_message(images: list[str] | Texts, parts: np.ndarray, pairs: np.ndarray) -> str:
    """One line about near-duplicates (M,2), M > 0, that lie in different parts (N,) of the split."""
    in_test = parts[pairs] == "test"
    first = pairs[np.argsort(~in_test.any(axis=1), kind="stable")]
    shown = some((f"{images[i]} in {parts[i]} and {images[j]} in {parts[j]}" for i, j in first), 2)
    affected = len(np.unique(pairs[in_test]))
    if affected:
        total = int((parts == "test").sum())
        effect = f"{affected} of {total} test photographs have one outside the test set, so the figures may be too good"
    else:
        effect = "none is in the test set, but temperature and intervals may come out too sure"
    count = number_of(len(pairs), "pair", "pairs")
    return (
        f"{count} of near-duplicate photographs {'lie' if len(pairs) > 1 else 'lies'} in different parts of the split "
        f"({shown}); {effect}: name the specimens with data.group_column=..., or keep such photographs together with "
        f"split.duplicates=group"
    )


def _points(pixels: Pixels) -> np.ndarray:
    """Each photograph in each of its 8 views, along the directions in which the photographs differ most: (8,N,D)."""
    sample = pixels[np.unique(np.linspace(0, len(pixels) - 1, 256).astype(int))]
    signatures = _signatures(_cells(sample))
    directions = np.linalg.svd(signatures - signatures.mean(0), full_matrices=False)[2][:DIRECTIONS].T
    points = np.empty((8, len(pixels), directions.shape[1]), np.float32)
    for rows in _chunks(np.arange(len(pixels))):
        cells = _cells(pixels[rows])
        for view in range(8):
            points[view, rows] = _signatures(_turned(cells, view)) @ directions
    return points


def _candidates(tree: cKDTree, points: np.ndarray, below: float) -> np.ndarray:
    """For each of the points (N,D) the nearest in the tree, itself left out, if they are near enough: (M,2)."""
    distance, other = tree.query(points, k=min(NEAREST + 1, tree.n), distance_upper_bound=below)
    row, _ = np.nonzero(np.isfinite(distance))
    pairs = np.stack([row, other[np.isfinite(distance)]], axis=1)
    return pairs[pairs[:, 0] != pairs[:, 1]]


def _distances(pixels: Pixels, pairs: np.ndarray, view: int) -> np.ndarray:
    """How far the signatures of the pairs (M,2), the first of each turned, are apart: (M,)."""
    rows, position = np.unique(pairs, return_inverse=True)
    first, second = position.reshape(pairs.shape).T
    cells = _cells(pixels[rows])
    difference = _signatures(_turned(cells, view))[first] - _signatures(cells)[second]
    return np.asarray(np.linalg.norm(difference, axis=1))


def _signatures(cells: np.ndarray) -> np.ndarray:
    """The signatures of cells (N,G,G,3), so scaled that photographs less than 1 apart are near-duplicates: (N,S)."""
    brightness = np.sqrt((cells**2).mean((1, 2, 3))).clip(1 / 255)
    cells = cells / brightness[:, None, None, None]
    edges = np.concatenate([np.diff(cells, axis=1)[:, :, 1:], np.diff(cells, axis=2)[:, 1:]], axis=3)
    edges = edges.reshape(len(cells), -1)
    strength = np.linalg.norm(edges, axis=1, keepdims=True).clip(1e-3)
    cells = cells.reshape(len(cells), -1)
    color, light = cells / np.sqrt(cells.shape[1]), np.log(brightness)[:, None]
    return np.concatenate([color / COLOR, edges / strength / EDGES, light / BRIGHTNESS], axis=1)


def _cells(pixels: np.ndarray) -> np.ndarray:
    """Photographs uint8 (N,S,S,3) averaged over 32 x 32 cells, which may cut pixels: float32 (N,32,32,3) in [0, 1].

    In sRGB: it is nearly a power of light, so that a change of exposure is nearly a factor.
    """
    size = pixels.shape[1]
    low, high = np.arange(GRID)[:, None] * size / GRID, np.arange(1, GRID + 1)[:, None] * size / GRID
    pixel = np.arange(size)
    share = (np.minimum(high, pixel + 1) - np.maximum(low, pixel)).clip(0) * GRID / size / np.sqrt(255)
    share = share.astype(np.float32)
    return np.einsum("as,nstc,bt->nabc", share, pixels.astype(np.float32), share, optimize=True)


def _turned(cells: np.ndarray, view: int) -> np.ndarray:
    """One of the 8 turns and flips of squares (N,G,G,3); 0 leaves them as they are."""
    return np.rot90(cells if view < 4 else cells[:, :, ::-1], view % 4, (1, 2))


def _chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """The rows (N,...), some at a time."""
    return (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))
