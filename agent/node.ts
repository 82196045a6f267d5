/**
 * One node, put together: the replicated state and the loops that read it, over a world that is handed in (world.ts).
 *
 * The same function runs in production (start.ts) and, on virtual time, a thousand times in one process (test/sim). Holds no policy: it
 * connects what happens to those who want to know, and begins and ends things in order. Invariant: this node answers for itself only
 * after its records say what became of the tasks of its former run.
 */
import type { NetworkId, NodeId } from '../protocol/ids.ts'
import { ingressNetwork, type MemberValue, networkScope, type SettingsValue } from '../protocol/model.ts'
import { ingressValue } from './core/addresses/ingress.ts'
import { networksHeld } from './core/held.ts'
import { isUp } from './core/live.ts'
import { routes } from './core/routes/routes.ts'
import { fault } from './fault.ts'
import { openJournal } from './journal.ts'
import { tellChanges } from './loops/changes.ts'
import { createDrainHandler, drainKind } from './loops/drain.ts'
import { createGossip } from './loops/gossip.ts'
import { createGuestLoop, type GuestLoop } from './loops/guests.ts'
import { createHealthLoop } from './loops/health.ts'
import { createHeldNetworks, scopeWaitMs } from './loops/held-networks.ts'
import { createJanitor } from './loops/janitor.ts'
import { createMembershipLoop, type MembershipLoop, membershipTopic } from './loops/membership.ts'
import { createProgramSurvey, programKind } from './loops/programs.ts'
import { createReconcileLoop, type ReconcileLoop } from './loops/reconcile.ts'
import { createRoutesLoop, type RoutesLoop } from './loops/routes.ts'
import { createSync, type Sync } from './loops/sync.ts'
import type { Times } from './presets.ts'
import { openView } from './replica/open.ts'
import type { ReplicatedView } from './view.ts'
import type {
  ApplyProblem,
  Clock,
  Containers,
  Dataplane,
  Disk,
  Events,
  Log,
  Random,
  Runtime,
  Transport,
} from './world.ts'

export interface World {
  readonly clock: Clock
  readonly random: Random
  readonly disk: Disk
  readonly log: Log
  readonly events: Events
  readonly runtime: Runtime
  readonly dataplane: Dataplane
  /** Of this machine's engine; undefined: none is to be used. */
  readonly containers?: Containers | undefined
  /** Made once the view exists, because admission reads it. */
  readonly transport: (view: ReplicatedView) => Transport
}

export interface NodeConfig {
  readonly self: NodeId
  /** Drawn at each start of the agent. */
  readonly run: string
  /** Wall ms of this start. */
  readonly startedMs: number
  readonly times: Times
  /** Another live agent has this node id; `yields`: this one began later and must end. */
  readonly onDuplicate: (yields: boolean) => void
  /** A removal of this node has arrived: it must end and never comes back with this identity. */
  readonly onRemoved: () => void
}

/** What a node says of itself that only its surroundings know. */
export type SelfFacts = Omit<MemberValue, 'run' | 'startedMs' | 'presence' | 'networks' | 'problems'>

export interface Node {
  readonly view: ReplicatedView
  readonly transport: Transport
  readonly membership: MembershipLoop
  readonly reconcile: ReconcileLoop
  readonly routes: RoutesLoop
  /** Containers that are no tasks; undefined where there is no engine. */
  readonly guests: GuestLoop | undefined
  readonly sync: Sync
  /** Connects and catches up; writes nothing yet. */
  connect(): Promise<void>
  /** Says that this node is up, adopts its tasks and takes part. `founding`: the settings of a new cluster. */
  begin(facts: SelfFacts, founding?: SettingsValue): Promise<void>
  /** Addresses or labels of this node changed. */
  announce(facts: SelfFacts): void
  /** Whether the names of a network may be denied: its scope is caught up, or has waited long enough. */
  isReady(network: NetworkId): boolean
  /** Records known to be missing here, over all scopes. */
  need(): number
  missingOn(image: string): Promise<readonly NodeId[]>
  /** Drains, stops every task, says "left", and ends. */
  leave(): Promise<void>
  /** Ends and leaves the tasks running; `backSoon` says so to the others, who hold its slots. */
  stop(options: { readonly backSoon: boolean }): Promise<void>
  /** Another agent runs under this id: ends what this run started, and itself, without a word. */
  giveWay(): Promise<void>
}

/** As many as a member record takes (model.ts). */
const problemsMax = 64
/** 10 s: a node that has forgotten all members waits to be dialled by them, who try again every 5 s (transport/admission.ts). */
const strangerWaitMs = 10_000
/** A connection takes 20 ms and more: looked for often enough to lose none of the start-up time. */
const connectLookMs = 20
/** 1 s: one exchange takes milliseconds; a member that does not answer must not keep this node from taking part. */
const tellWithinMs = 1_000
/** 2 s: applying takes 100 ms; what the data plane refuses is told elsewhere and must not keep this node from taking part. */
const routedWithinMs = 2_000

export async function createNode(world: World, config: NodeConfig): Promise<Node> {
  const { clock, random, log, events, runtime, dataplane } = world
  const { times, self } = config
  const view = await openView({
    ...world,
    journal: await openJournal(world),
    self,
    run: config.run,
    startedMs: config.startedMs,
    onDuplicate: ({ yields }) => config.onDuplicate(yields),
  })
  const transport = world.transport(view)
  const gossip = createGossip({ view, transport, clock, times })
  const sync = createSync({ view, transport, clock, random, log, times })
  const janitor = createJanitor({ view, sync, clock, log })
  const survey = createProgramSurvey({ view, transport, runtime })
  const membership = createMembershipLoop({
    view,
    run: config.run,
    setLiveness: view.setLiveness,
    setReach: view.setReach,
    noteClock: view.noteClock,
    transport,
    clock,
    random,
    events,
    log,
    times,
  })
  const routesLoop = createRoutesLoop({ view, dataplane, clock, log, events, routes, onProblems: tellProblems })
  dataplane.onHarm(routesLoop.again)
  tellChanges({ view, events, startedMs: config.startedMs })
  const { exchange } = sync
  const onDrain = createDrainHandler({ view, clock, exchange, whenRouted: routesLoop.whenRouted })
  const health = createHealthLoop({ runtime, clock })
  const held = createHeldNetworks({ view, sync, clock, follow: gossip.follow, announce: announceSelf })
  let facts: SelfFacts | undefined
  let presence: MemberValue['presence'] = 'up'
  let problems: NonNullable<MemberValue['problems']> = []

  const reconcile = createReconcileLoop({
    view,
    writer: view,
    transport,
    runtime,
    dataplane,
    health,
    clock,
    random,
    times,
    log,
    events,
    stamp: view.stamp,
    need: held.need,
    hold: held.hold,
    whenRouted: routesLoop.whenRouted,
  })

  const { stamp } = view
  const { containers } = world
  const guests =
    containers === undefined
      ? undefined
      : createGuestLoop({ view, writer: view, dataplane, containers, clock, random, log, events, stamp })

  const { pushDurably, hurry } = sync
  view.attach({ publish: gossip.publish, connected: transport.connected, pushDurably, hurry })

  function announceSelf(): void {
    if (facts === undefined) return
    const value: MemberValue = {
      ...facts,
      run: config.run,
      startedMs: config.startedMs,
      presence,
      networks: [...held.networks()],
      problems: [...problems],
    } as MemberValue
    view.put({ scope: 'cluster', kind: 'member', id: self, value })
  }

  function tellProblems(found: readonly ApplyProblem[]): void {
    const told = found.slice(0, problemsMax).map(({ service, sentence }) => ({ service, sentence }))
    if (JSON.stringify(told) === JSON.stringify(problems)) return
    problems = told
    announceSelf()
  }

  /** Once in the life of a cluster. Two that write it at once write the same. */
  function makeIngress(): void {
    if (view.networks.has(ingressNetwork)) return
    const value = ingressValue(view, view.stamp())
    if (value === undefined) log.error('no subnet is free for ingress: ports are published in user space only')
    else view.put({ scope: 'cluster', kind: 'network', id: ingressNetwork, value })
  }

  /** Takes the state from the members, as soon as there is a connection; goes on without it when there is none in time. */
  async function fetchState(): Promise<void> {
    const isAlone = view.members.size === 1
    if (isAlone) return
    const untilMs = clock.now() + (view.members.size === 0 ? strangerWaitMs : scopeWaitMs)
    while (transport.connected().length === 0 && clock.now() < untilMs) {
      await new Promise<void>((resolve) => void clock.after(connectLookMs, resolve))
    }
    await tellMembers()
  }

  /** Brings the members up to what happened here, and this node to what they know; silent ones cost a second at most. */
  async function tellMembers(): Promise<void> {
    let cancel = () => {}
    const late = new Promise<void>((resolve) => {
      cancel = clock.after(tellWithinMs, resolve)
    })
    const kept = transport.connected().filter(transport.keeps)
    const asked = kept.length > 0 ? kept : transport.connected()
    await Promise.race([Promise.all(asked.map((member) => sync.exchange(member))), late])
    cancel()
  }

  async function onRequest(from: NodeId, kind: string, bytes: Uint8Array): Promise<Uint8Array> {
    const known = membership.requests[kind]
    if (known !== undefined) return known(from, bytes)
    if (kind === drainKind) return onDrain(from, bytes)
    if (kind === programKind) return survey.onRequest(from, bytes)
    const answer = sync.onRequest(from, kind, bytes)
    if (answer === undefined) throw fault('unsupported', `this agent does not know the question "${kind}"`)
    return answer
  }

  function watchView(): void {
    view.watch((notice) => {
      if (notice.kind === 'liveness' && notice.before === 'dead' && isUp(view.members.get(notice.node)))
        sync.onReturned(notice.node)
      reconcile.wake()
      guests?.wake()
      routesLoop.wake()
      if (notice.kind === 'liveness' || notice.kind === 'reach') return
      const members = notice.changes.filter(({ kind }) => kind === 'member' || kind === 'removal').map(({ id }) => id)
      if (members.length === 0) return
      transport.refresh()
      membership.onMembers()
      // A scope that waits for a holder is fetched from the first that says it is one.
      for (const network of held.networks()) {
        const scope = networkScope(network)
        if (sync.readiness(scope) === 'behind' && members.some((id) => view.isHolder(id, scope))) sync.onHeld(scope)
      }
      if (view.removals.has(self)) config.onRemoved()
    })
  }

  function stopLoops(): void {
    reconcile.stop()
    held.stop()
    guests?.stop()
    routesLoop.stop()
    health.stop()
    janitor.stop()
    membership.stop()
    sync.stop()
    gossip.stop()
  }

  /** Tells as many as can hear, then ends. */
  async function farewell(word: MemberValue['presence']): Promise<void> {
    presence = word
    const own = view.members.get(self)?.record.value
    if (own !== undefined) {
      const write = { scope: 'cluster', kind: 'member', id: self, value: { ...own, presence: word } } as const
      await view.commit([write]).catch((error: unknown) => log.warn(`could not say goodbye: ${String(error)}`))
    }
    await end()
  }

  async function end(): Promise<void> {
    stopLoops()
    await transport.stop()
    await view.close()
  }

  return {
    view,
    transport,
    membership,
    reconcile,
    routes: routesLoop,
    guests,
    sync,
    async connect() {
      await transport.start({
        onMessage(topic, from, bytes) {
          if (topic === membershipTopic) membership.onMessage(from, bytes)
          else gossip.onMessage(topic, from, bytes)
        },
        onRequest,
        onConnected(node) {
          sync.onConnected(node)
          membership.onConnected(node)
        },
        onDisconnected: (node, why) => membership.onDisconnected(node, why),
      })
      transport.subscribe(membershipTopic)
      gossip.follow()
      membership.start()
      sync.start()
      watchView()
    },
    async begin(given, founding) {
      facts = given
      // A journal that was lost says nothing of the tasks that may still run here: the members do.
      if (founding === undefined && view.found !== 'whole') await fetchState()
      // As the journal says: held from the start, for tasks to be adopted.
      held.adopt(networksHeld(view))
      if (founding !== undefined) {
        const write = { scope: 'cluster', kind: 'settings', id: 'cluster', value: founding } as const
        await view.commit([write])
      }
      routesLoop.start()
      await reconcile.start()
      await guests?.start()
      announceSelf()
      if (given.dataplane === 'linux') makeIngress()
      await tellMembers()
      sync.hurry()
      // A kernel forwards by the table of an earlier run until then, to tasks that ended meanwhile: nobody is to come through it as if all were well.
      await routesLoop.whenRouted(() => true, routedWithinMs)
      membership.open()
      janitor.start()
    },
    announce(given) {
      facts = given
      announceSelf()
    },
    isReady: held.isReady,
    need: () => view.scopes().reduce((sum, scope) => sum + view.need(scope), 0),
    missingOn: survey.missingOn,
    async leave() {
      await reconcile.drainAndStopAll()
      await guests?.leave()
      await farewell('left')
    },
    async stop({ backSoon }) {
      if (backSoon) return farewell('back-soon')
      await end()
    },
    async giveWay() {
      stopLoops()
      // First: as long as it is connected, it takes the other's place.
      await transport.stop()
      await reconcile.abandon()
      await view.close()
    },
  }
}
