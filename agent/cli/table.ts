/**
 * Lays out cells as Docker's tables are: columns at least 10 wide, three spaces between, the last one as it comes
 * (Go's tabwriter with minwidth 10, padding 3). Widths are counted in characters, not bytes.
 */
export function layTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = []
  for (const row of rows)
    for (const [column, cell] of row.entries())
      if (column < row.length - 1) widths[column] = Math.max(widths[column] ?? 10, width(cell) + 3)
  return rows.map((row) => `${row.map((cell, column) => pad(cell, row, column)).join('')}\n`).join('')

  function pad(cell: string, row: readonly string[], column: number): string {
    return column === row.length - 1 ? cell : cell + ' '.repeat(Math.max((widths[column] ?? 0) - width(cell), 0))
  }
}

/** Characters, each taken as one cell wide: names and sentences of ours hold nothing wider. */
export function width(text: string): number {
  return [...text].length
}

/** At most `size` characters, the last one an ellipsis where it was cut. */
export function cut(text: string, size: number): string {
  const characters = [...text]
  return characters.length <= size ? text : `${characters.slice(0, Math.max(size - 1, 0)).join('')}…`
}
