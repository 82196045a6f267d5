// Who may import whom: `protocol <- core <- loops <- node <- main`, edges beside each other and never into each other (design.md 2).
// A folder of agent/ that is not named here is an edge. Types count like values: what a file knows is what it names.
import { posix } from 'node:path'
import { type Breach, importsOf, type Source } from './source.ts'

/** What each part that is not an edge may import. `shell` is any file directly in agent/ that is not a part of its own. */
const MAY: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  presets: ['protocol'],
  fault: ['protocol'],
  // fault.ts holds values and assert only, and is held to the same purity (form.ts).
  core: ['protocol', 'presets', 'fault'],
  world: ['protocol', 'core', 'presets', 'fault'],
  trust: ['protocol', 'core', 'fault'],
  view: ['protocol', 'core', 'presets', 'world', 'fault'],
  journal: ['protocol', 'core', 'presets', 'world', 'fault', 'view'],
  loops: ['protocol', 'core', 'presets', 'world', 'fault', 'view'],
  shell: ['protocol', 'core', 'presets', 'world', 'fault', 'view'],
}
/** Keys and signatures are named by every edge that proves or checks who speaks; they know no edge themselves. */
const EDGE_MAY = ['protocol', 'core', 'presets', 'world', 'fault', 'view', 'trust', 'shell']
/** Files of agent/ that are parts by themselves, and folders that are no edges. */
const OWN_FILES = ['presets', 'fault', 'world', 'view', 'journal', 'node', 'main', 'start']
const OWN_FOLDERS = ['core', 'trust', 'loops', 'start']
/** Edges that come in two implementations, which know their common folder but not each other. */
const SPLIT_EDGES = ['dataplane', 'runtime']
/** The command line knows the swarm through its API only: the client, and the headers and shapes that the API answers with. */
const API_FOR_CLIENTS = /^agent\/api\/(client|headers|shapes|types)(\/|\.ts$)/
const CLIENT_ONLY = ['edge cli', 'edge demo']
const CLIENT_MAY = ['protocol', 'presets', 'fault', 'shell']

export function arrows(files: readonly Source[]): readonly Breach[] {
  return files.flatMap((file) =>
    importsOf(file.text).flatMap(({ from, types }) => {
      const why = from.startsWith('.') ? wrongWay(file.path, from) : wrongPackage(file.path, from, types)
      return why === undefined ? [] : [`${file.path} imports ${from}: ${why}`]
    }),
  )
}

function wrongWay(path: string, from: string): string | undefined {
  const target = posix.join(posix.dirname(path), from)
  const [own, other] = [partOf(path), partOf(target)]
  if (own === undefined || own === other) return undefined
  if (other === undefined) return target.startsWith('test/') ? 'the program knows nothing of its tests' : undefined
  if (own === 'main') return undefined
  // start.ts and its folder put the agent of production together: node.ts over the real world, and the edges around it.
  if (own === 'node' || own === 'start')
    return isClient(other) || other === 'main' ? `${own} runs without the command line` : undefined
  if (isClient(own) && target === 'agent/start.ts') return undefined
  if (other === 'node' || other === 'main' || other === 'start') return 'only node.ts, start.ts and main.ts compose'
  if (isClient(own)) {
    if (API_FOR_CLIENTS.test(target) || isClient(other) || CLIENT_MAY.includes(other)) return undefined
    return 'it may use the API client only'
  }
  if (own.startsWith('edge ') && other.startsWith('edge ')) {
    return own.startsWith(`${other}/`) || other.startsWith(`${own}/`) ? undefined : 'edges never import each other'
  }
  const may = own.startsWith('edge ') ? EDGE_MAY : (MAY[own] ?? [])
  return may.includes(other) ? undefined : `${own} may import only ${may.join(', ') || 'itself'}`
}

function wrongPackage(path: string, from: string, types: boolean): string | undefined {
  if (from === 'node:http' && !types) return 'agent/http.ts has it, without what an import of it loads'
  const libp2p = from === 'libp2p' || from.startsWith('@libp2p/') || from.startsWith('@chainsafe/')
  if (libp2p && !path.startsWith('agent/transport/')) return 'libp2p stays in agent/transport/'
  return undefined
}

function isClient(part: string): boolean {
  return CLIENT_ONLY.includes(part)
}

/** The part a path belongs to; undefined outside of protocol/ and agent/. */
function partOf(path: string): string | undefined {
  const [top, second = '', third = ''] = path.split('/')
  if (top === 'protocol') return 'protocol'
  if (top !== 'agent') return undefined
  if (second.endsWith('.ts')) return OWN_FILES.includes(second.slice(0, -3)) ? second.slice(0, -3) : 'shell'
  if (OWN_FOLDERS.includes(second)) return second
  return SPLIT_EDGES.includes(second) && third !== '' && !third.endsWith('.ts')
    ? `edge ${second}/${third}`
    : `edge ${second}`
}
