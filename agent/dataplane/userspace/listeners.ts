/**
 * The set of open listeners: opened, kept and closed so that it is the one asked for. A listener that stays keeps its route object, so its
 * clients and openings see new endpoints at once; one that fails hinders no other.
 */
import type { Protocol } from '../../../protocol/model.ts'
import { TcpListener } from './listener.ts'
import { Route, type RouteFacts } from './route.ts'
import { type UdpDeps, UdpListener } from './udp.ts'

export interface Address {
  readonly protocol: 'tcp' | 'udp'
  readonly host: string
  readonly port: number
  readonly target: number
  readonly facts: RouteFacts
  /** A published port, or an alias. */
  readonly published: boolean
}

interface Entry {
  readonly address: Address
  readonly route: Route
  readonly listener: TcpListener | UdpListener
  /** Settles with undefined when open, else with an error code. */
  readonly opened: Promise<string | undefined>
}

export class Listeners {
  private readonly deps: UdpDeps
  private readonly entries = new Map<string, Entry>()

  constructor(deps: UdpDeps) {
    this.deps = deps
  }

  /** Opens, updates and closes. Of two that want one place the last gets it. Returns what could not be opened. */
  async make(addresses: readonly Address[]): Promise<readonly { readonly address: Address; readonly code: string }[]> {
    const wanted = new Map(addresses.map((address) => [keyOf(address), address]))
    await Promise.all([...this.entries].map(([key, entry]) => (wanted.has(key) ? undefined : this.close(key, entry))))
    const open = async (address: Address) => ({ address, code: await this.open(address) })
    const results = await Promise.all([...wanted.values()].map(open))
    return results.flatMap(({ address, code }) => (code === undefined ? [] : [{ address, code }]))
  }

  /** Opens one, or updates it. Undefined when it is open, else an error code. */
  async open(address: Address): Promise<string | undefined> {
    const key = keyOf(address)
    let entry = this.entries.get(key)
    if (entry !== undefined && entry.address.target !== address.target) {
      await this.close(key, entry)
      entry = undefined
    }
    if (entry === undefined) {
      entry = this.create(address)
      this.entries.set(key, entry)
    } else {
      entry.route.update(address.facts)
      if (entry.listener instanceof UdpListener) entry.listener.routeChanged()
    }
    const code = await entry.opened
    if (code !== undefined && this.entries.get(key) === entry) await this.close(key, entry)
    return code
  }

  /** Frees a port on every address. */
  async closePort(protocol: Protocol, port: number): Promise<void> {
    const found = [...this.entries].filter(([, e]) => e.address.protocol === protocol && e.address.port === port)
    await Promise.all(found.filter(([, e]) => e.address.published).map(([key, entry]) => this.close(key, entry)))
  }

  async closeAll(): Promise<void> {
    await Promise.all([...this.entries].map(([key, entry]) => this.close(key, entry)))
  }

  private create(address: Address): Entry {
    const { protocol, host, port, target, facts } = address
    const route = new Route(protocol, target, facts)
    if (protocol === 'udp') {
      const listener = new UdpListener(host, port, route, this.deps)
      return { address, route, listener, opened: listener.listen() }
    }
    const listener = new TcpListener(host, port)
    return { address, route, listener, opened: listener.listen(route, this.deps) }
  }

  private async close(key: string, entry: Entry): Promise<void> {
    this.entries.delete(key)
    entry.route.clear()
    await entry.listener.close()
  }
}

function keyOf(address: Address): string {
  return `${address.protocol} ${address.host} ${address.port}`
}
