/**
 * Clients that ask machines all the time, and what the kernels say about who served each of their connections.
 *
 * How a test of the linux data plane tells a request that was open on a lost machine from one that failed without a reason: every request is a connection
 * from a port that its client chose, and the connection tracking of each machine tells where it sent that port on to.
 */
import { needs } from '../needs.ts'
import type { Machine } from './machines.ts'

export interface Asked {
  /** When it began, in wall-clock ms. */
  readonly atMs: number
  readonly ms: number
  /** Address of the machine whose kernel chose the server. */
  readonly entry: string
  /** The client's. */
  readonly port: number
  readonly error?: string
}

export interface Witness {
  /** Where it asks from. */
  readonly address: string
  readonly asked: readonly Asked[]
}

export interface WitnessOptions {
  readonly address: string
  /** Runs a program there that goes on. */
  begin(line: string, onLine: (line: string) => void): void
  /** `host`: `address:port`. */
  readonly asks: readonly { readonly host: string; readonly entry: string }[]
}

/** Asks each host by one request after another, some 15 a second, each by a connection of its own, for as long as it can. */
export function witness({ address, begin, asks }: WitnessOptions): Witness {
  const asked: Asked[] = []
  begin(`node -e '${asker}' ${asks.map(({ host }) => host).join(' ')}`, (line) => {
    const { host, ...told } = JSON.parse(line)
    asked.push({ ...told, entry: asks[host]?.entry })
  })
  return { address, asked }
}

/** Ports from 10000 on, below those that kernels give out; 4,000 for each host, so that none is used again while a kernel remembers it. */
const asker = `const { request } = require("http")
process.argv.slice(1).forEach((to, host) => {
  const [hostname, port] = to.split(":")
  let n = 0
  const ask = () => {
    const atMs = Date.now(), localPort = 10000 + 4000 * host + n++ % 4000
    const say = (error) => { console.log(JSON.stringify({ atMs, ms: Date.now() - atMs, host, port: localPort, error })); setTimeout(ask, 60) }
    const q = request({ hostname, port, localPort, agent: false, timeout: 4000 }, (r) => r.resume().on("end", () => say()))
    q.on("timeout", () => q.destroy(new Error("no answer"))).on("error", (e) => say(e.code ?? e.message)).end()
  }
  ask()
})`

export interface Trackers {
  /** Where a client's connection was sent on to, by whichever machine. */
  servers(client: string, port: number): ReadonlySet<string>
  /** Follows a machine from now on, until it is switched off. */
  follow(machine: Machine): void
}

export function trackConnections(): Trackers {
  needs('conntrack')
  const known = new Map<string, Set<string>>()
  const told = (line: string) => {
    const [, client, port, server = ''] = /src=(\S+) dst=\S+ sport=(\d+) .*? src=(\S+) /.exec(line) ?? []
    const key = `${client}:${port}`
    known.set(key, (known.get(key) ?? new Set()).add(server))
  }
  return {
    servers: (client, port) => known.get(`${client}:${port}`) ?? new Set(),
    follow: (machine) => machine.observe('conntrack -E -e NEW -p tcp -b 8388608 2>/dev/null', told),
  }
}
