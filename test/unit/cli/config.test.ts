// What an agent is told: where a value comes from, what it is without one, and what is refused.
import { describe, expect, test } from 'vitest'
import { type ConfigInput, type Machine, readConfig } from '../../../agent/config.ts'
import { Fault } from '../../../agent/fault.ts'
import { presets } from '../../../agent/presets.ts'

const machine: Machine = {
  hostname: 'box_1.example.org',
  isRoot: false,
  home: '/home/u',
  routeAddress: '192.0.2.7',
  socket: '/run/user/1/grapevine/vine.sock',
}

function read(changes: Partial<ConfigInput> = {}) {
  return readConfig({ flags: {}, env: {}, file: undefined, machine, ...changes })
}

function refusal(changes: Partial<ConfigInput>): string {
  try {
    read(changes)
  } catch (error) {
    if (error instanceof Fault) return error.message
    throw error
  }
  throw new Error('it was accepted')
}

describe('readConfig()', () => {
  test('refuses a first --address that is not of this machine; a further one may come later', () => {
    const there = { ...machine, addresses: ['127.0.0.1', '192.0.2.7'] }
    const address = (...given: string[]) => ({ machine: there, flags: { address: given } })
    expect(refusal(address('198.51.100.1'))).toBe(
      '--address 198.51.100.1 is no address of this machine, which has 127.0.0.1, 192.0.2.7',
    )
    expect(read(address('127.0.0.2', '198.51.100.1')).dataplane.addresses).toHaveLength(2)
    expect(read(address('192.0.2.7')).dataplane.addresses).toEqual(['192.0.2.7'])
  })

  test('says nothing is needed: every setting has a default', () => {
    expect(read()).toMatchObject({
      node: { name: 'box-1', labels: {}, dataDir: '/home/u/.local/state/grapevine' },
      transport: { listen: ['/ip4/0.0.0.0/tcp/7766'], advertise: [], join: [], token: undefined },
      dataplane: { addresses: ['192.0.2.7', '127.0.0.1'] },
      dns: { ports: [53, 10053], upstream: undefined },
      api: { socket: machine.socket, tcp: undefined, metrics: undefined },
      log: { level: 'info' },
      preset: 'lan',
    })
  })

  test("logins for registries are looked for where Docker's client keeps them", () => {
    expect(read().runtime.logins).toBe('/home/u/.docker')
    expect(read({ env: { DOCKER_CONFIG: '/etc/logins' } }).runtime.logins).toBe('/etc/logins')
  })

  test("Docker's engine is looked for where Docker's client looks, less other machines and the agent itself", () => {
    const found = (changes: Partial<ConfigInput>) => read(changes).runtime.socket
    expect(found({})).toBe('/var/run/docker.sock')
    expect(found({ env: { DOCKER_HOST: 'unix:///run/other.sock' } })).toBe('/run/other.sock')
    expect(found({ env: { DOCKER_HOST: 'tcp://192.0.2.1:2376' } })).toBe('/var/run/docker.sock')
    expect(found({ flags: { 'docker-socket': ['/a.sock'] }, env: { DOCKER_HOST: 'unix:///b.sock' } })).toBe('/a.sock')
    expect(found({ flags: { 'docker-socket': ['none'] } })).toBeUndefined()
    expect(found({ env: { DOCKER_HOST: `unix://${machine.socket}` } })).toBeUndefined()
    expect(found({ flags: { socket: ['/var/run/docker.sock'] } })).toBeUndefined()
    expect(refusal({ flags: { 'docker-socket': ['tcp://192.0.2.1:2375'] } })).toMatch(
      /must be the path of a unix socket/,
    )
  })

  test('WireGuard has its usual port unless another is asked for, which is not that of the tunnels', () => {
    expect(read().dataplane.wireguardPort).toBe(51_820)
    expect(read({ env: { GRAPEVINE_WIREGUARD_PORT: '51821' } }).dataplane.wireguardPort).toBe(51_821)
    const twice = 'UDP port 4789 is asked for twice: by --data-path-port and by --wireguard-port'
    expect(refusal({ flags: { 'wireguard-port': ['4789'] } })).toBe(twice)
    expect(refusal({ flags: { 'wireguard-port': ['0'] } })).toMatch(/must be a whole number from 1 to 65535/)
  })

  test("the data plane is the kernel's where it can be, unless another is asked for", () => {
    expect(read().dataplane).toMatchObject({ kind: 'auto', dataPathPort: 4789 })
    expect(read({ env: { GRAPEVINE_DATAPLANE: 'userspace' } }).dataplane.kind).toBe('userspace')
    expect(read({ flags: { 'data-path-port': ['4790'] } }).dataplane.dataPathPort).toBe(4790)
    expect(read({ file: { path: '/f', content: { dataplane: 'linux' } } }).dataplane.kind).toBe('linux')
    expect(refusal({ flags: { dataplane: ['kernel'] } })).toBe(
      '--dataplane "kernel" must be one of auto, linux, userspace',
    )
  })

  test('root keeps its data below /var/lib, others below XDG_STATE_HOME', () => {
    expect(read({ machine: { ...machine, isRoot: true } }).node.dataDir).toBe('/var/lib/grapevine')
    expect(read({ env: { XDG_STATE_HOME: '/s' } }).node.dataDir).toBe('/s/grapevine')
  })

  test('a flag wins over the environment, the environment over the file', () => {
    const file = { path: '/f', content: { name: 'file', preset: 'wan', 'log-level': 'debug' } }
    const env = { GRAPEVINE_NAME: 'env', GRAPEVINE_PRESET: 'local' }
    const config = read({ flags: { name: ['flag'] }, env, file })
    expect([config.node.name, config.preset, config.log.level]).toEqual(['flag', 'local', 'debug'])
    expect(config.times).toBe(presets.local)
  })

  test('lists are repeated flags, commas in the environment, lists or maps in the file', () => {
    expect(read({ flags: { label: ['a=1,2', 'b=3'] } }).node.labels).toEqual({ a: '1,2', b: '3' })
    expect(read({ env: { GRAPEVINE_JOIN: '/dns4/a/tcp/7766, /ip4/192.0.2.1/tcp/1' } }).transport.join).toHaveLength(2)
    expect(read({ file: { path: '/f', content: { label: { zone: 'a' }, address: ['127.0.0.2'] } } })).toMatchObject({
      node: { labels: { zone: 'a' } },
      dataplane: { addresses: ['127.0.0.2'] },
    })
  })

  test('a join address is a multiaddr, or a host with or without a port', () => {
    const join = [
      '/dns4/n1/tcp/7766',
      'n1',
      'n1.example:7766',
      '192.0.2.1',
      '192.0.2.1:1',
      '2001:db8::1',
      '[2001:db8::1]:7766',
    ]
    expect(read({ flags: { join } }).transport.join).toEqual(join)
    for (const wrong of ['300.0.0.1:7766', 'n1:70000', 'http://n1', '[n1]:1', 'n1:'])
      expect(refusal({ flags: { join: [wrong] } })).toContain(`--join "${wrong}"`)
  })

  test('the result cannot be changed, not even deep inside', () => {
    const config = read()
    expect(Object.isFrozen(config.transport.listen)).toBe(true)
  })

  test('all that is wrong is told in one message, each with where it stood', () => {
    const message = refusal({
      flags: { address: ['0.0.0.0'], listen: ['/ip4/1.2.3.4/udp/1'] },
      env: { GRAPEVINE_DNS_PORT: '99999' },
      file: { path: '/f', content: { preset: 'fast', colour: 'red' } },
    })
    expect(message.split('\n')).toHaveLength(6)
    for (const part of [
      '--address "0.0.0.0"',
      '--listen',
      'GRAPEVINE_DNS_PORT "99999"',
      'preset in /f "fast"',
      'unknown setting "colour"',
    ])
      expect(message).toContain(part)
  })

  test.each([
    ['a token without a member to join', { token: ['x'] }, '--join'],
    [
      'a listener on the mesh port of another',
      { listen: ['/ip4/127.0.0.1/tcp/7766', '/ip4/127.0.0.1/tcp/7767'] },
      'port 7767 is asked for twice',
    ],
    ['metrics on the mesh port', { metrics: ['127.0.0.1:7767'] }, '--metrics'],
    ['DNS on the port of members', { 'dns-port': ['7766'] }, '--dns-port'],
    ['no port left for the mesh', { listen: ['/ip4/0.0.0.0/tcp/65535'] }, 'mesh'],
    ['an address that is none', { address: ['300.1.1.1'] }, 'IP address'],
    ['an octet too large in a multiaddr', { join: ['/ip4/300.0.0.1/tcp/1'] }, '300.0.0.1'],
    ['a name with a blank', { name: ['a b'] }, 'host name'],
    ['a label without a value', { label: ['a'] }, 'key=value'],
    ['a DNS server by name', { 'upstream-dns': ['dns.example'] }, 'IP address'],
    ['a wildcard to tell others', { advertise: ['0.0.0.0'] }, 'nobody can dial'],
    [
      'the API over TCP without TLS',
      { api: ['127.0.0.1:2376'] },
      'of which --tls-ca, --tls-cert, --tls-key are missing',
    ],
    [
      'the API over TCP without its key',
      { api: ['127.0.0.1:2376'], 'tls-ca': ['a'], 'tls-cert': ['b'] },
      '--tls-key is missing',
    ],
    ['TLS for no API', { 'tls-ca': ['a'], 'tls-cert': ['b'], 'tls-key': ['c'] }, 'of which --api is missing'],
    [
      'the API without an address',
      { api: ['2376'], 'tls-ca': ['a'], 'tls-cert': ['b'], 'tls-key': ['c'] },
      'address:port',
    ],
    [
      'the API on the mesh port',
      { api: ['127.0.0.1:7767'], 'tls-ca': ['a'], 'tls-cert': ['b'], 'tls-key': ['c'] },
      '--api has port 7767',
    ],
    ['a socket of TCP', { socket: ['tcp://127.0.0.1:2375'] }, 'take --api with --tls-ca, --tls-cert and --tls-key'],
    ['metrics without a port', { metrics: ['127.0.0.1'] }, 'address:port'],
  ])('%s is refused', (_what, flags, part) => {
    expect(refusal({ flags })).toContain(part)
  })

  test('the API over TCP is read from all three sources, with Docker’s tcp:// or without', () => {
    const tcp = { host: '192.0.2.1', port: 2376, ca: '/ca', cert: '/cert', key: '/key' }
    const file = { path: '/f', content: { 'tls-ca': '/ca' } }
    const env = { GRAPEVINE_TLS_CERT: '/cert', GRAPEVINE_TLS_KEY: '/key' }
    for (const api of ['192.0.2.1:2376', 'tcp://192.0.2.1:2376'])
      expect(read({ flags: { api: [api] }, env, file }).api.tcp).toEqual(tcp)
  })

  test('one port on two addresses is no clash, nor are ports chosen by the system', () => {
    expect(
      read({ flags: { listen: ['/ip4/127.0.0.1/tcp/7766', '/ip4/127.0.0.2/tcp/7766'] } }).transport.listen,
    ).toHaveLength(2)
    expect(read({ flags: { listen: ['/ip4/127.0.0.1/tcp/0', '/ip6/::1/tcp/0'] } }).transport.listen).toHaveLength(2)
  })

  test('a file that is no map is refused with its path', () => {
    expect(refusal({ file: { path: '/f', content: ['x'] } })).toContain('/f')
    expect(refusal({ file: { path: '/f', content: 'x' } })).toContain('/f')
    expect(read({ file: { path: '/f', content: null } }).preset).toBe('lan')
  })
})
