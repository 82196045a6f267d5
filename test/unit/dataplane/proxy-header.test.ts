// The PROXY protocol v2 header, byte by byte as haproxy's text gives it.
import { expect, test } from 'vitest'
import { proxyHeader } from '../../../agent/dataplane/userspace/proxy-header.ts'

const signature = '0d0a0d0a000d0a515549540a'

test('an IPv4 client is told with both addresses and ports', () => {
  const header = proxyHeader('tcp', { host: '192.0.2.1', port: 4_660 }, { host: '198.51.100.7', port: 80 })
  expect(header.toString('hex')).toBe(`${signature}2111000cc0000201c633640712340050`)
  expect(proxyHeader('udp', { host: '192.0.2.1', port: 1 }, { host: '192.0.2.2', port: 2 })[13]).toBe(0x12)
})

test('an IPv6 client is told in 36 bytes, however its address is written', () => {
  const header = proxyHeader('tcp', { host: '2001:db8::1', port: 1 }, { host: '::1', port: 2 })
  const expected = `${signature}21210024${'20010db8000000000000000000000001'}${'00000000000000000000000000000001'}00010002`
  expect(header.toString('hex')).toBe(expected)
  const full = proxyHeader('tcp', { host: '2001:db8:0:0:0:0:0:1', port: 1 }, { host: '0:0:0:0:0:0:0:1', port: 2 })
  expect(full.equals(header)).toBe(true)
})

test.for([
  ['192.0.2.1', '::1'],
  ['', '192.0.2.1'],
  ['192.0.2.256', '192.0.2.1'],
  ['1::2::3', '::1'],
] as const)('addresses %s and %s say nothing: LOCAL', ([client, entry]) => {
  const header = proxyHeader('tcp', { host: client, port: 1 }, { host: entry, port: 2 })
  expect(header.toString('hex')).toBe(`${signature}20000000`)
})
