/**
 * The data plane that leaves forwarding to the kernel: tasks in network namespaces, networks of its own, one nft table (design.md 8, "linux").
 *
 * Puts devices.ts and firewall.ts together and knows which tasks are here. It contains a data plane in user space, which keeps what the kernel's way
 * leaves over: listeners that reserve published ports and serve 127.0.0.1, flows that userspace nodes send to tasks here, hosts files, the ledger.
 */
import { existsSync } from 'node:fs'
import type { NetworkId, NodeId, TaskId } from '../../../protocol/ids.ts'
import type { Overlay, OverlayNetwork } from '../../core/routes/overlay.ts'
import type { Routes } from '../../core/routes/types.ts'
import { fault, reasonOf } from '../../fault.ts'
import type {
  ApplyProblem,
  Attachment,
  AttachmentPort,
  AttachRequest,
  Cancel,
  Clock,
  Dataplane,
  Joined,
  JoinRequest,
  Log,
} from '../../world.ts'
import { type Devices, type TaskLinks, trustMs } from './devices.ts'
import type { Firewall, FirewallInput } from './firewall.ts'
import { asRequest, type GuestWay, isNamespaceOf, leadAway, leadQuestions, serversOf } from './guests.ts'
import { wildcardFor } from './listening.ts'
import type { NetworkProblem } from './network-failures.ts'
import { removeResolvFile, writeResolvFile } from './resolv-file.ts'
import { ResolverPorts } from './resolver-ports.ts'
import { sharingRuns } from './sharing-runs.ts'

export interface LinuxOptions {
  readonly self: NodeId
  readonly devices: Devices
  readonly firewall: Firewall
  readonly forwarding: Contained
  /** How many connections to a task in this namespace have something under way; never rejects. */
  underWay(netns: string): Promise<number>
  /** Whether programs in this namespace listen for IPv6 on all of these ports; never rejects. */
  listensIpv6(netns: string, ports: readonly AttachmentPort[]): Promise<boolean>
  /** Removes everything of ours from the kernel. */
  clear(): Promise<void>
  /** Ports that anything on this machine listens on. */
  takenPorts(): ReadonlySet<number>
  /** The way of encrypted networks' tunnels. */
  readonly encrypted: FirewallInput['encrypted']
  /** Own addresses on which published ports are served; the first is the one that other nodes reach. */
  readonly addresses: readonly string[]
  /** As the view has it now; undefined while this node is no member. */
  overlay(): Overlay | undefined
  /** Whether the cluster has this network. */
  isKnown(network: NetworkId): boolean
  /** Where to keep each task's resolv.conf. */
  readonly dir: string
  readonly clock: Clock
  readonly log: Log
}

/** What is asked of the data plane in user space. */
export interface Contained
  extends Pick<Dataplane, 'adopt' | 'detach' | 'active' | 'apply' | 'onTrouble' | 'accepts' | 'close'> {
  /** Path of a task's hosts file. */
  hostsFileOf(task: TaskId): string | undefined
}

export interface LinuxDataplane extends Dataplane {
  readonly name: 'linux'
  /** Tasks that have something in the kernel for a reason. */
  tasks(): ReadonlySet<TaskId>
}

/** 500 ms: with the time that it takes to make them again, devices that another program deleted are back within 2 s. */
const lookMs = 500
/** 5 s: harm that could not be mended is tried again. */
const againMs = 5_000

export function createLinuxDataplane(options: LinuxOptions): LinuxDataplane {
  return new Linux(options)
}

interface Local {
  readonly links: TaskLinks
  readonly request: AttachRequest
  netns: string
  /** Of a container that is no task. */
  readonly way?: GuestWay | undefined
  /** Connections with something under way at the last look. */
  underWay: number | undefined
  looking: boolean
}

class Linux implements LinuxDataplane {
  readonly name = 'linux'
  private readonly options: LinuxOptions
  private readonly ports = new ResolverPorts()
  private readonly locals = new Map<TaskId, Local>()
  private readonly listenersOfHarm: (() => void)[] = []
  private readonly listenersOfLoss: ((task: TaskId, why: string) => void)[] = []
  /** Of the last look. */
  private harm = ''
  private isHarmed = false
  /** Something could not be removed: the next `apply` finds it (`sweep`). */
  private isLeft = false
  private appliedAtMs = 0
  private cancelLook: Cancel
  private routes: Routes | undefined
  private readonly program = sharingRuns(() => this.programNow())
  private readonly settle = sharingRuns(() => this.settleNow())
  /** Of the last run of `settle`. */
  private failed: readonly NetworkProblem[] = []

  constructor(options: LinuxOptions) {
    this.options = options
    this.cancelLook = options.clock.after(lookMs, () => void this.look())
  }

  async attach(request: AttachRequest): Promise<Attachment> {
    const overlay = this.overlayOf(request)
    const [first] = request.networks
    const gateway = overlay.networks.find(({ id }) => id === first?.network)?.gateway
    if (first === undefined || gateway === undefined)
      throw fault('unavailable', 'The task has no address on any network of this node')
    const taken = this.options.takenPorts()
    const port = this.ports.choose(request.task, (candidate) => taken.has(candidate))
    const links = { task: request.task, links: request.networks, resolver: { host: gateway, port } }
    try {
      const netns = await this.connect(request, links, overlay)
      const resolvFile = writeResolvFile(this.options.dir, request)
      const attachment: Attachment = {
        host: first.address,
        listen: wildcardFor(request, overlay),
        ports: request.targets.map(({ protocol, target }) => ({ protocol, target, actual: target })),
        resolver: `${gateway}:${port}`,
        hostsFile: this.options.forwarding.hostsFileOf(request.task),
        netns,
        resolvFile,
      }
      await this.options.forwarding.adopt(request, attachment)
      return attachment
    } catch (thrown) {
      await this.detach(request.task)
      throw thrown
    }
  }

  /** Also of one that an earlier run of the agent connected: what is there is kept as far as it is what is wanted. */
  async join(request: JoinRequest): Promise<Joined> {
    const overlay = this.overlayOf(asRequest(request))
    const { guest, network, address, pid, takesWayOut } = request
    const gateway = overlay.networks.find(({ id }) => id === network)?.gateway ?? ''
    const taken = this.options.takenPorts()
    const port = this.ports.choose(guest, (candidate) => taken.has(candidate))
    const links = { task: guest, links: [{ network, address }], resolver: { host: gateway, port } }
    const way = { pid, servers: serversOf(request), takesWayOut }
    try {
      const before = this.options.devices.netnsOf(guest)
      if (existsSync(before) && !isNamespaceOf(before, pid)) await this.options.devices.removeTask(guest)
      await this.connect(asRequest(request), links, overlay, way)
      return { resolver: `${gateway}:${port}`, servers: way.servers }
    } catch (thrown) {
      await this.detach(guest)
      throw thrown
    }
  }

  async adopt(request: AttachRequest, attachment: Attachment): Promise<void> {
    const [host = '', port] = attachment.resolver?.split(':') ?? []
    this.ports.adopt(request.task, Number(port))
    const links = { task: request.task, links: request.networks, resolver: { host, port: Number(port) } }
    await this.connect(request, links, this.overlayOf(request))
    await this.options.forwarding.adopt(request, attachment)
  }

  async detach(task: TaskId): Promise<void> {
    const local = this.locals.get(task)
    const links = local?.links.links ?? []
    try {
      if (local !== undefined) {
        await leadAway(local, [...this.locals.values()])
        // From now on it is not mended any more: that would make it again.
        local.netns = ''
      }
      await this.remove(task)
    } catch (thrown) {
      this.isLeft = true
      throw thrown
    } finally {
      // Only now, so that what is forgotten of it (departed.ts) is forgotten when it can say nothing more.
      this.locals.delete(task)
      this.ports.release(task)
    }
    await this.leave(links)
    await this.program()
  }

  /** What the kernel forwards is known with the next call: until its sockets have been looked at a task counts as busy. */
  active(task: TaskId): number {
    const local = this.locals.get(task)
    if (local === undefined || this.options.forwarding.active(task) > 0) return this.options.forwarding.active(task)
    if (!local.looking) {
      local.looking = true
      void this.options.underWay(local.netns).then((count) => {
        local.underWay = count
        local.looking = false
      })
    }
    return local.underWay ?? 1
  }

  async apply(routes: Routes, onObeyed = () => {}): Promise<readonly ApplyProblem[]> {
    this.routes = routes
    const listening = this.options.forwarding.apply(inUserspace(routes))
    // Not a member yet: what an earlier run left in the kernel goes on.
    if (routes.overlay === undefined) return await listening
    // Who is gone is led to by nobody any more before anything else; and what bars others from a tunnel is there before the tunnel.
    const [problems] = await Promise.all([listening, this.program()])
    onObeyed()
    await this.settle()
    // Of one that was removed meanwhile nobody wants to read.
    const left = this.failed.filter(({ network }) => this.options.isKnown(network))
    return [...problems, ...left.flatMap((problem) => this.told(problem))]
  }

  tasks(): ReadonlySet<TaskId> {
    return new Set(this.locals.keys())
  }

  onTrouble(listener: (task: TaskId, why: 'refused' | 'timeout') => void): void {
    this.options.forwarding.onTrouble(listener)
  }

  onHarm(listener: () => void): void {
    this.listenersOfHarm.push(listener)
  }

  onLost(listener: (task: TaskId, why: string) => void): void {
    this.listenersOfLoss.push(listener)
  }

  /** From the node's own namespace, through which every client comes too. */
  accepts(host: string, port: number, timeoutMs: number): Promise<boolean> {
    return this.options.forwarding.accepts(host, port, timeoutMs)
  }

  async servesIpv6(task: TaskId): Promise<boolean> {
    const [local, overlay] = [this.locals.get(task), this.options.overlay()]
    if (local === undefined || overlay === undefined) return false
    const isOn = (network: OverlayNetwork) => local.links.links.some((link) => link.network === network.id)
    if (!overlay.networks.some((network) => network.ipv6 !== undefined && isOn(network))) return false
    const ports = local.request.targets.map(({ protocol, target }) => ({ protocol, target, actual: target }))
    return await this.options.listensIpv6(local.netns, ports)
  }

  /** The kernel goes on forwarding to tasks that stay; without any, nothing of ours is left in it. */
  async close(): Promise<void> {
    const { firewall, forwarding, devices, clear } = this.options
    this.cancelLook()
    await Promise.all([this.program.ended(), this.settle.ended()])
    devices.close()
    await firewall.close()
    await forwarding.close()
    if (this.locals.size === 0) await clear()
  }

  /** Other programs are seen to undo what is here; and once in a while all is read again, for what is not seen so. */
  private async look(): Promise<void> {
    const { devices, clock, log } = this.options
    const found = (await devices.harm()).join('; ')
    const isNew = found !== '' && found !== this.harm
    if (isNew) log.warn('the networks of this node are not as they were made; what can be mended is', { found })
    this.harm = found
    this.isHarmed ||= found !== ''
    const waitedMs = clock.now() - this.appliedAtMs
    const isDue = this.routes !== undefined && waitedMs > (found === '' && !this.isLeft ? trustMs : againMs)
    if (isNew || isDue) for (const listener of this.listenersOfHarm) listener()
    this.cancelLook = clock.after(lookMs, () => void this.look())
  }

  /** Cables that are gone are laid again. A task whose namespace is gone, or that cannot be connected again, is to be replaced. */
  private async mend(overlay: Overlay): Promise<void> {
    if (!this.isHarmed) return
    this.isHarmed = false
    const { devices, firewall } = this.options
    firewall.lookSoon()
    for (const [task, { links, netns, request, way }] of [...this.locals]) {
      if (netns === '') continue
      const name = netns.slice(netns.lastIndexOf('/') + 1)
      const why = existsSync(netns)
        ? await devices.createTask(links, overlay, way ?? request.sandbox).then(() => undefined, reasonOf)
        : `another program removed its network namespace ${name}`
      if (why !== undefined) for (const listener of this.listenersOfLoss) listener(task, why)
    }
  }

  /** A network goes with its last task here. The routes without it may have come while the task was still being removed, and nothing more may come. */
  private async leave(links: TaskLinks['links']): Promise<void> {
    const overlay = this.routes?.overlay
    if (overlay === undefined || links.every(({ network }) => overlay.networks.some(({ id }) => id === network))) return
    await this.options.devices.apply(overlay, this.links())
  }

  /** The namespace last: it tells the next run of the agent that there is something to remove. */
  private async remove(task: TaskId): Promise<void> {
    const { forwarding, devices } = this.options
    await forwarding.detach(task)
    removeResolvFile(this.options.dir, task)
    // Of an earlier run: it may be a container that is no task, and goes on.
    if (!this.locals.has(task) && devices.known().includes(task)) await leadQuestions(devices.netnsOf(task), undefined)
    await devices.removeTask(task)
  }

  /** What an earlier run made for tasks that ended meanwhile. One whose record still says that it runs may be adopted yet. */
  private async sweep({ places }: Overlay): Promise<void> {
    const { devices, self } = this.options
    // First: what cannot be removed from now on is for the next time.
    this.isLeft = false
    const strays = devices.known().filter((task) => !this.locals.has(task))
    const live = new Set(places.filter(({ node }) => node === self).map(({ task }) => task))
    for (const task of strays) if (!live.has(task)) await this.remove(task)
  }

  private overlayOf(request: AttachRequest): Overlay {
    const overlay = this.options.overlay()
    if (overlay === undefined) throw fault('unavailable', 'This node does not take part yet')
    const missing = request.networks.find(({ network }) => !overlay.networks.some(({ id }) => id === network))
    if (missing !== undefined) throw fault('unavailable', `Network ${missing.network} is not known here`)
    return overlay
  }

  /** Namespace, cables and rules. Resolves to the namespace's path. */
  private async connect(request: AttachRequest, links: TaskLinks, overlay: Overlay, way?: GuestWay): Promise<string> {
    const local: Local = { links, request, netns: '', way, underWay: undefined, looking: false }
    this.locals.set(request.task, local)
    // Its networks may be newer than the last table.
    if (this.routes !== undefined) this.routes = { ...this.routes, overlay }
    // What bars others from a tunnel is there before the tunnel.
    if (overlay.networks.some(({ encrypted }) => encrypted)) await this.program()
    const { netns } = await this.options.devices.createTask(links, overlay, way ?? request.sandbox)
    local.netns = netns
    await this.program()
    return netns
  }

  /** Devices, and what goes with them. A kernel that is busy with tasks takes seconds for it: a table with who else is gone does not wait. */
  private async settleNow(): Promise<void> {
    const overlay = this.routes?.overlay
    if (overlay === undefined) return
    const { devices, firewall, clock } = this.options
    this.failed = await devices.apply(overlay, this.links())
    await firewall.routeReplies()
    await this.sweep(overlay)
    await this.mend(overlay)
    this.appliedAtMs = clock.now()
  }

  /** The table as routes and tasks are now. */
  private async programNow(): Promise<void> {
    const { self, addresses, encrypted, firewall } = this.options
    const { routes } = this
    if (routes?.overlay === undefined) return
    await firewall.apply({
      self,
      routes: inKernel(routes),
      underlay: addresses[0] ?? '',
      addresses,
      encrypted,
      local: this.links(),
    })
  }

  private links(): readonly TaskLinks[] {
    return [...this.locals.values()].map(({ links }) => links).sort((a, b) => (a.task < b.task ? -1 : 1))
  }

  /** A network that cannot be made here is told at each service that has a task on it here. */
  private told({ network, sentence }: NetworkProblem): readonly ApplyProblem[] {
    const services = new Set(
      [...this.locals.values()]
        .filter(({ links }) => links.links.some((link) => link.network === network))
        .map(({ request }) => request.service),
    )
    // Of nobody's yet: the node says it of the network.
    if (services.size === 0) return [{ protocol: 'tcp', port: 0, service: network, sentence }]
    return [...services].sort().map((service) => ({ protocol: 'tcp', port: 0, service, sentence }))
  }
}

/** A PROXY header is written by a program: such a port is answered by its listener on each node. */
function inKernel(routes: Routes): Routes {
  return { ...routes, published: routes.published.filter(({ options }) => !options.proxyProtocol) }
}

/** SCTP is the kernel's alone: Node has no sockets for it. */
function inUserspace(routes: Routes): Routes {
  return { ...routes, published: routes.published.filter(({ protocol }) => protocol !== 'sctp') }
}
