// TorchScript source with its marked sections written out once a layer: TorchScript cannot loop over
// blocks of its own accord. Knows no model.

/**
 * Repeats each section between `# repeat NAME` and `# end`, with 0, 1, … for LAYER.
 *
 * @param counts how often, by the section's name
 */
export function unroll(source: string, counts: Readonly<Record<string, number>>): string {
  const section = /^ *# repeat (\w+)\n(.*?)^ *# end\n/gms
  return source.replace(section, (_, name: string, lines: string) => {
    const count = counts[name]
    if (count === undefined) throw new Error(`No count for the section ${name}`)
    return Array.from({ length: count }, (_, i) =>
      lines.replaceAll('LAYER', String(i)),
    ).join('')
  })
}
