/**
 * What is under way on a task's connections, which the kernel forwards and nobody here sees: asked of its sockets, by ss(8) in its namespace.
 *
 * A request is without its answer when the socket last received later than it sent. Only connections that came to the task count: those to a port
 * on which it listens.
 */
import { run } from './tools.ts'

/** 100 ms: what moved between two looks of the loop that waits for it (loops/reconcile-stop.ts). */
const justNowMs = 100

/** How many connections to a task have something under way; none where its sockets cannot be seen. */
export async function underWay(netns: string): Promise<number> {
  try {
    return countUnderWay(await run('nsenter', [`--net=${netns}`, 'ss', '-HtaniO']))
  } catch {
    // Without iproute2's ss, or without the namespace, nothing is known to be waited for.
    return 0
  }
}

/** From the lines of `ss -HtaniO`: state, two queues, own address, the other's, then what the kernel knows of it. */
export function countUnderWay(text: string): number {
  const rows = text.split('\n').map((line) => line.trim().split(/\s+/))
  const served = new Set(rows.filter(([state]) => state === 'LISTEN').map(([, , , own]) => portOf(own)))
  return rows.filter(([state, , , own, , ...facts]) => {
    if (state !== 'ESTAB' || !served.has(portOf(own))) return false
    const [sentMs, receivedMs] = [factOf('lastsnd', facts), factOf('lastrcv', facts)]
    return receivedMs < sentMs || Math.min(sentMs, receivedMs) <= justNowMs
  }).length
}

function portOf(address = ''): string {
  return address.slice(address.lastIndexOf(':') + 1)
}

/** `name:value`; a socket on which this never happened has none. */
function factOf(name: string, facts: readonly string[]): number {
  const fact = facts.find((text) => text.startsWith(`${name}:`))
  return fact === undefined ? Number.POSITIVE_INFINITY : Number(fact.slice(name.length + 1))
}
