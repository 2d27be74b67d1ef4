"""Eight bytes of a text at once, for compiled code: instructions that numba has no words for."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]  # comes without types
from numba import types
from numba.extending import intrinsic


@intrinsic
def _word_at(typing: Any, text: Any, at: Any) -> Any:
    """The eight bytes from `at` on, the first one lowest. They must lie inside `text`: nothing is checked."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        word = builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()))
        word.align = 1
        return word

    return types.uint64(text, types.int64), build


@intrinsic
def _trailing_zeros(typing: Any, word: Any) -> Any:
    """How many of the lowest bits are 0; 64 where all are."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), build


word_at: Any = _word_at
trailing_zeros: Any = _trailing_zeros
