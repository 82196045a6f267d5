/**
 * Runs the programs that speak to the kernel for us: ip, bridge, nft, nsenter, wg. Words and input in, output or a sentence out; no policy.
 *
 * Many changes go into one program by `-batch -`: a start costs 2 ms, a line 20 us. Not by `nft -f -`: nft opens /dev/stdin by name, which fails
 * for the sockets that Node's pipes are.
 */
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { assert, fault, reasonOf } from '../../fault.ts'

export type Tool =
  | 'ip'
  | 'bridge'
  | 'nft'
  | 'nsenter'
  | 'unshare'
  | 'sh'
  | 'conntrack'
  | 'wg'
  | 'wireguard-go'
  | 'iptables'
  | 'ip6tables'

/** The output of a program that ended with 0. Rejects with a Fault 'unavailable' that has what it said. */
export async function run(tool: Tool, words: readonly string[], input = ''): Promise<string> {
  const { failed, out, err } = await runTool(tool, words, input)
  if (failed === undefined) return out
  const said = lastWords(err)
  throw fault('unavailable', said === '' ? `${tool} failed: ${failed}` : `${tool} said: ${said}`)
}

/** One line of a batch that the kernel refused, and in which words. */
export interface Refusal {
  readonly line: string
  readonly why: string
}

/** Does all lines in order, or up to the first that is refused. */
export async function batchUntilRefused(tool: Batched, lines: readonly string[]): Promise<Refusal | undefined> {
  const [refusal] = await batch(tool, [], lines)
  return refusal
}

/** Does all lines, whatever becomes of each. */
export async function batchAll(tool: Batched, lines: readonly string[]): Promise<readonly Refusal[]> {
  return await batch(tool, ['-force'], lines)
}

/** `ip -6` for lines that do not show by an address that they are of IPv6. */
export type Batched = 'ip' | 'ip -6' | 'bridge'

async function batch(batched: Batched, flags: readonly string[], lines: readonly string[]) {
  if (lines.length === 0) return []
  const [tool, ...family] = batched === 'ip -6' ? (['ip', '-6'] as const) : ([batched] as const)
  const { failed, err } = await runTool(tool, [...family, ...flags, '-batch', '-'], `${lines.join('\n')}\n`)
  if (failed === undefined) return []
  const refusals: Refusal[] = []
  let why = ''
  for (const said of err.split('\n')) {
    const number = /^Command failed -:(\d+)/.exec(said)?.[1]
    if (number === undefined) why = said === '' ? why : withoutSender(said)
    else refusals.push({ line: lines[Number(number) - 1] ?? '', why })
  }
  return refusals.length > 0 ? refusals : [{ line: lines[0] ?? '', why: lastWords(err) || failed }]
}

/** Tables as the tools print them with `-j`; an empty output is an empty table. */
export async function tableOf(tool: 'ip' | 'bridge', words: readonly string[]): Promise<readonly Row[]> {
  const text = (await run(tool, ['-j', ...words])).trim()
  return text === '' ? [] : (JSON.parse(text) as readonly Row[])
}

/** Several tables of one family from one start of ip, in their order. Rejects when one of them cannot be read. */
export async function tablesOf(flag: '-4' | '-6', asked: readonly string[]): Promise<readonly (readonly Row[])[]> {
  const text = (await run('ip', ['-j', flag, '-batch', '-'], `${asked.join('\n')}\n`)).trim()
  const tables = text.split('\n').map((line) => JSON.parse(line) as readonly Row[])
  assert(tables.length === asked.length, 'ip prints a line for each table, an empty one too')
  return tables
}

export type Row = Readonly<Record<string, unknown>>

/** Writes a setting of this network namespace, unless it is so already. False when it may not be written or does not exist. */
export function writeSetting(name: string, value: string): boolean {
  const file = `/proc/sys/net/${name}`
  try {
    if (readFileSync(file, 'utf8').trim() !== value) writeFileSync(file, value)
    return true
  } catch {
    return false
  }
}

interface Ran {
  readonly failed: string | undefined
  readonly out: string
  readonly err: string
}

/** Where these programs are, also for an agent that an ordinary user's shell started as root. */
export const toolFolders = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/local/bin', '/usr/bin', '/bin']

/** 64 MB: `ip -j neigh` prints 90 bytes for each of at most some 100,000 addresses. */
const OUTPUT_BYTES = 64 * 1024 * 1024

function runTool(tool: Tool, words: readonly string[], input: string): Promise<Ran> {
  return new Promise((resolve) => {
    const options = { env: { PATH: toolFolders.join(':'), LC_ALL: 'C' }, maxBuffer: OUTPUT_BYTES, timeout: TOOL_MS }
    const child = execFile(tool, words, options, (error, out, err) => {
      resolve({ failed: error === null ? undefined : reasonOf(error).split('\n')[0], out, err })
    })
    // A program that ends before it has read everything says why on stderr.
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
  })
}

/** 30 s: the longest batch, 100,000 lines, takes 3 s on an idle machine. */
const TOOL_MS = 30_000

function lastWords(err: string): string {
  const lines = err.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('Command failed'))
  return withoutSender(lines.at(-1) ?? '')
}

function withoutSender(line: string): string {
  return line.replace(/^(RTNETLINK answers|Error): /, '')
}
