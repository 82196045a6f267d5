// The arrows between the parts, and that the rule sees each way to break them.
import { expect, test } from 'vitest'
import { arrows } from './arrows.ts'
import { codeOf, importsOf, sources } from './source.ts'

test('every import follows the arrows of design.md 2', () => {
  expect(arrows(sources(['protocol', 'agent']))).toEqual([])
})

test.for([
  ['protocol/merge.ts', '../agent/core/place.ts'],
  ['agent/core/place.ts', '../world.ts'],
  ['agent/core/place.ts', '../loops/reconcile.ts'],
  ['agent/world.ts', './loops/reconcile.ts'],
  ['agent/loops/gossip.ts', '../transport/libp2p.ts'],
  ['agent/loops/gossip.ts', '../node.ts'],
  ['agent/view.ts', './journal.ts'],
  ['agent/dns/server.ts', '../health/check.ts'],
  ['agent/dns/server.ts', '../api/client.ts'],
  ['agent/dataplane/userspace/listener.ts', '../linux/nft.ts'],
  ['agent/runtime/process/start.ts', '../docker/engine.ts'],
  ['agent/api/server.ts', '../node.ts'],
  ['agent/cli/ls.ts', '../view.ts'],
  ['agent/cli/ls.ts', '../core/why.ts'],
  ['agent/cli/ls.ts', '../api/server.ts'],
  ['agent/cli/agent.ts', '../node.ts'],
  ['agent/node.ts', './cli/ls.ts'],
  ['agent/config.ts', './dns/server.ts'],
  ['agent/node.ts', '../test/until.ts'],
  ['agent/node.ts', '@libp2p/peer-id'],
  ['agent/dns/server.ts', 'libp2p'],
  ['agent/cli/client.ts', 'node:http'],
])('%s may not import %s', ([path = '', from = '']) => {
  expect(arrows([{ path, text: `import { a } from '${from}'\n` }])).toHaveLength(1)
})

test.for([
  ['protocol/merge.ts', './hlc.ts'],
  ['agent/core/placement/place.ts', '../../../protocol/spec.ts'],
  ['agent/loops/gossip.ts', '../view.ts'],
  ['agent/dataplane/userspace/listener.ts', '../pick.ts'],
  ['agent/cli/ls.ts', '../api/client.ts'],
  ['agent/node.ts', './transport/libp2p.ts'],
  ['agent/main.ts', './cli/ls.ts'],
  ['agent/transport/libp2p.ts', '@libp2p/tcp'],
  ['agent/dns/server.ts', '../log.ts'],
])('%s may import %s', ([path = '', from = '']) => {
  expect(arrows([{ path, text: `import { a } from '${from}'\n` }])).toEqual([])
})

test('types of node:http may be imported from anywhere', () => {
  expect(arrows([{ path: 'agent/cli/client.ts', text: "import type { Server } from 'node:http'\n" }])).toEqual([])
})

test('an import is found however it is written, and not in a comment', () => {
  const text = [
    "import a from './a.ts'",
    'import {\n  b,\n} from "./b.ts"',
    "import type { C } from './c.ts'",
    "export * from './d.ts'",
    "import './e.ts'",
    "const f = await import('./f.ts')",
    "// import g from './g.ts'",
    "/* import h from './h.ts' */",
  ].join('\n')
  expect(importsOf(text).map(({ from }) => from)).toEqual(['./a.ts', './b.ts', './c.ts', './d.ts', './e.ts', './f.ts'])
})

test('code is told from prose in comments, strings, templates and regular expressions', () => {
  const text =
    "a(`x Date ${b({ c: `Date` }, Date)} Date`, \"Date\", 'it\\'s Date', /Date[\"'`/]/g, d / Date) // Date\n/* Date */ e"
  expect(codeOf(text).match(/Date/g)).toHaveLength(2)
  expect(codeOf(text)).toHaveLength(text.length)
})
