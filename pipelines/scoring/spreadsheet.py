"""Prevents cells from being interpreted as formulas by a spreadsheet.

OWASP's rule: an apostrophe before a cell that starts with = + - @, a tab or a line end (or
characters that Excel treats the same in some languages). Numbers are not changed, whatever their
sign.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

FORMULA = r"^[=+\-@\t\r\n＝＋－＠]"
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def harmless(table: pa.Table) -> pa.Table:
    """The table with an apostrophe before each text and column name that is a formula."""
    columns = [_cells(column) if _is_text(column.type) else column for column in table.columns]
    names = _cells(pa.array(table.column_names, pa.string())).to_pylist()
    return pa.table(columns, names=names)


def _cells(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    danger = pc.and_not(
        pc.match_substring_regex(column, FORMULA), pc.match_substring_regex(column, NUMBER)
    )
    return pc.if_else(
        danger,
        pc.binary_join_element_wise(
            pa.scalar("'", column.type), column, pa.scalar("", column.type)
        ),
        column,
    )


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(
        is_one(kind)
        for is_one in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_binary,
            pa.types.is_large_binary,
        )
    )
