// Public exports of sweeps and reports.

export { type ReportOptions, type ReportSummary, report } from './report.js'
export type { CellResult } from './result-file.js'
export type { RunMethod, RunSettings } from './settings.js'
export { type SweepOptions, sweep } from './sweep.js'
export type { Selection, SweepConfig } from './sweep-config.js'
export type { CellStatus, SweepEvent } from './sweep-events.js'
