// Reads what one stage of test/run.ts achieved from vitest's JSON report. It must never call a run green that was not whole:
// a file that did not load counts as a failure though it holds no failed test.
import { existsSync, readFileSync } from 'node:fs'
import { relative } from 'node:path'

export interface Tally {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** Where and what failed, one line each. */
  readonly failures: readonly string[]
  /** Sentences of test/needs.ts with the tests that were skipped for them. */
  readonly needs: readonly string[]
}

/** The part of vitest's report that is read here. */
interface Report {
  readonly testResults: readonly {
    readonly name: string
    readonly status: string
    readonly assertionResults: readonly {
      readonly status: string
      readonly fullName: string
      readonly meta?: { readonly needs?: string }
    }[]
  }[]
}

/** Undefined when there is no readable report: the stage crashed. */
export function tallyOfReport(file: string, root: string): Tally | undefined {
  if (!existsSync(file)) return undefined
  try {
    return tally(JSON.parse(readFileSync(file, 'utf8')), root)
  } catch {
    return undefined
  }
}

export function tally(report: Report, root: string): Tally {
  return addTallies(
    report.testResults.map((file) => {
      const path = relative(root, file.name)
      const named = (status: string) => file.assertionResults.filter((test) => test.status === status)
      const failures = named('failed').map((test) => `${path}: ${test.fullName}`)
      if (failures.length === 0 && file.status === 'failed') failures.push(`${path}: did not load`)
      return {
        passed: named('passed').length,
        failed: failures.length,
        skipped: file.assertionResults.length - named('passed').length - named('failed').length,
        failures,
        needs: file.assertionResults.flatMap((test) =>
          test.meta?.needs === undefined ? [] : [`${test.meta.needs} (${path}: ${test.fullName})`],
        ),
      }
    }),
  )
}

export function addTallies(tallies: readonly Tally[]): Tally {
  const sum = (key: 'passed' | 'failed' | 'skipped') => tallies.reduce((total, tally) => total + tally[key], 0)
  return {
    passed: sum('passed'),
    failed: sum('failed'),
    skipped: sum('skipped'),
    failures: tallies.flatMap((tally) => tally.failures),
    needs: tallies.flatMap((tally) => tally.needs),
  }
}
