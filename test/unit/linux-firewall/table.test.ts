// The table as a whole: what a change costs, and that remembering never alters a result.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Backend } from '../../../agent/core/routes/types.ts'
import { emptyMemory } from '../../../agent/dataplane/linux/memory.ts'
import type { Table } from '../../../agent/dataplane/linux/model.ts'
import { renderTable } from '../../../agent/dataplane/linux/render.ts'
import { difference, replacement } from '../../../agent/dataplane/linux/text.ts'
import { backend, facts, published, service } from './world.ts'

const many = (count: number, change: (index: number) => Partial<Backend> = () => ({})) => {
  const indices = Array.from({ length: count }, (_, index) => index)
  const backends = (index: number) => [
    backend(`t${index}`, 'n2', `10.0.1.${index + 1}`, change(index)),
    backend(`u${index}`, 'n2', `10.255.0.${index + 1}`),
  ]
  return {
    published: indices.map((i) => published(backends(i), { port: 8000 + i, service: `s${i}` })),
    services: indices.map((i) => service(backends(i), { service: `s${i}`, vip: `10.0.1.${i + 1}` })),
  }
}

test('equal routes give an equal table, and no difference', () => {
  expect(difference(renderTable(facts(many(20))), renderTable(facts(many(20))))).toEqual([])
})

test('a change of one service names no other', () => {
  const gone = many(20, (index) => ({ healthy: index !== 7 }))
  const statements = difference(renderTable(facts(many(20))), renderTable(facts(gone)))
  expect(statements).not.toEqual([])
  for (const statement of statements) expect(statement).toMatch(/ (p_tcp_8007|v_s7_\w+)\b/)
})

test('the rules that a packet meets are as many with one service as with a hundred', () => {
  const hooked = (table: Table) =>
    [...table.chains].filter(([name]) => !/^[pve]_/.test(name)).map(([name, { rules }]) => [name, rules.length])
  expect(hooked(renderTable(facts(many(100))))).toEqual(hooked(renderTable(facts(many(1)))))
})

test('a chain is declared before a rule or an element leads to it, and deleted when nothing does any more', () => {
  const tables = [facts(many(2)), facts({}), facts(mixed())].map((input) => renderTable(input))
  const empty: Table = { sets: new Map(), chains: new Map() }
  let before = empty
  for (const after of [tables[0]!, tables[1]!, tables[2]!, tables[1]!, tables[0]!]) {
    follow(before, difference(before, after))
    before = after
  }
  follow(empty, replacement(tables[0]!).slice(3))
})

test('what is rendered with memory of earlier tables is what is rendered without', () => {
  const change = fc.record({
    host: fc.constantFrom('10.0.1.1', '10.0.1.2', 'no address'),
    node: fc.constantFrom('n2', 'n3'),
    suspect: fc.boolean(),
    healthy: fc.boolean(),
    ports: fc.constantFrom(
      [{ protocol: 'tcp' as const, target: 80, actual: 80 }],
      [{ protocol: 'tcp' as const, target: 80, actual: 81 }],
      [{ protocol: 'udp' as const, target: 80, actual: 80 }],
      [],
    ),
  })
  const round = fc.record({
    backends: fc.array(fc.tuple(fc.constantFrom('t1', 't2', 't3'), change), { maxLength: 3 }),
    affinity: fc.constantFrom('none' as const, 'client-ip' as const),
    proxyProtocol: fc.boolean(),
    target: fc.constantFrom(80, 81),
    vip: fc.constantFrom(undefined, '10.0.1.10', '10.0.1.11'),
  })
  fc.assert(
    fc.property(fc.array(round, { minLength: 2, maxLength: 5 }), (rounds) => {
      const memory = emptyMemory()
      for (const { backends: drawn, affinity, proxyProtocol, target, vip } of rounds) {
        const backends = drawn.map(([task, more]) => backend(task, 'n2', '10.0.1.9', more))
        const options = { affinity, proxyProtocol }
        const [first] = backends
        const tasks =
          first === undefined
            ? []
            : [{ network: 'appnet', task: 't1', service: 's1', address: '10.0.1.50', backend: first }]
        const services = [service(backends, { options, vip })]
        const input = facts({ published: [published(backends, { options, target })], services, tasks })
        expect(renderTable(input, memory)).toEqual(renderTable(input))
      }
    }),
    { numRuns: 100 },
  )
})

const port = { protocol: 'tcp' as const, target: 80, actual: 80 }
const base = {
  backend: {},
  /** On a userspace node, whose ports and addresses are in the table one by one. */
  strange: {},
  published: {},
  service: {},
  task: {},
  nodes: 'as they are' as string,
}
type Changed = Partial<typeof base>

function everything({ backend: ofOne = {}, strange: ofOther = {}, ...change }: Changed) {
  const backends = [
    backend('t1', 'n2', '10.0.1.21', ofOne),
    backend('t2', 'n2', '10.0.1.22'),
    backend('t3', 'n2', '10.0.1.23'),
  ]
  const strange = backend('t9', 'n3', '10.77.0.3', ofOther)
  const made = facts({
    published: [published(backends, change.published)],
    services: [service(backends, change.service), service([strange], { service: 's2', vip: '10.0.1.12' })],
    tasks: [{ network: 'appnet', task: 't9', service: 's2', address: '10.0.1.50', backend: strange, ...change.task }],
  })
  const overlay = made.routes.overlay!
  const nodes =
    change.nodes === 'turned' ? overlay.nodes.map((n) => ({ ...n, dataplane: 'userspace' as const })) : overlay.nodes
  return { ...made, routes: { ...made.routes, overlay: { ...overlay, nodes } } }
}

test.for<readonly [string, Changed]>([
  ['the address of a backend', { backend: { host: '10.0.1.99' } }],
  ['the IPv6 address of a backend', { backend: { host6: 'fd01::21' } }],
  ['an IPv6 VIP', { service: { vip6: 'fd01::10' } }],
  ['the node of a backend', { backend: { node: 'n3' } }],
  ['the health of a backend', { backend: { healthy: false } }],
  ['the suspicion of a backend', { backend: { suspect: true } }],
  ['the real port of a backend', { backend: { ports: [{ ...port, actual: 81 }] } }],
  ['a target port of a backend', { strange: { ports: [{ ...port, target: 81 }] } }],
  ['a protocol of a backend', { strange: { ports: [{ ...port, protocol: 'udp' }] } }],
  ['the ports of a backend', { strange: { ports: [] } }],
  ['the target of a published port', { published: { target: 81 } }],
  ['the number of a published port', { published: { port: 8001 } }],
  ['the protocol of a published port', { published: { protocol: 'udp' } }],
  ['the wish for a header', { published: { options: { affinity: 'none', proxyProtocol: true } } }],
  ['the affinity', { service: { options: { affinity: 'client-ip', proxyProtocol: false } } }],
  ['a VIP', { service: { vip: '10.0.1.11' } }],
  ['the network of a service', { service: { network: 'other' } }],
  ['the number of backends', { service: { backends: [] } }],
  ['the address of a task', { task: { address: '10.0.1.51' } }],
  ['the data plane of nodes', { nodes: 'turned' }],
])('a change of %s reaches the table', ([, change]) => {
  const memory = emptyMemory()
  const before = renderTable(everything({}), memory)
  const after = renderTable(everything(change), memory)
  expect(after).not.toEqual(before)
  expect(after).toEqual(renderTable(everything(change)))
})

function mixed() {
  const strange = backend('t9', 'n3', '10.77.0.3')
  return { services: [service([backend('t1', 'n2', '10.0.1.1'), strange])] }
}

/** Reads statements as the kernel would, and objects where they lead to nothing or delete what is in use. */
function follow(before: Table, statements: readonly string[]): void {
  const chains = new Map(
    [...before.chains].map(([name, { rules }]) => [name, rules.map((rule) => JSON.stringify(rule))]),
  )
  const elements = new Map<string, string>()
  for (const [set, held] of before.sets) for (const [key, value] of held.elements) elements.set(`${set} ${key}`, value)
  for (const statement of statements) {
    const [verb, what, , , name = '', ...rest] = statement.split(' ')
    const words = rest.join(' ')
    for (const [, chain = ''] of words.matchAll(/\b(?:goto|jump) (\w+)/g)) {
      expect(chains.has(chain), `${statement} leads to a chain`).toBe(true)
    }
    if (what === 'chain' && verb === 'add') chains.set(name, [])
    if (what === 'chain' && verb === 'flush') chains.set(name, [])
    if (what === 'rule') chains.get(name)!.push(words)
    if (what === 'element') {
      for (const [key = '', value = ''] of words
        .slice(2, -2)
        .split(', ')
        .map((one) => one.split(' : '))) {
        if (verb === 'add') elements.set(`${name} ${key}`, value)
        else expect(elements.delete(`${name} ${key}`), `${statement} deletes what is there`).toBe(true)
      }
    }
    if (what === 'chain' && verb === 'delete') {
      const leading = [...chains.values(), [...elements.values()]].flat()
      expect(leading.filter((text) => new RegExp(`\\b${name}\\b`).test(text))).toEqual([])
      expect(chains.get(name)).toEqual([])
      chains.delete(name)
    }
  }
}
