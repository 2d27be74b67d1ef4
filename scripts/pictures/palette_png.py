"""PNG files of at most 256 colours: a third of what a browser writes, and the same to the eye.

Reads what browsers write (8 bits a channel, with or without alpha, not interlaced); alpha is dropped.
Source: PNG Specification, third edition, sections 9 (filters) and 11.2 (PLTE).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import cast

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Bytes = NDArray[np.uint8]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOURS = 256
_ROUNDS = 6  # of k-means; more change a colour by less than one step


def smaller(png: bytes) -> bytes:
    """The same picture with a palette. Raises ValueError for what is no PNG of a browser's kind."""
    return with_palette(pixels_of(png))


def pixels_of(png: bytes) -> Bytes:
    """Red, green and blue of a PNG, shape (height, width, 3)."""
    if not png.startswith(_SIGNATURE):
        raise ValueError("expected a PNG file")
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", png[16:29])
    channels = {2: 3, 6: 4}.get(kind)
    if depth != 8 or channels is None or interlaced:
        raise ValueError(f"expected 8 bits of RGB or RGBA, got depth {depth} of kind {kind}")
    packed, at = b"", len(_SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            packed += png[at + 8 : at + 8 + length]
        at += length + 12
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + width * channels)
    plain = _unfiltered(rows[:, 0], rows[:, 1:].copy(), channels)
    return np.ascontiguousarray(plain.reshape(height, width, channels)[:, :, :3])


def _undo(filters: Bytes, rows: Bytes, step: int) -> Bytes:
    """Each byte from what its row's filter made of it; `step` bytes are a pixel. Works in place."""
    for y in range(rows.shape[0]):
        kind = filters[y]
        for x in range(rows.shape[1]):
            left = int(rows[y, x - step]) if x >= step else 0
            above = int(rows[y - 1, x]) if y else 0
            corner = int(rows[y - 1, x - step]) if y and x >= step else 0
            if kind == 1:
                guess = left
            elif kind == 2:
                guess = above
            elif kind == 3:
                guess = (left + above) // 2
            elif kind == 4:
                near = left + above - corner
                to_left, to_above, to_corner = abs(near - left), abs(near - above), abs(near - corner)
                if to_left <= to_above and to_left <= to_corner:
                    guess = left
                else:
                    guess = above if to_above <= to_corner else corner
            else:
                guess = 0
            rows[y, x] = (int(rows[y, x]) + guess) & 255
    return rows


_unfiltered = cast(Callable[[Bytes, Bytes, int], Bytes], numba.njit(_undo))


def with_palette(pixels: Bytes) -> bytes:
    """A PNG of the pixels, shape (height, width, 3), in at most 256 colours."""
    height, width = pixels.shape[:2]
    packed = pixels.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    codes, where, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colours = np.stack([codes >> 16 & 255, codes >> 8 & 255, codes & 255], axis=1).astype(np.float64)
    palette, nearest = _palette(colours, counts)
    indices = nearest.astype(np.uint8)[where].reshape(height, width)
    lines = np.concatenate([np.zeros((height, 1), np.uint8), indices], axis=1)
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", palette.tobytes()),
            _chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)),
            _chunk(b"IEND", b""),
        )
    )


def _palette(colours: NDArray[np.float64], counts: NDArray[np.int64]) -> tuple[Bytes, NDArray[np.int64]]:
    """At most 256 colours, and for each colour given which of them is nearest."""
    if len(colours) <= _COLOURS:
        return colours.astype(np.uint8), np.arange(len(colours))
    # Surfaces and text as they are; the shades of their edges share what is left.
    order = np.argsort(-counts, kind="stable")
    exact, others = colours[order[: _COLOURS // 2]], colours[order[_COLOURS // 2 :]]
    centres = others[np.linspace(0, len(others) - 1, _COLOURS - len(exact)).astype(int)]
    seen = counts[order[_COLOURS // 2 :]].astype(np.float64)
    for _ in range(_ROUNDS):
        near = cKDTree(centres).query(others)[1]
        weight = np.bincount(near, seen, len(centres))
        sums = np.stack([np.bincount(near, seen * one, len(centres)) for one in others.T], axis=1)
        centres[weight > 0] = sums[weight > 0] / weight[weight > 0, None]
    palette = np.rint(np.concatenate([exact, centres]))
    return palette.astype(np.uint8), cKDTree(palette).query(colours)[1]


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
