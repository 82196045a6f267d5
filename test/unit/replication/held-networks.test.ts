// Whose records a node keeps: those of its own networks, whatever an earlier run left (design.md 3).
import { expect, it } from 'vitest'
import { createHeldNetworks } from '../../../agent/loops/held-networks.ts'
import { createNet, type TestNode } from './cluster.ts'

function holding({ view, sync, clock }: TestNode) {
  const told: string[][] = []
  const held = createHeldNetworks({
    view,
    sync,
    clock,
    follow() {},
    announce: () => void told.push([...held.networks()]),
  })
  return { held, told }
}

it('a network that an earlier run had not let go of when it ended is let go of by the next', async () => {
  const net = createNet()
  const a = await net.add('n1', { networks: ['net1', 'net2'] })
  const { held, told } = holding(a)
  held.adopt(['net1'])
  expect(held.networks()).toEqual(['net1', 'net2'])
  held.hold(['net1'])
  await net.advance(1_000)
  expect(a.view.scopes().toSorted()).toEqual(['cluster', 'network/ingress', 'network/net1'])
  expect(told).toEqual([['net1']])
})

it('what is held as before is told to nobody again', async () => {
  const net = createNet()
  const { held, told } = holding(await net.add('n1', { networks: ['net1'] }))
  held.adopt(['net1'])
  held.hold(['net1'])
  expect(told).toEqual([])
})
