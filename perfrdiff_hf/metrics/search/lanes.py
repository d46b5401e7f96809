"""Sixteen numbers at once in numba: loads, stores, arithmetic and minimum on one vector register.

LLVM's own vectoriser gives up on the recursion of dynamic time warping, so that the vectors are spelled out here. The
width is fixed; LLVM splits it into as many registers as the machine needs (one with AVX-512, two with AVX2, four with
NEON).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model


LANES = 16


class LanesType(types.Type):
    """The numba type of `LANES` numbers of one dtype."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: LanesType) -> None:
        element = manager.lookup(numba_type.dtype).get_value_type()
        super().__init__(manager, numba_type, ir.VectorType(element, LANES))


@intrinsic
def load(typingctx: Any, array: Any, row: Any) -> Any:
    """Row `row` of a contiguous array `(rows, LANES)`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = builder.load(_row_pointer(context, builder, signature, args))
        vector.align = signature.args[0].dtype.bitwidth // 8
        return vector

    return LanesType(array.dtype)(array, row), codegen


@intrinsic
def store(typingctx: Any, array: Any, row: Any, lanes: Any) -> Any:
    """Write to row `row` of a contiguous array `(rows, LANES)`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _row_pointer(context, builder, signature, args)
        builder.store(args[2], pointer, align=signature.args[0].dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, row, lanes), codegen


@intrinsic
def fill(typingctx: Any, value: Any) -> Any:
    """The same number in every lane."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector_type = ir.VectorType(args[0].type, LANES)
        one = builder.insert_element(ir.Constant(vector_type, ir.Undefined), args[0], ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(one, ir.Constant(vector_type, ir.Undefined), zeros)

    return LanesType(value)(value), codegen


@intrinsic
def add(typingctx: Any, a: Any, b: Any) -> Any:
    """Sum, lane by lane."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fadd(*args)

    return a(a, b), codegen


@intrinsic
def minimum(typingctx: Any, a: Any, b: Any) -> Any:
    """The smaller, lane by lane."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", *args), *args)

    return a(a, b), codegen


@intrinsic
def add_squared_difference(typingctx: Any, total: Any, a: Any, b: Any) -> Any:
    """`total + (a - b)**2`, lane by lane. In float32 the product may stay unrounded; float64 rounds every step."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        flags = ("contract",) if signature.return_type.dtype == types.float32 else ()
        difference = builder.fsub(args[1], args[2])
        return builder.fadd(args[0], builder.fmul(difference, difference, flags=flags), flags=flags)

    return total(total, a, b), codegen


def _row_pointer(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    array_type = signature.args[0]
    data = cgutils.create_struct_proxy(array_type)(context, builder, args[0]).data
    element = context.get_value_type(array_type.dtype)
    rows = builder.bitcast(data, ir.VectorType(element, LANES).as_pointer())
    return builder.gep(rows, [args[1]])
