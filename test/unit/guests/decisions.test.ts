// Who may be connected to a network by hand, and what follows as containers come and go.
import { describe, expect, test } from 'vitest'
import {
  activeGuest,
  type Container,
  checkContainer,
  checkWish,
  connectionOf,
  guestStep,
  hasEngineResolver,
  type Wish,
} from '../../../agent/core/guests.ts'
import { networksHeld } from '../../../agent/core/held.ts'
import type { View } from '../../../agent/core/view.ts'
import { at, guest, member, network, view } from '../placement/build.ts'

const plain = network('net', '10.0.1.0/24')
const open = { ...plain, value: { ...plain.value, spec: { Name: 'net', Attachable: true } } }
const linux = member('n1', { value: { dataplane: 'linux' } })
const nothing: Wish = { aliases: [], address: undefined, unknown: undefined }
const box: Container = {
  id: 'c-g',
  name: 'g',
  pid: 7,
  namespace: 'own',
  networks: ['bridge'],
  dns: [],
  isTask: false,
}
const now = (...guests: readonly ReturnType<typeof guest>[]): View =>
  view({ members: [linux, member('n2')], networks: [open], guests })

describe('a connection', () => {
  test('is made on a network that is attachable, from a node whose data plane reaches into containers', () => {
    expect(checkWish(now(), open, nothing)).toBeUndefined()
    expect(checkWish(now(), plain, nothing)).toMatchObject({
      code: 'forbidden',
      message: 'Could not attach to network net: network net not manually attachable',
    })
    const ingress = { ...open, id: 'ingress' }
    expect(checkWish(now(), ingress, nothing)?.code).toBe('forbidden')
    const userspace = view({ members: [member('n1')], networks: [open] })
    expect(checkWish(userspace, open, nothing)).toMatchObject({ code: 'unsupported' })
  })

  test('with what cannot be had is refused by name', () => {
    expect(checkWish(now(), open, { ...nothing, address: '10.0.1.9' })?.message).toMatch(/cannot choose its address/)
    expect(checkWish(now(), open, { ...nothing, unknown: 'links (--link)' })?.message).toMatch(/links \(--link\)/)
    expect(checkWish(now(), open, { ...nothing, aliases: ['x'.repeat(254)] })?.code).toBe('invalid')
  })

  test('is of a container of its own namespace that runs, is no task, and is not there yet', () => {
    expect(checkContainer(now(), open, box)).toBeUndefined()
    expect(checkContainer(now(), open, { ...box, isTask: true })?.message).toMatch(/is a task of a service/)
    expect(checkContainer(now(), open, { ...box, namespace: 'shared' })?.message).toMatch(/sharing network namespace/)
    expect(checkContainer(now(), open, { ...box, pid: undefined })).toMatchObject({ code: 'conflict' })
    expect(checkContainer(now(guest('g')), open, box)).toMatchObject({
      code: 'forbidden',
      message: 'endpoint with name g already exists in network net',
    })
  })

  test('is found by name, id and start of the id of its container, on its node only', () => {
    const here = guest('g', { container: 'abcdef' })
    for (const name of ['g', 'abcdef', 'abcd']) expect(connectionOf(now(here), 'net', name)).toBe(here)
    for (const name of ['abc', 'h']) expect(connectionOf(now(here), 'net', name)).toBeUndefined()
    expect(connectionOf(now(here), 'other', 'g')).toBeUndefined()
    expect(connectionOf(now(guest('g', { node: 'n2' })), 'net', 'g')).toBeUndefined()
  })

  test('keeps its network while the container runs, wherever that is', () => {
    const far = { node: 'n2', address: '10.0.1.70' }
    expect(activeGuest(now(guest('g', far)), 'net')).toBe('g on node n2')
    expect(activeGuest(now(guest('g')), 'net')).toBeUndefined()
    const dead = view({ members: [linux, member('n2', { liveness: 'dead' })], guests: [guest('g', far)] })
    expect(activeGuest(dead, 'net')).toBeUndefined()
  })
})

describe('what is to be done', () => {
  const address = '10.0.1.70'
  const step = (known: ReturnType<typeof guest>, container: Container | undefined, joinedPid?: number) =>
    guestStep(now(known), known, { container, joinedPid })

  test('a container that began is connected, one that goes on is left alone', () => {
    expect(step(guest('g'), box)).toEqual({ do: 'join', pid: 7, fresh: true })
    expect(step(guest('g', { address }), box, 7)).toEqual({ do: 'nothing' })
    expect(step(guest('g'), { ...box, pid: undefined })).toEqual({ do: 'nothing' })
  })

  test('one that is found after a start of the agent keeps its address, unless the machine began anew', () => {
    expect(step(guest('g', { address }), box)).toEqual({ do: 'join', pid: 7, fresh: false })
    expect(step(guest('g', { address, boot: 'before' }), box)).toEqual({ do: 'join', pid: 7, fresh: true })
  })

  test('one that began again is connected anew, one that ended is taken off', () => {
    expect(step(guest('g', { address }), box, 6)).toEqual({ do: 'join', pid: 7, fresh: false })
    expect(step(guest('g', { address }), { ...box, pid: undefined }, 7)).toEqual({ do: 'leave' })
    expect(step(guest('g', { address }), { ...box, pid: undefined })).toEqual({ do: 'leave' })
  })

  test('with the container or the network the connection goes', () => {
    expect(step(guest('g', { address }), undefined, 7)).toEqual({ do: 'forget' })
    expect(step(guest('g', { address, network: 'gone' }), box, 7)).toEqual({ do: 'forget' })
  })

  test('who claimed an address later is given another', () => {
    const early = guest('e', { node: 'n2', address, created: at(1) })
    const late = guest('g', { address, created: at(2) })
    expect(guestStep(now(early, late), late, { container: box, joinedPid: 7 })).toEqual({
      do: 'join',
      pid: 7,
      fresh: true,
    })
  })

  test('a new name is told', () => {
    expect(step(guest('g', { address }), { ...box, name: 'h' }, 7)).toEqual({ do: 'rename', name: 'h' })
  })
})

test('only networks that somebody made have a resolver of the engine', () => {
  expect(['bridge', 'none'].map((name) => hasEngineResolver({ ...box, networks: [name] }))).toEqual([false, false])
  expect(hasEngineResolver({ ...box, networks: ['bridge', 'shop'] })).toBe(true)
})

test("a node holds the networks of its guests that run, and of no other node's", () => {
  const address = '10.0.1.70'
  expect(networksHeld(now(guest('g', { address }), guest('h', { network: 'other' })))).toEqual(['net'])
  expect(networksHeld(now(guest('g', { address, node: 'n2' })))).toEqual([])
})
