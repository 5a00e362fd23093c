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
     * @param {boolean} [isFailure] whether it is to fail
     */
    check(what, { code, printed, seconds }, expected, isFailure = false) {
      const ok = (code !== 0) === isFailure && expected.test(printed)
      if (ok) passed++
      else failed++
      const line = expected.exec(printed)?.[0] ?? ''
      console.log(
        `${ok ? 'ok    ' : 'FAILED'} ${what} (${seconds.toFixed(1)} s)${isFailure ? `: ${line}` : ''}`,
      )
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
