// What the runner makes of vitest's report: never greener than the run was.
import { expect, test } from 'vitest'
import { addTallies, tally, tallyOfReport } from '../../tally.ts'

const assertion = (status: string, needs?: string) => ({
  status,
  fullName: `a test that ${status}`,
  ...(needs === undefined ? {} : { meta: { needs } }),
})

test('passed, failed and skipped tests are counted, and what a skipped one needs is told', () => {
  const assertionResults = [
    assertion('passed'),
    assertion('failed'),
    assertion('skipped', 'needs dig: apt install dnsutils'),
  ]
  const report = { testResults: [{ name: '/top/test/e2e/dns.test.ts', status: 'failed', assertionResults }] }
  expect(tally(report, '/top')).toEqual({
    passed: 1,
    failed: 1,
    skipped: 1,
    failures: ['test/e2e/dns.test.ts: a test that failed'],
    needs: ['needs dig: apt install dnsutils (test/e2e/dns.test.ts: a test that skipped)'],
  })
})

test('a file that does not load counts as a failure', () => {
  const report = { testResults: [{ name: '/top/test/unit/broken.test.ts', status: 'failed', assertionResults: [] }] }
  expect(tally(report, '/top')).toMatchObject({
    passed: 0,
    failed: 1,
    failures: ['test/unit/broken.test.ts: did not load'],
  })
})

test('a stage that left no report has no tally', () => {
  expect(tallyOfReport('/nowhere/report.json', '/')).toBeUndefined()
})

test('tallies add up', () => {
  const one = { passed: 2, failed: 1, skipped: 0, failures: ['a'], needs: [] }
  expect(addTallies([one, one])).toEqual({ passed: 4, failed: 2, skipped: 0, failures: ['a', 'a'], needs: [] })
})
