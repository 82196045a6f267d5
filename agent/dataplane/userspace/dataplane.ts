/**
 * The data plane that needs no privileges: everything is forwarded by this process (design.md 8, "userspace").
 *
 * Makes `Routes` so: listeners for published ports on every address of the node, and for each service and task an alias that tasks here
 * can reach. Owns the listeners and what tasks were given; picks, dials and counts through the files beside it. Never listens on a wildcard.
 */
import { connect, type Server } from 'node:net'
import type { NodeId, TaskId } from '../../../protocol/ids.ts'
import { Ejections } from '../../core/routes/ejection.ts'
import type { PublishedRoute, Routes } from '../../core/routes/types.ts'
import type {
  ApplyProblem,
  Attachment,
  AttachRequest,
  Cancel,
  Clock,
  Dataplane,
  Log,
  Mesh,
  Random,
} from '../../world.ts'
import { AcceptTimeouts } from './accept-timeouts.ts'
import { type AliasTarget, claimBlock } from './aliases.ts'
import { Arrivals } from './arrivals.ts'
import { Attachments, attachmentOf } from './attachments.ts'
import { takeFlow } from './hosting.ts'
import { type HostName, HostsFiles } from './hosts-files.ts'
import { type Counters, type FailedAttempt, type FlowRecord, Ledger } from './ledger.ts'
import { type Address, Listeners } from './listeners.ts'
import { notOpened, unsupported } from './problems.ts'
import { Reachable } from './reachable.ts'
import { OpenSockets } from './sockets.ts'

export interface UserspaceOptions {
  readonly self: NodeId
  readonly mesh: Mesh
  /** Published ports listen on each; tasks are reached at the first. */
  readonly addresses: readonly string[]
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Where a task's own resolver answers, address:port. */
  resolverFor(task: TaskId): string | undefined
  /** Where to keep hosts files, and the names each task should find there; left out where tasks cannot have their own. */
  readonly hosts?: { readonly dir: string; namesFor(task: TaskId): readonly HostName[] }
  /** A UDP flow without datagrams for this long ends. Default 60 s. */
  readonly udpIdleMs?: number
}

export interface UserspaceDataplane extends Dataplane {
  readonly name: 'userspace'
  /** The second byte of this node's own 127.x/16. Hosts .0.1 to .0.254 are left to the tasks' resolvers. */
  readonly block: number
  /** The loopback address of a service or task; opens its listeners. Undefined when no route leads there. */
  addressOf(target: AliasTarget): string | undefined
  /** What an address stands for; 'unknown' for one of ours that is not in use, undefined for others'. */
  targetOf(address: string): AliasTarget | 'unknown' | undefined
  /** Path of a task's hosts file; undefined where tasks have none. */
  hostsFileOf(task: TaskId): string | undefined
  /** Writes hosts files anew: call it when names have changed. `apply` does so too. */
  namesChanged(): void
  counters(): Counters
  /** Open flows, oldest first. */
  flows(): readonly Readonly<FlowRecord>[]
  /** Flows that have ended, the last few thousand, oldest first. */
  flowLog(): readonly Readonly<FlowRecord>[]
  /** Endpoints that were picked and did not take the flow, the last thousand, oldest first. */
  failedAttempts(): readonly FailedAttempt[]
}

/** 60 s: above the retry times of DNS, QUIC and games, far below Swarm's 5 minutes. */
const udpIdleDefaultMs = 60_000
/** 2 s between two tries at a port that another program holds. */
const retryMs = 2_000

/** Claims this node's loopback block and begins to take flows; `apply` opens the rest. */
export async function createUserspaceDataplane(options: UserspaceOptions): Promise<UserspaceDataplane> {
  const { block, marker } = await claimBlock(options.self)
  return new Userspace(options, block, marker)
}

class Userspace implements UserspaceDataplane {
  readonly name = 'userspace'
  readonly block: number
  private readonly options: UserspaceOptions
  private readonly marker: Server
  private readonly reachable: Reachable
  private readonly attachments = new Attachments()
  private readonly ejections = new Ejections()
  private readonly ledger: Ledger
  private readonly listeners: Listeners
  private readonly hostsFiles: HostsFiles | undefined
  private readonly sockets: OpenSockets
  private readonly timeouts: AcceptTimeouts
  private listenersOfTrouble: ((task: TaskId, why: 'refused' | 'timeout') => void)[] = []
  private routes: Routes = { revision: 0, published: [], services: [], tasks: [] }
  private applying: Promise<unknown> = Promise.resolve()
  private cancelRetry: Cancel = () => {}
  private closed = false

  constructor(options: UserspaceOptions, block: number, marker: Server) {
    this.options = options
    this.marker = marker
    this.block = block
    this.reachable = new Reachable(block)
    this.ledger = new Ledger(options.self, options.clock)
    this.sockets = new OpenSockets(options.clock, options.log)
    this.timeouts = new AcceptTimeouts(options.clock)
    this.hostsFiles = options.hosts === undefined ? undefined : new HostsFiles(options.hosts.dir)
    const { ledger, ejections, sockets, timeouts } = this
    const { self, mesh, clock, random } = options
    const trouble = (task: TaskId, why: 'refused' | 'timeout') => {
      for (const listener of this.listenersOfTrouble) listener(task, why)
    }
    const udpIdleMs = options.udpIdleMs ?? udpIdleDefaultMs
    this.listeners = new Listeners({
      self,
      mesh,
      clock,
      random,
      ledger,
      ejections,
      trouble,
      udpIdleMs,
      sockets,
      timeouts,
      arrivals: new Arrivals(clock),
    })
    const attached = (task: TaskId) => this.attachments.get(task)
    mesh.onFlow((flow, target, from) => takeFlow(flow, target, from, { self, ledger, sockets, attached }))
  }

  attach(request: AttachRequest): Promise<Attachment> {
    return this.inTurn(() => this.attachNow(request))
  }

  async adopt(request: AttachRequest, attachment: Attachment): Promise<void> {
    this.attachments.put(request, attachment)
    this.writeHosts(request)
  }

  async detach(task: TaskId): Promise<void> {
    const before = this.routes.published.filter((r) => this.attachments.servesItself(r.protocol, r.port))
    this.attachments.delete(task)
    this.hostsFiles?.remove(task)
    // Where it served a published port itself, we do so again.
    const served = before.some((r) => !this.attachments.servesItself(r.protocol, r.port))
    if (served) await this.apply(this.routes)
  }

  active(task: TaskId): number {
    return this.ledger.underWay(task)
  }

  apply(routes: Routes): Promise<readonly ApplyProblem[]> {
    this.routes = routes
    return this.inTurn(() => this.applyNow(routes))
  }

  onTrouble(listener: (task: TaskId, why: 'refused' | 'timeout') => void): void {
    this.listenersOfTrouble.push(listener)
  }

  /** What it made is in this process, where nobody else reaches. */
  onHarm(): void {}

  onLost(): void {}

  accepts(host: string, port: number, timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect({ host, port })
      const cancel = this.options.clock.after(timeoutMs, () => finish(false))
      const finish = (accepted: boolean) => {
        cancel()
        socket.destroy()
        resolve(accepted)
      }
      socket.once('connect', () => finish(true))
      socket.once('error', () => finish(false))
    })
  }

  addressOf(target: AliasTarget): string | undefined {
    if (this.closed) return undefined
    const found = this.reachable.ask(target)
    for (const address of found?.opened ?? []) void this.listeners.open(address)
    return found?.host
  }

  targetOf(address: string): AliasTarget | 'unknown' | undefined {
    return this.reachable.targetOf(address)
  }

  hostsFileOf(task: TaskId): string | undefined {
    return this.hostsFiles?.pathOf(task)
  }

  namesChanged(): void {
    for (const { request } of this.attachments.all()) this.writeHosts(request)
  }

  counters(): Counters {
    return this.ledger.counters()
  }

  flows(): readonly Readonly<FlowRecord>[] {
    return this.ledger.flows()
  }

  flowLog(): readonly Readonly<FlowRecord>[] {
    return this.ledger.log()
  }

  failedAttempts(): readonly FailedAttempt[] {
    return this.ledger.failedAttempts()
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    this.cancelRetry()
    await this.applying
    this.options.mesh.onFlow(() => 'unknown-target')
    await this.listeners.closeAll()
    this.sockets.destroyAll()
    this.timeouts.close()
    this.marker.close()
  }

  /** One after another, so that a listener is not opened on a port while a task is being given it. */
  private inTurn<T>(run: () => Promise<T>): Promise<T> {
    const result = this.applying.then(run)
    this.applying = result.catch(() => {})
    return result
  }

  private async attachNow(request: AttachRequest): Promise<Attachment> {
    if (request.sandbox !== undefined) {
      const attachment = attachmentOf(request, request.sandbox)
      await this.adopt(request, attachment)
      return attachment
    }
    // A task that serves a published port itself takes it over from us.
    for (const { protocol, target } of request.targets) {
      const fixed = request.fixed.get(target)
      if (fixed !== undefined) await this.listeners.closePort(protocol, fixed)
    }
    const host = this.options.addresses[0] ?? '127.0.0.1'
    const attachment: Attachment = {
      host,
      ports: this.attachments.choosePorts(request, host),
      resolver: this.options.resolverFor(request.task),
      hostsFile: this.hostsFileOf(request.task),
    }
    await this.adopt(request, attachment)
    return attachment
  }

  private async applyNow(routes: Routes): Promise<readonly ApplyProblem[]> {
    if (this.closed) return []
    this.reachable.follow(routes, this.options.clock.now())
    const known = new Set(
      [...routes.published, ...routes.services]
        .flatMap((route) => route.backends.map((b) => b.task))
        .concat(routes.tasks.map((route) => route.task)),
    )
    this.ejections.keep((task) => known.has(task))
    this.ledger.keepTasks((task) => known.has(task))
    const wanted = [...routes.published.flatMap((route) => this.published(route)), ...this.reachable.addresses()]
    const failed = await this.listeners.make(wanted)
    this.namesChanged()
    const problems = [...unsupported(routes), ...this.problems(failed)]
    this.cancelRetry()
    if (failed.length > 0) this.cancelRetry = this.options.clock.after(retryMs, () => void this.apply(this.routes))
    return problems
  }

  /** Where a published port is to be answered by us: nowhere, when a task of this node answers at that very port. */
  private published(route: PublishedRoute): readonly Address[] {
    const { protocol, port, target } = route
    if (protocol === 'sctp' || this.attachments.servesItself(protocol, port)) return []
    return this.options.addresses.map((host) => ({ protocol, host, port, target, facts: route, published: true }))
  }

  private problems(failed: readonly { readonly address: Address; readonly code: string }[]): readonly ApplyProblem[] {
    return failed.flatMap(({ address, code }) => {
      if (address.published) return [notOpened(address, code)]
      const { host, port } = address
      this.options.log.warn('An address of a service cannot be opened', { host, port, code })
      return []
    })
  }

  private writeHosts({ task, hosts: lines = [], sandbox }: AttachRequest): void {
    const { hosts, log } = this.options
    if (hosts === undefined || this.hostsFiles === undefined) return
    try {
      this.hostsFiles.write(task, hosts.namesFor(task), { lines, isContainer: sandbox !== undefined })
    } catch (error) {
      log.warn('A hosts file could not be written', { task, error: String(error) })
    }
  }
}
