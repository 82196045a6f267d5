/**
 * Names for this node's tasks: the resolver at an address of each task's own, and the names in its /etc/hosts.
 *
 * Puts core/names, the data plane's addresses and the DNS edge together. A task's resolver comes and goes with its attachment.
 */
import type { GuestId, NetworkId, TaskId } from '../../protocol/ids.ts'
import { conflicts } from '../core/conflicts.ts'
import { callerOf, type NameFacts, nameFacts } from '../core/names/caller.ts'
import type { Target } from '../core/names/table.ts'
import type { View } from '../core/view.ts'
import type { HostName } from '../dataplane/userspace/hosts-files.ts'
import { createResponder, type Responder } from '../dns/responder.ts'
import { createDnsServer } from '../dns/server.ts'
import { createUpstream, type UpstreamServer } from '../dns/upstream.ts'
import { fault } from '../fault.ts'
import type { Attachment, AttachRequest, Clock, Dataplane, Log, Random } from '../world.ts'
import type { Resolvers } from './resolvers.ts'

export interface NamesOptions {
  readonly view: () => View | undefined
  readonly isReady: (network: NetworkId) => boolean
  readonly upstream: readonly UpstreamServer[]
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/** By which addresses tasks of this node reach what names stand for, and back. */
export interface Addresses {
  addressOf(target: Target, family: 4 | 6): string | undefined
  /** 'unknown' for an address of ours that is not in use, undefined for others'. */
  targetOf(address: string): Target | 'unknown' | undefined
}

export interface Names {
  readonly responder: Responder
  /** Every name that a task may ask for, for its /etc/hosts. */
  hostsOf(task: TaskId): readonly HostName[]
  /** The data plane, with a resolver for each attached task. */
  around(dataplane: Dataplane, addresses: Addresses, resolvers: Resolvers): Dataplane
  close(): Promise<void>
}

/** A hosts file is read whole at every look-up: beyond this many names it costs more than it gives. */
const hostNamesMax = 500

export function createNames(options: NamesOptions): Names {
  let addresses: Addresses | undefined
  let facts: NameFacts | undefined
  let factsRevision = -1

  function current(): NameFacts | undefined {
    const view = options.view()
    if (view === undefined) return undefined
    if (facts === undefined || factsRevision !== view.revision) {
      facts = nameFacts(view, new Set(conflicts(view).keys()), options.isReady)
      factsRevision = view.revision
    }
    return facts
  }

  const responder = createResponder({
    callerOf(task) {
      const known = current()
      return known === undefined ? { networks: [], stack: undefined } : callerOf(task, known)
    },
    generation: () => options.view()?.revision ?? -1,
    addressOf: (target, family) => addresses?.addressOf(target, family),
    targetOf: (address) => addresses?.targetOf(address),
    upstream: createUpstream({ servers: options.upstream, clock: options.clock, random: options.random }),
    clock: options.clock,
    random: options.random,
  })
  const server = createDnsServer(responder, options.log)

  async function listen(task: TaskId, attachment: Attachment): Promise<void> {
    if (attachment.resolver !== undefined) await listenAt(task, attachment.resolver)
  }

  async function listenAt(who: TaskId | GuestId, place: string): Promise<void> {
    const colon = place.lastIndexOf(':')
    await server.listen(who, place.slice(0, colon), Number(place.slice(colon + 1)))
  }

  function joinWith(inner: Dataplane, join: NonNullable<Dataplane['join']>): NonNullable<Dataplane['join']> {
    return async (request) => {
      const joined = await join(request)
      try {
        await listenAt(request.guest, joined.resolver)
      } catch (thrown) {
        await inner.detach(request.guest)
        throw thrown
      }
      return joined
    }
  }

  return {
    responder,
    hostsOf(task) {
      const known = current()
      if (known === undefined) return []
      const names: HostName[] = []
      for (const { table } of callerOf(task, known).networks) {
        for (const [name, [first]] of table) {
          const target = first?.targets[0]
          const address = target === undefined ? undefined : addresses?.addressOf(target, 4)
          if (address !== undefined && names.length < hostNamesMax) names.push({ name, address })
        }
      }
      return names
    },
    around(inner, given, resolvers) {
      addresses = given
      const join = inner.join === undefined ? undefined : joinWith(inner, inner.join.bind(inner))
      return {
        name: inner.name,
        async attach(request: AttachRequest) {
          const attachment = await inner.attach(request)
          try {
            await listen(request.task, attachment)
          } catch (thrown) {
            await inner.detach(request.task)
            throw thrown
          }
          return attachment
        },
        async adopt(request: AttachRequest, attachment: Attachment) {
          if ((attachment.netns !== undefined) !== (inner.name === 'linux'))
            throw fault('unavailable', 'it was started on another data plane')
          if (attachment.resolver !== undefined) resolvers.adopt(request.task, attachment.resolver)
          await inner.adopt(request, attachment)
          await listen(request.task, attachment)
        },
        async detach(task: TaskId) {
          await server.unlisten(task)
          resolvers.release(task)
          await inner.detach(task)
        },
        ...(join === undefined ? {} : { join }),
        active: (task) => inner.active(task),
        apply: (routes, onObeyed) => inner.apply(routes, onObeyed),
        onTrouble: (listener) => inner.onTrouble(listener),
        onHarm: (listener) => inner.onHarm(listener),
        onLost: (listener) => inner.onLost(listener),
        ...(inner.servesIpv6 === undefined ? {} : { servesIpv6: inner.servesIpv6.bind(inner) }),
        accepts: (host, port, timeoutMs) => inner.accepts(host, port, timeoutMs),
        close: () => inner.close(),
      }
    },
    close: () => server.close(),
  }
}
