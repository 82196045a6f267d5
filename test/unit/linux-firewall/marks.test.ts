// Numbers of entry nodes and the routes of replies, as lines for ip.
import { expect, test } from 'vitest'
import { EntryNumbers, numbersFound, replyRouteLines } from '../../../agent/dataplane/linux/marks.ts'
import { nodeMac } from '../../../agent/dataplane/linux/names.ts'

const nothing = { rules: [], routes: [], neighbours: [] }

test('a node keeps its number while others come and go', () => {
  const numbers = new EntryNumbers()
  const first = numbers.of(['a', 'b']).get('b')
  numbers.of(['a', 'c'])
  expect(numbers.of(['b', 'd']).get('b')).toBe(first)
})

test('no two nodes have one number, not even one that is gone', () => {
  const numbers = new EntryNumbers()
  const nodes = Array.from({ length: 2_000 }, (_, index) => `node ${index}`)
  const given = new Map([...numbers.of(nodes.slice(0, 1_000)), ...numbers.of(nodes.slice(1_000))])
  expect(new Set(given.values()).size).toBe(2_000)
  for (const number of given.values()) expect(number).toBeGreaterThan(0)
})

test('an agent that starts again gives the numbers that the kernel still has', () => {
  const numbers = new EntryNumbers()
  const neighbours = [
    { dst: '169.254.130.5', lladdr: nodeMac('a') },
    { dst: '10.255.0.4', lladdr: nodeMac('b') },
  ]
  const found = numbersFound({ ...nothing, neighbours })
  expect([...found]).toEqual([[nodeMac('a'), 2 * 256 + 5]])
  numbers.adopt('a', found.get(nodeMac('a'))!)
  expect(numbers.of(['a', 'b']).get('a')).toBe(517)
})

test('routes come before the rules that lead to them, and the gate to the rules last', () => {
  const lines = replyRouteLines('vb0', new Map([['a', 517]]), nothing)
  expect(lines.map((line) => line.split(' ').slice(0, 2).join(' '))).toEqual([
    'neighbour replace',
    'route replace',
    'rule add',
    'rule add',
    'rule add',
  ])
  expect(lines.at(-1)).toContain('not iif vb0')
})

test('the rules of another bridge, and those of nodes that are gone, are taken away', () => {
  const rules = [
    { priority: 0, src: 'all', table: 'local' },
    { priority: 10_776, not: null, src: 'all', iif: 'vb9', goto: 10_778 },
    { priority: 10_777, src: 'all', fwmark: '0x67760007', iif: 'vb0', table: '1735786503' },
    { priority: 32_766, src: 'all', table: 'main' },
  ]
  const neighbours = [{ dst: '169.254.128.7', lladdr: nodeMac('gone') }]
  const lines = replyRouteLines('vb0', new Map(), { rules, routes: [], neighbours })
  expect(lines.filter((line) => /delete|flush/.test(line))).toEqual([
    'rule delete preference 10776 not iif vb9 goto 10778',
    'rule delete preference 10777 iif vb0 fwmark 0x67760007 lookup 1735786503',
    'neighbour delete 169.254.128.7 dev vb0',
    'route flush table 1735786503',
  ])
})
