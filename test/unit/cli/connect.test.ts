// `vine network connect` and `disconnect`: what they ask of the agent.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type FakeAgent, fakeAgent } from './fake-agent.ts'
import { vine } from './vine.ts'

let agent: FakeAgent
const asked: unknown[] = []
beforeAll(async () => {
  agent = await fakeAgent({
    'POST /networks/app/connect': ({ body }) => {
      asked.push(body)
      return { status: 200, body: {} }
    },
    'POST /networks/app/disconnect': ({ body }) => {
      asked.push(body)
      return { status: 404, body: { message: 'container box is not connected to network app' } }
    },
  })
})
afterAll(() => agent.close())
beforeEach(() => void asked.splice(0))

test('connect gives names, and what cannot be chosen is refused before anybody is asked', async () => {
  const ran = await vine(['network', 'connect', '--alias', 'a', '--alias', 'b', 'app', 'box'], { socket: agent.socket })
  expect([ran.code, ran.out, asked]).toEqual([0, '', [{ Container: 'box', EndpointConfig: { Aliases: ['a', 'b'] } }]])
  const refused = await vine(['network', 'connect', '--ip', '10.0.1.9', 'app', 'box'], { socket: agent.socket })
  expect([refused.code, asked.length]).toEqual([125, 1])
  expect(refused.err).toContain('addresses are claimed by the agents themselves')
})

test('disconnect fails where nothing is connected, unless that does not matter', async () => {
  const ran = await vine(['network', 'disconnect', 'app', 'box'], { socket: agent.socket })
  expect([ran.code, ran.err]).toEqual([1, expect.stringContaining('is not connected')])
  expect((await vine(['network', 'disconnect', '-f', 'app', 'box'], { socket: agent.socket })).code).toBe(0)
  expect(asked.at(-1)).toEqual({ Container: 'box', Force: true })
})
