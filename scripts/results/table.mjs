// Figures -> aligned Markdown tables. Knows no model.

/**
 * @param rows arrays of strings, the first the header
 * @param names how many columns, the first ones, are words; the others are numbers
 */
export function markdownTable(rows, names = 2) {
  const widths = rows[0].map((_, column) =>
    Math.max(...rows.map((row) => row[column].length)),
  )
  const line = (row) =>
    `| ${row.map((cell, i) => (i < names ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(' | ')} |`
  const rule = `|${widths.map((width, i) => (i < names ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`
  return [line(rows[0]), rule, ...rows.slice(1).map(line)].join('\n')
}

export function percent(share) {
  return (100 * share).toFixed(1)
}
