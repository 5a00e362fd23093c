// @ts-check
// Says what was expected and what came, a line each, and counts.

/**
 * @typedef {import('./world.mjs').Ended} Ended
 * @typedef {ReturnType<typeof createReport>} Report
 */

export function createReport() {
  let failed = 0
  let passed = 0
  return {
    /**
     * @param {string} what
     * @param {Ended} ended
     * @param {RegExp} expected what it prints
     * @param {{ isFailure?: boolean, isTold?: boolean }} [options] whether it is to fail, and whether what was expected is told,
     *   as it is of failures
     */
    check(what, { code, printed, seconds }, expected, options = {}) {
      const { isFailure = false, isTold = isFailure } = options
      const ok = (code !== 0) === isFailure && expected.test(printed)
      if (ok) passed++
      else failed++
      const line = isTold ? `: ${expected.exec(printed)?.[0] ?? ''}` : ''
      console.log(`${ok ? 'ok    ' : 'FAILED'} ${what} (${seconds.toFixed(1)} s)${line}`)
      if (!ok) console.log(`expected ${expected}, exit code ${code}:\n${printed}`)
    },
    /** @param {string} line */
    note(line) {
      console.log(line)
    },
    end() {
      console.log(`${passed} as expected, ${failed} not`)
      return failed === 0 ? 0 : 1
    },
  }
}
