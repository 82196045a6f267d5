// What ss(8) says of programs that listen for IPv6.
import { expect, test } from 'vitest'
import { openPorts } from '../../../agent/dataplane/linux/listening.ts'

/** As iproute2 6.1 prints `ss -6HltunO`. */
const said = `udp   UNCONN 0      0                   *:53               *:*
tcp   LISTEN 0      511                 *:80               *:*
tcp   LISTEN 0      511              [::]:81            [::]:*
tcp   LISTEN 0      511    [fd01::15%eth0]:82            [::]:*
tcp   LISTEN 0      511             [::1]:83            [::]:*
tcp   LISTEN 0      511  [::ffff:10.0.1.5]:84               *:*
`

test('ports of wildcards and of addresses count, those of loopback and of IPv4 in disguise do not', () => {
  expect([...openPorts(said)].filter((port) => !port.startsWith(' '))).toEqual(['udp 53', 'tcp 80', 'tcp 81', 'tcp 82'])
})
