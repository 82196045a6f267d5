/** RESULTS.md, made of the raw runs: one table, misses marked, with when and how busy the machine was. Never edited by hand. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Figure, Run } from './figure.ts'

export function writeResults(dir: string, figures: readonly Figure[]): void {
  const runs = figures.flatMap(({ name }) => {
    const path = join(dir, 'runs', `${name}.json`)
    return existsSync(path) ? [JSON.parse(readFileSync(path, 'utf8')) as Run] : []
  })
  const missing = figures.filter(({ name }) => !runs.some((run) => run.name === name)).map(({ name }) => name)
  writeFileSync(join(dir, 'RESULTS.md'), render(runs, missing))
}

function render(runs: readonly Run[], missing: readonly string[]): string {
  const misses = runs.flatMap(({ rows }) => rows).filter(({ ok }) => !ok).length
  const all = runs.flatMap(({ rows }) => rows).length
  return [
    '# What Grapevine measures',
    '',
    'Made by `npm run bench` of the raw runs in `runs/`; not edited by hand. Everything is measured from outside of the agents, on one machine. A count in',
    'brackets is the number of measurements. Load is the 1 minute average before and after: other work on the machine makes figures worse.',
    '',
    `${all - misses} of ${all} rows hold.${missing.length > 0 ? ` Not measured yet: ${missing.join(', ')}.` : ''}`,
    ...runs.flatMap(section),
    '',
  ].join('\n')
}

function section(run: Run): readonly string[] {
  return [
    '',
    `## ${run.name}`,
    '',
    `${run.title}. ${run.at.slice(0, 16).replace('T', ' ')} UTC, commit ${run.commit}, ${run.seconds} s, load ${run.load.join(' -> ')}; ${run.machine}.`,
    '',
    '| what | wanted | measured | |',
    '|---|---|---|---|',
    ...run.rows.map(
      ({ what, wanted, measured, ok }) =>
        `| ${[what, wanted, measured, ok ? 'hit' : '**MISS**'].map(cell).join(' | ')} |`,
    ),
  ]
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ')
}
