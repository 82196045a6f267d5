// The screen of `vine top`: right at any size, the same without colour.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { width } from '../../../agent/cli/table.ts'
import { keysOf, press } from '../../../agent/cli/top/keys.ts'
import { type Picture, picture, type Snapshot } from '../../../agent/cli/top/model.ts'
import { firstChoice, render } from '../../../agent/cli/top/render.ts'
import { nodeId, nodes, now, services, tasks, web } from './cluster.ts'

function snapshot(changes: Partial<Snapshot> = {}): Snapshot {
  return {
    atMs: now,
    verdict: {
      well: false,
      summary: '2 things are not well',
      problems: ['Node n10 is down.', 'Service "web" runs 2 of 3: web.3: no node fits'],
    },
    nodes,
    services,
    tasks,
    flows: [flow(100, 5000)],
    changes: [
      { atMs: now - 70_000, sentence: 'too old' },
      { atMs: now - 30_000, sentence: 'n10 dead: refused' },
    ],
    selfId: nodeId('n1'),
    ...changes,
  }
}

function flow(opened: number, bytesIn: number, failed = 0) {
  return { service: web.ID, name: 'web', opened, active: 4, failed, bytesIn, bytesOut: 0 }
}

const later = picture(snapshot({ atMs: now + 2000, flows: [flow(150, 25_000, 1)] }), snapshot())
const plain = { columns: 80, rows: 24, colour: false }

describe('render()', () => {
  test('fits 80x24, verdict first, keys last', () => {
    const lines = render(later, firstChoice, plain)
    expect(lines).toHaveLength(24)
    expect(Math.max(...lines.map(width))).toBeLessThanOrEqual(80)
    expect(lines[0]).toBe('Node n10 is down.')
    expect(lines.at(-1)).toBe('q quit   tab next list   ←→ sort   ↑↓ scroll   ? keys')
    const text = lines.join('\n')
    for (const words of [
      'n1 *',
      'web.10',
      '25',
      '10.0 kB',
      'CHANGED IN THE LAST MINUTE',
      '32 s ago  n10 dead: refused',
      '4 open',
    ])
      expect(text).toContain(words)
    expect(text).not.toContain('too old')
  })

  test('is one line of verdict when all is well', () => {
    const well = { ...later, verdict: { well: true, summary: 'All is well: 3 nodes', problems: [] } }
    expect(render(well, firstChoice, plain)[0]).toBe('All is well: 3 nodes')
  })

  test('has as many lines as the screen, none wider, at any size', () => {
    const sizes = fc.record({
      columns: fc.integer({ min: 1, max: 200 }),
      rows: fc.integer({ min: 1, max: 80 }),
      colour: fc.constant(false),
    })
    const choices = fc.record({
      focus: fc.integer({ min: 0, max: 2 }),
      sort: fc.tuple(...[0, 1, 2].map(() => fc.integer({ min: 0, max: 5 }))),
      scroll: fc.integer({ min: 0, max: 50 }),
      help: fc.boolean(),
    })
    fc.assert(
      fc.property(sizes, choices, (size, choice) => {
        const lines = render(later, choice, size)
        expect(lines).toHaveLength(size.rows)
        for (const line of lines) expect(width(line)).toBeLessThanOrEqual(size.columns)
      }),
    )
  })

  test('colour changes no word', () => {
    const tinted = render(later, firstChoice, { ...plain, colour: true })
    expect(tinted.join('')).toContain('\u001b[31m')
    expect(
      tinted.map((line) => line.replaceAll('\u001b[31m', '').replaceAll('\u001b[33m', '').replaceAll('\u001b[39m', '')),
    ).toEqual(render(later, firstChoice, plain))
  })

  test('a list that is cut says how many rows it has', () => {
    const many = picture(
      snapshot({
        tasks: Array.from({ length: 40 }, (_, i) => ({ ...(tasks[0] as (typeof tasks)[0]), ID: `t${i}`, Slot: i + 1 })),
      }),
      undefined,
    )
    expect(render(many, { ...firstChoice, focus: 2, scroll: 5 }, plain).join('\n')).toMatch(/\(6-\d+ of 40\)/)
  })
})

describe('picture()', () => {
  test('rates are differences of counters a second', () => {
    expect(later.total).toEqual({ connections: 25, bytes: 10_000, failures: 0.5 })
  })

  test('the first look has no rates, and a counter that began anew counts from zero', () => {
    expect(picture(snapshot(), undefined).total).toEqual({ connections: 0, bytes: 0, failures: 0 })
    const restarted = picture(snapshot({ atMs: now + 1000, flows: [flow(3, 0)] }), snapshot())
    expect(restarted.total.connections).toBe(3)
  })
})

describe('keys', () => {
  const choose = (...keys: readonly string[]) =>
    keys.reduce<ReturnType<typeof press>>(
      (choice, key) => (choice === 'quit' ? choice : press(key, choice, later as Picture)),
      firstChoice,
    )

  test('tab goes round the lists, arrows sort and scroll within them', () => {
    expect(choose('\t')).toMatchObject({ focus: 2 })
    expect(choose('\t', '\t')).toMatchObject({ focus: 0 })
    expect(choose('\u001b[C', '\u001b[C', '\u001b[D')).toMatchObject({ sort: [0, 1, 0] })
    expect(choose('\u001b[D')).toMatchObject({ sort: [0, 5, 0] })
    expect(choose('\u001b[B', '\u001b[B', '\u001b[B')).toMatchObject({ scroll: 1 })
    expect(choose('\u001b[A')).toMatchObject({ scroll: 0 })
  })

  test('q and Ctrl-C quit, ? helps', () => {
    expect(choose('q')).toBe('quit')
    expect(choose('\u0003')).toBe('quit')
    expect(choose('?')).toMatchObject({ help: true })
    expect(choose('x')).toEqual(firstChoice)
  })

  test('several keys may come at once', () => {
    expect(keysOf('\t\u001b[A\u001bOBq')).toEqual(['\t', '\u001b[A', '\u001bOB', 'q'])
  })
})
