// Which connections to a task have something under way, from what ss says of its sockets.
import { expect, test } from 'vitest'
import { countUnderWay } from '../../../agent/dataplane/linux/under-way.ts'

const listening = 'LISTEN 0 511 0.0.0.0:80 0.0.0.0:* cubic cwnd:10'
const connection = (times: string, own = '10.9.0.7:80') =>
  `ESTAB 0 0 ${own} 192.0.2.9:53074 bbr wscale:10,10 bytes_sent:136 ${times} rcv_space:65483`

test.each([
  ['a request without its answer', 'lastsnd:9000 lastrcv:4000', 1],
  ['an answer that has just been sent', 'lastsnd:40 lastrcv:9000', 1],
  ['a connection that is merely kept open', 'lastsnd:4000 lastrcv:4010', 0],
  ['one that was answered within the millisecond', 'lastsnd:4000 lastrcv:4000', 0],
] as const)('%s: %s counts %i', (_what, times, count) => {
  expect(countUnderWay(`${listening}\n${connection(times)}\n`)).toBe(count)
})

test('what the task itself asks of others does not count', () => {
  expect(countUnderWay(`${listening}\n${connection('lastsnd:9000 lastrcv:4000', '10.9.0.7:51000')}`)).toBe(0)
  expect(countUnderWay('')).toBe(0)
})
