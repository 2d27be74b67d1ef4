from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray

from scripts.pictures.palette_png import pixels_of, smaller, with_palette


def browser_png(pixels: NDArray[np.uint8], kinds: list[int]) -> bytes:
    """A PNG as a browser writes it: RGB, each row through the filter of its kind."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, width * 3).astype(np.int64)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    left = np.hstack([np.zeros((height, 3), np.int64), rows[:, :-3]])
    corner = np.hstack([np.zeros((height, 3), np.int64), above[:, :-3]])
    near = left + above - corner
    far = [abs(near - one) for one in (left, above, corner)]
    paeth = np.where((far[0] <= far[1]) & (far[0] <= far[2]), left, np.where(far[1] <= far[2], above, corner))
    guesses = (np.zeros_like(rows), left, above, (left + above) // 2, paeth)
    lines = b"".join(
        bytes([kind]) + ((rows[y] - guesses[kind][y]) & 255).astype(np.uint8).tobytes()
        for y, kind in enumerate(kinds)
    )

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", head),
            chunk(b"IDAT", zlib.compress(lines)),
            chunk(b"IEND", b""),
        )
    )


def shown(png: bytes) -> NDArray[np.uint8]:
    """The pixels of a PNG with a palette."""
    width, height = struct.unpack(">II", png[16:24])
    bodies, at = {}, 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        bodies[png[at + 4 : at + 8]] = png[at + 8 : at + 8 + length]
        at += length + 12
    palette = np.frombuffer(bodies[b"PLTE"], np.uint8).reshape(-1, 3)
    lines = np.frombuffer(zlib.decompress(bodies[b"IDAT"]), np.uint8).reshape(height, width + 1)
    return palette[lines[:, 1:]]


def test_every_filter_a_browser_uses_is_undone() -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (10, 7, 3), dtype=np.uint8)
    assert (pixels_of(browser_png(pixels, [0, 1, 2, 3, 4, 4, 3, 2, 1, 0])) == pixels).all()


def test_a_picture_of_few_colours_stays_exactly_as_it_is() -> None:
    pixels = np.random.default_rng(7).integers(0, 6, (20, 30, 3), dtype=np.uint8) * 40
    assert (shown(smaller(browser_png(pixels, [4] * 20))) == pixels).all()


def test_many_colours_become_near_ones_and_surfaces_keep_theirs() -> None:
    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    pixels[:, :, 0], pixels[:, :, 1] = np.mgrid[0:64, 0:64] * 4
    pixels[:16] = (11, 14, 20)
    back = shown(with_palette(pixels))
    assert (back[:16] == (11, 14, 20)).all()
    assert np.abs(back.astype(int) - pixels.astype(int)).max() <= 40


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a PNG"):
        smaller(b"GIF89a")
