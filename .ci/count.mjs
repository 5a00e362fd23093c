// Prints the closing line of CI from vitest's JSON report, and exits 1 when anything failed or no
// test ran: .ci/count.mjs REPORT FAILED_CHECKS
import { readFileSync } from 'node:fs'

const [report, failedChecks] = process.argv.slice(2)
let tests = {
  numPassedTests: 0,
  numFailedTests: 0,
  numPendingTests: 0,
  numTodoTests: 0,
  testResults: [],
}
try {
  tests = JSON.parse(readFileSync(report, 'utf8'))
} catch {
  console.error('no report of tests: they did not run')
}
// a file that does not load has no tests of its own, and failed all the same
const brokenFiles = tests.testResults.filter(
  ({ status, assertionResults }) =>
    status === 'failed' && !assertionResults.some((result) => result.status === 'failed'),
).length
const testFailures = tests.numFailedTests + brokenFiles
// the check `tests` fails by these same failures: they count once
const otherFailures = Math.max(0, Number(failedChecks) - (testFailures > 0 ? 1 : 0))
const failed = testFailures + otherFailures
const skipped = tests.numPendingTests + tests.numTodoTests
console.log(
  `${tests.numPassedTests} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`,
)
process.exitCode = failed > 0 || tests.numPassedTests === 0 ? 1 : 0
