// The look of a report: colours for light and dark, as variables that plots use too.

const LIGHT = {
  page: '#ffffff',
  panel: '#f6f7f9',
  text: '#1b1f24',
  muted: '#57606a',
  rule: '#c4cad1',
  grid: '#e6e9ed',
  none: '#eceef1',
  bad: '#b3261e',
  series: [
    '#0b62c4',
    '#c2410c',
    '#1a7f37',
    '#8b3fb8',
    '#a16207',
    '#c01048',
    '#0e7490',
    '#5b5f97',
    '#4d7c0f',
    '#9d174d',
    '#6b4f3a',
    '#4b5563',
  ],
  heat: ['#e8f1fb', '#cbe0f6', '#a3c8ee', '#74abe2', '#458bd0', '#2169b0', '#0c4a86'],
  heatInk: ['#1b1f24', '#1b1f24', '#1b1f24', '#101418', '#ffffff', '#ffffff', '#ffffff'],
}

const DARK: typeof LIGHT = {
  page: '#12161b',
  panel: '#1a2027',
  text: '#e6eaef',
  muted: '#a3adb8',
  rule: '#49525c',
  grid: '#272e36',
  none: '#232a32',
  bad: '#ff8a80',
  series: [
    '#6cb2ff',
    '#ff9d5c',
    '#5fd07e',
    '#d39bff',
    '#e8c14a',
    '#ff85a8',
    '#4fd1e0',
    '#a9aef5',
    '#a8d65a',
    '#f58ac6',
    '#d0a98a',
    '#b4bdc8',
  ],
  heat: ['#1b2b3d', '#1f3d5c', '#24527d', '#2d6ba3', '#4389c6', '#6cacdf', '#a5d0f2'],
  heatInk: ['#e6eaef', '#e6eaef', '#ffffff', '#ffffff', '#0c1116', '#0c1116', '#0c1116'],
}

function variables({ series, heat, heatInk, ...named }: typeof LIGHT): string {
  const lists = { series, heat, 'heat-ink': heatInk }
  return [
    ...Object.entries(named).map(([name, value]) => `--${name}:${value}`),
    ...Object.entries(lists).flatMap(([name, values]) =>
      values.map((value, i) => `--${name}-${i}:${value}`),
    ),
  ].join(';')
}

export const PAGE_STYLE = `
:root{color-scheme:light dark;${variables(LIGHT)}}
@media (prefers-color-scheme:dark){:root{${variables(DARK)}}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:16px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:24px 16px 64px}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 4px}
h2{font-size:1.3rem;margin:48px 0 8px;border-top:1px solid var(--rule);padding-top:20px}
h3{font-size:1.05rem;margin:28px 0 4px}
p{margin:4px 0 12px;max-width:72ch}
.muted,figcaption{color:var(--muted);font-size:.875rem}
figure{margin:12px 0}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(290px,1fr));gap:16px;align-items:end}
.maps{display:flex;flex-wrap:wrap;gap:16px 32px}
.panel{margin:0}
.panel figcaption{color:var(--text);margin-bottom:4px}
.plot{display:block;max-width:100%;height:auto}
.keys{color:var(--muted);white-space:normal}
.key{white-space:nowrap;margin-left:6px;color:var(--text)}
.key i{display:inline-block;width:12px;height:3px;vertical-align:middle;margin-right:3px}
.scale{display:inline-flex;vertical-align:middle;margin:0 6px}
.scale i{width:18px;height:12px}
.narrow{display:none}
.scroll{overflow-x:auto}
caption{text-align:left;padding-bottom:6px}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums}
th,td{padding:5px 12px 5px 0;text-align:right;border-bottom:1px solid var(--grid);white-space:nowrap}
th{color:var(--muted);font-weight:600;vertical-align:bottom}
th.text,td.text{text-align:left}
.bad{color:var(--bad)}
.reasons td{white-space:normal;vertical-align:top}
details{border-bottom:1px solid var(--grid);padding:4px 0}
summary{cursor:pointer;overflow-wrap:anywhere}
pre{background:var(--panel);padding:12px;overflow-x:auto;font-size:.8rem;margin:8px 0}
@media (max-width:700px){.wide{display:none}.narrow{display:block}h1{font-size:1.4rem}}
`
