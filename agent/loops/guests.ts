/**
 * Keeps this node's guests as their containers are: connects those that begin, takes off those that end, forgets those that are gone (core/guests.ts
 * decides). One at a time. After a start of the agent, and whenever the engine was not heard for a while, all are looked at.
 *
 * While the engine says nothing, all stays as it is.
 */
import { type GuestId, idFromBytes, type NetworkId } from '../../protocol/ids.ts'
import type { GuestValue, NetworkValue } from '../../protocol/model.ts'
import { chooseTaskAddress } from '../core/addresses/task.ts'
import {
  type Container,
  checkContainer,
  checkWish,
  connectionOf,
  guestStep,
  hasEngineResolver,
  isLost,
  ownGuests,
  type Wish,
} from '../core/guests.ts'
import type { Stamped, View } from '../core/view.ts'
import { Fault, fault, reasonOf } from '../fault.ts'
import type { Cancel, Clock, Containers, Dataplane, Events, Joined, Log, Random, Writer } from '../world.ts'
import type { ReconcileParts } from './reconcile-parts.ts'

export interface GuestParts {
  readonly view: View
  readonly writer: Pick<Writer, 'put'>
  readonly dataplane: Pick<Dataplane, 'join' | 'detach' | 'onLost'>
  readonly containers: Containers
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly events: Events
  readonly stamp: ReconcileParts['stamp']
}

export interface GuestLoop {
  /** Takes over those that an earlier run of the agent connected. Resolves when all were looked at. */
  start(): Promise<void>
  /** Ends the loop; containers stay connected. */
  stop(): void
  /** The view changed. */
  wake(): void
  /** Connects a running container of this node. Resolves to warnings; rejects with a Fault, and then nothing of it is left. */
  connect(network: Stamped<NetworkValue>, container: string, wish: Wish): Promise<readonly string[]>
  /** Notes a container that was made and does not run yet: it is connected whenever it starts. */
  expect(network: NetworkId, container: Pick<Container, 'id' | 'name'>, wish: Wish): void
  /** Rejects with a Fault where it is not connected. */
  disconnect(network: Stamped<NetworkValue>, container: string): Promise<void>
  /** Takes all off and forgets them: for an agent that leaves. */
  leave(): Promise<void>
}

/** No process has it: of one whose network was taken away. */
const lostPid = 0
/** 5 s: what could not be connected is tried again. */
const againMs = 5_000

const noServers =
  'programs in it do not find names of the network: their resolver asks a server of this machine; start it with --dns ADDRESS'

export function createGuestLoop(parts: GuestParts): GuestLoop {
  const { view, writer, dataplane, containers, clock, log } = parts
  /** The process through which each is connected. */
  const joined = new Map<GuestId, number>()
  let last: Promise<unknown> = Promise.resolve()
  let cancelWatch: Cancel | undefined
  let cancelAgain: Cancel = () => {}
  let isStopped = false
  let isQueued = false
  let told = ''

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = last.then(work)
    last = done.catch(() => {})
    return done
  }

  function put(id: GuestId, value: GuestValue | null): void {
    writer.put({ scope: 'cluster', kind: 'guest', id, value })
  }

  /** All that are not as they should be; calls that come meanwhile share the next. */
  function lookSoon(): void {
    if (isQueued || isStopped) return
    isQueued = true
    void inTurn(async () => {
      isQueued = false
      await lookAtAll()
    })
  }

  async function lookAtAll(): Promise<void> {
    keepWatching()
    const found = await lookedUp()
    const troubles: string[] = found instanceof Fault ? [found.message] : []
    for (const [guest, container] of found instanceof Fault ? [] : found) {
      if (isStopped) return
      const trouble = await settle(guest, container).then(() => undefined, reasonOf)
      if (trouble !== undefined) troubles.push(`${guest.value.name}: ${trouble}`)
    }
    keepWatching()
    tell(troubles.join('; '))
    cancelAgain()
    if (troubles.length > 0) cancelAgain = clock.after(againMs, lookSoon)
  }

  /** One question for each, since an engine that does not answer one will not answer the next. */
  async function lookedUp(): Promise<readonly (readonly [Stamped<GuestValue>, Container | undefined])[] | Fault> {
    const found: (readonly [Stamped<GuestValue>, Container | undefined])[] = []
    try {
      for (const guest of ownGuests(view)) found.push([guest, await containers.find(guest.value.container)])
      return found
    } catch (thrown) {
      return thrown instanceof Fault ? thrown : fault('internal', reasonOf(thrown))
    }
  }

  async function settle(guest: Stamped<GuestValue>, container: Container | undefined): Promise<void> {
    const step = guestStep(view, guest, { container, joinedPid: joined.get(guest.id) })
    if (step.do === 'forget') await remove(guest)
    if (step.do === 'leave') await takeOff(guest)
    if (step.do === 'rename') put(guest.id, { ...guest.value, name: step.name })
    if (step.do !== 'join' || container === undefined) return
    if (joined.has(guest.id)) await detach(guest.id)
    await join(guest.id, claimed(guest, container, step.fresh), container)
  }

  /** Once for each change of cause. */
  function tell(trouble: string): void {
    if (trouble !== '' && trouble !== told) log.warn('containers are not connected as they should be', { trouble })
    told = trouble
  }

  /** Only while there is anything to hear: most machines have no engine. */
  function keepWatching(): void {
    const isNeeded = !isStopped && ownGuests(view).length > 0
    if (isNeeded === (cancelWatch !== undefined)) return
    cancelWatch?.()
    cancelWatch = isNeeded ? containers.watch(heard) : undefined
  }

  function heard(container: string | undefined): void {
    if (container === undefined || ownGuests(view).some(({ value }) => value.container === container)) lookSoon()
  }

  function claimed({ id, value }: Stamped<GuestValue>, container: Container, fresh: boolean): GuestValue {
    const now = { ...value, name: container.name, alone: isAlone(container) }
    if (!fresh) return now
    const address = chooseTaskAddress(view, value.network, id)
    const name = view.networks.get(value.network)?.value.spec.Name ?? value.network
    if (address === undefined) throw fault('unavailable', `network "${name}" has no free address`)
    const boot = view.members.get(view.self)?.record.value.boot ?? ''
    return { ...now, boot, created: parts.stamp(), address }
  }

  /** The record first: what it says of this node is what the data plane may connect. */
  async function join(id: GuestId, value: GuestValue, container: Container): Promise<Joined> {
    const { pid } = container
    const { network, address } = value
    if (dataplane.join === undefined || pid === undefined || address === undefined)
      throw fault('unavailable', 'there is no way into the container')
    put(id, value)
    try {
      const internal = view.networks.get(network)?.value.spec.Internal === true
      const asks = hasEngineResolver(container) ? container.dns : undefined
      const takesWayOut = value.alone && !internal
      const made = await dataplane.join({ guest: id, network, address, pid, asks, takesWayOut })
      joined.set(id, pid)
      announce(value, 'connect', 'is connected')
      return made
    } catch (thrown) {
      put(id, withoutAddress(value))
      throw thrown
    }
  }

  async function takeOff({ id, value }: Stamped<GuestValue>): Promise<void> {
    put(id, withoutAddress(value))
    await detach(id)
    announce(value, 'disconnect', 'is off while it does not run')
  }

  async function remove({ id, value }: Stamped<GuestValue>): Promise<void> {
    put(id, null)
    keepWatching()
    await detach(id)
    announce(value, 'disconnect', 'is disconnected')
  }

  async function detach(id: GuestId): Promise<void> {
    joined.delete(id)
    await dataplane.detach(id)
  }

  function announce({ network, container, name }: GuestValue, action: 'connect' | 'disconnect', fact: string): void {
    const called = view.networks.get(network)?.value.spec.Name ?? network
    const attributes = { container, name: called, type: 'overlay' }
    const sentence = `container ${name} ${fact}: network ${called}`
    parts.events.emit({ type: 'network', action, id: network, name: called, sentence, attributes })
  }

  function unclaimed(network: NetworkId, { id, name }: Pick<Container, 'id' | 'name'>, { aliases }: Wish): GuestValue {
    const boot = view.members.get(view.self)?.record.value.boot ?? ''
    const created = parts.stamp()
    return { network, node: view.self, boot, created, container: id, name, aliases: [...aliases], alone: false }
  }

  async function connect(network: Stamped<NetworkValue>, name: string, wish: Wish): Promise<readonly string[]> {
    orThrow(checkWish(view, network, wish))
    const container = await containers.find(name)
    if (container === undefined)
      throw fault('not-found', `No such container: ${name}`, 'Ask on the machine on which it runs')
    orThrow(checkContainer(view, network, container))
    const guest = newGuest(unclaimed(network.id, container, wish))
    try {
      const { servers } = await join(guest.id, claimed(guest, container, true), container)
      keepWatching()
      return servers.length === 0 ? [noServers] : []
    } catch (thrown) {
      put(guest.id, null)
      throw thrown
    }
  }

  function newGuest(value: GuestValue): Stamped<GuestValue> {
    const id = idFromBytes(parts.random.bytes(16))
    return { id, value, version: value.created, author: { node: view.self, log: '' } }
  }

  return {
    async start() {
      dataplane.onLost((id) => {
        if (!joined.has(id)) return
        joined.set(id, lostPid)
        lookSoon()
      })
      await inTurn(lookAtAll)
    },
    stop() {
      isStopped = true
      keepWatching()
      cancelAgain()
    },
    wake() {
      const troubled = ownGuests(view).some(({ id, value }) => !view.networks.has(value.network) || isLost(view, id))
      if (troubled) lookSoon()
    },
    connect: (network, container, wish) => inTurn(() => connect(network, container, wish)),
    expect(network, container, wish) {
      const { id, value } = newGuest(unclaimed(network, container, wish))
      put(id, value)
      lookSoon()
    },
    disconnect: (network, container) =>
      inTurn(async () => {
        const guest = connectionOf(view, network.id, container)
        if (guest === undefined) {
          const sentence = `container ${container} is not connected to network ${network.value.spec.Name}`
          throw fault('not-found', sentence, 'Ask on the machine on which it runs')
        }
        await remove(guest)
      }),
    leave: () =>
      inTurn(async () => {
        isStopped = true
        for (const guest of ownGuests(view)) await remove(guest)
      }),
  }
}

/** The engine gave it a namespace with nothing in it. */
function isAlone({ networks }: Container): boolean {
  return networks.every((name) => name === 'none')
}

function withoutAddress({ address: _address, ...rest }: GuestValue): GuestValue {
  return rest as GuestValue
}

function orThrow(refusal: Fault | undefined): void {
  if (refusal instanceof Fault) throw refusal
}
