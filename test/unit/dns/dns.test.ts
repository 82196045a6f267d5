import { createSocket, type Socket } from 'node:dgram'
import { connect } from 'node:net'
import * as dnsPacket from 'dns-packet'
import { afterEach, describe, expect, it } from 'vitest'
import { callerOf, nameFacts } from '../../../agent/core/names/caller.ts'
import type { Target } from '../../../agent/core/names/table.ts'
import { ask } from '../../../agent/dns/ask.ts'
import { nameservers, parseServer } from '../../../agent/dns/resolv-conf.ts'
import { createResponder, type Responder } from '../../../agent/dns/responder.ts'
import { createDnsServer, type DnsServer } from '../../../agent/dns/server.ts'
import { createUpstream } from '../../../agent/dns/upstream.ts'
import { createClock, createRandom } from '../../../agent/real.ts'
import { until } from '../../until.ts'
import { viewBuilder } from '../names/builder.ts'

const quiet = { debug() {}, info() {}, warn() {}, error() {} }
const clock = createClock()
const random = createRandom()
const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

/** An upstream server on loopback that counts what it is asked and answers as told. */
async function fakeUpstream(answer: (name: string) => { rcode?: number; address?: string; silent?: boolean }) {
  const asked: string[] = []
  const socket: Socket = createSocket('udp4')
  socket.on('message', (message, from) => {
    const query = dnsPacket.decode(message)
    const name = query.questions?.[0]?.name ?? ''
    asked.push(name)
    const { rcode = 0, address, silent } = answer(name)
    if (silent) return
    const answers = address === undefined ? [] : [{ name, type: 'A' as const, ttl: 60, data: address }]
    socket.send(
      dnsPacket.encode({
        type: 'response',
        id: query.id ?? 0,
        flags: rcode,
        questions: query.questions ?? [],
        answers,
      }),
      from.port,
      from.address,
    )
  })
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  closers.push(() => new Promise<void>((resolve) => socket.close(() => resolve())))
  return { asked, server: { host: '127.0.0.1', port: socket.address().port } }
}

function responderFor(
  builder: ReturnType<typeof viewBuilder>,
  servers: readonly { host: string; port: number }[] = [],
): Responder {
  const view = builder.view()
  const facts = nameFacts(view, new Set(), () => true)
  const addressOf = (target: Target, family: 4 | 6) =>
    family === 6 ? undefined : target.kind === 'service' ? '127.9.0.1' : `127.9.1.${target.id.replace(/\D/g, '')}`
  return createResponder({
    callerOf: (task) => callerOf(task, facts),
    generation: () => view.revision,
    addressOf,
    targetOf: (address) =>
      address === '127.9.1.2'
        ? { kind: 'task', network: 'net-front', id: 'web2' }
        : address.startsWith('127.9.')
          ? 'unknown'
          : undefined,
    upstream: createUpstream({ servers, clock, random }),
    clock,
    random,
  })
}

function shop(tasks = 3) {
  const builder = viewBuilder()
    .network('front')
    .service('web', { networks: [{ network: 'front' }], ports: [{ target: 80 }] })
    .service('app', { networks: [{ network: 'front' }] })
    .task('app1', 'app', '1')
  for (let i = 1; i <= tasks; i++) builder.task(`web${i}`, 'web', String(i))
  return builder
}

/** An address of this process's own: on 127.0.0.1 any port may be the near end of somebody's connection. */
const host = `127.93.${1 + (process.pid % 250)}.1`
let lastPort = 5_300

async function served(responder: Responder): Promise<{ server: DnsServer; port: number }> {
  const port = ++lastPort
  const server = createDnsServer(responder, quiet)
  await server.listen('app1', host, port)
  closers.push(() => server.close())
  return { server, port }
}

async function query(port: number, name: string, options: { type?: string; edns?: number } = {}) {
  const socket = createSocket('udp4')
  const additionals =
    options.edns === undefined
      ? []
      : [
          {
            type: 'OPT' as const,
            name: '.',
            udpPayloadSize: options.edns,
            flags: 0,
            options: [],
            extendedRcode: 0,
            ednsVersion: 0,
            flag_do: false,
          },
        ]
  const message = dnsPacket.encode({
    type: 'query',
    id: 77,
    flags: dnsPacket.RECURSION_DESIRED,
    questions: [{ name, type: (options.type ?? 'A') as 'A' }],
    additionals: additionals as never,
  })
  const reply = await new Promise<Buffer>((resolve) => {
    socket.once('message', resolve)
    socket.send(message, port, host)
  })
  socket.close()
  return { bytes: reply.length, packet: dnsPacket.decode(reply) as dnsPacket.DecodedPacket & { rcode: string } }
}

describe('the resolver of a task', () => {
  it('answers over UDP with the id, the case and the flags of the question', async () => {
    const { port } = await served(responderFor(shop()))
    const { packet } = await query(port, 'WeB')
    expect(packet).toMatchObject({ id: 77, rcode: 'NOERROR', flag_aa: true, flag_ra: true, flag_rd: true })
    expect(packet.questions?.[0]?.name).toBe('WeB')
    expect(packet.answers).toMatchObject([{ type: 'A', data: '127.9.0.1', ttl: 5 }])
  })

  it('lists every task, each first in turn, with compressed names', async () => {
    const { port } = await served(responderFor(shop()))
    const firsts = new Set<string>()
    for (let i = 0; i < 60; i++) {
      const { packet, bytes } = await query(port, 'tasks.web')
      const addresses = (packet.answers ?? []).map((a) => ('data' in a ? String(a.data) : ''))
      expect([...addresses].sort()).toEqual(['127.9.1.1', '127.9.1.2', '127.9.1.3'])
      firsts.add(addresses[0] ?? '')
      // 12 header, 15 question, 16 a record: the name is a pointer.
      expect(bytes).toBe(12 + 15 + 3 * 16)
    }
    expect(firsts.size).toBe(3)
  })

  it('cuts what does not fit and says so, and gives the whole over TCP and to EDNS clients', async () => {
    const { port } = await served(responderFor(shop(60)))
    const small = await query(port, 'tasks.web')
    expect(small.packet.flag_tc).toBe(true)
    expect(small.bytes).toBeLessThanOrEqual(512)
    const large = await query(port, 'tasks.web', { edns: 4096 })
    expect(large.packet.flag_tc).toBe(false)
    expect(large.packet.answers).toHaveLength(60)
    const socket = connect(port, host)
    socket.write(dnsPacket.streamEncode({ type: 'query', id: 5, questions: [{ name: 'tasks.web', type: 'A' }] }))
    const chunks: Buffer[] = []
    socket.on('data', (chunk) => chunks.push(chunk))
    const whole = await until(() => chunks.length > 0 && dnsPacket.streamDecode(Buffer.concat(chunks)), {
      deadlineMs: 2_000,
      what: 'a reply over TCP',
    })
    expect(whole.answers).toHaveLength(60)
    socket.destroy()
  })

  it('gives negative answers an SOA, so that nobody keeps them for long', async () => {
    const { port } = await served(responderFor(shop()))
    const nodata = await query(port, 'web', { type: 'TXT' })
    expect(nodata.packet).toMatchObject({ rcode: 'NOERROR', authorities: [{ type: 'SOA', ttl: 5 }] })
    const missing = await query(port, 'nobody')
    expect(missing.packet).toMatchObject({ rcode: 'NXDOMAIN', authorities: [{ type: 'SOA' }] })
  })

  it('answers SRV and PTR', async () => {
    const responder = responderFor(shop(2))
    const services = await ask(responder, 'app1', '_80._tcp.web', 'SRV')
    expect(services.status).toBe('NOERROR')
    expect(services.answers.map((a) => a.data).sort()).toEqual([
      '0 1 80 1.web.front.vine.internal',
      '0 1 80 2.web.front.vine.internal',
    ])
    expect((await ask(responder, 'app1', '2.1.9.127.in-addr.arpa', 'PTR')).answers[0]?.data).toBe('web.2.web2.front')
    expect((await ask(responder, 'app1', '9.9.9.127.in-addr.arpa', 'PTR')).status).toBe('NXDOMAIN')
  })

  it('stays up under 2,000 broken datagrams and answers the next good question', async () => {
    const { port } = await served(responderFor(shop()))
    const socket = createSocket('udp4')
    const good = dnsPacket.encode({ type: 'query', id: 1, questions: [{ name: 'web', type: 'A' }] })
    for (let i = 0; i < 2_000; i++) {
      const bytes = i % 2 === 0 ? Buffer.from(random.bytes(1 + (i % 300))) : Buffer.from(good)
      bytes[i % bytes.length] = i & 0xff
      bytes[(i * 7) % bytes.length] = (i * 31) & 0xff
      await new Promise((resolve) => socket.send(bytes.subarray(0, 1 + (i % bytes.length)), port, host, resolve))
    }
    socket.close()
    expect((await query(port, 'web')).packet.rcode).toBe('NOERROR')
  })

  it('refuses an address that is in use, by a fault that names it', async () => {
    const { port } = await served(responderFor(shop()))
    const second = createDnsServer(responderFor(shop()), quiet)
    await expect(second.listen('app2', host, port)).rejects.toMatchObject({ code: 'port-taken' })
  })
})

describe('upstream', () => {
  it('is asked for names with a dot that are not ours, once for many askers and while the answer is fresh', async () => {
    const upstream = await fakeUpstream(() => ({ address: '192.0.2.7' }))
    const { port } = await served(responderFor(shop(), [upstream.server]))
    const replies = await Promise.all(Array.from({ length: 20 }, () => query(port, 'example.org')))
    for (const { packet } of replies) expect(packet.answers).toMatchObject([{ data: '192.0.2.7' }])
    await query(port, 'example.org')
    expect(upstream.asked).toEqual(['example.org'])
  })

  it('never hears of single labels, our zone, or other types of our names', async () => {
    const upstream = await fakeUpstream(() => ({ address: '192.0.2.7' }))
    const { port } = await served(responderFor(shop(), [upstream.server]))
    for (const name of ['nobody', 'x.front.vine.internal', 'vine.internal']) await query(port, name)
    await query(port, 'web', { type: 'TXT' })
    await query(port, 'web.front', { type: 'AAAA' })
    expect(upstream.asked).toEqual([])
  })

  it('moves to the next server when one fails or is silent, and believes NXDOMAIN', async () => {
    const failing = await fakeUpstream(() => ({ rcode: 2 }))
    const silent = await fakeUpstream(() => ({ silent: true }))
    const good = await fakeUpstream((name) => (name === 'no.example' ? { rcode: 3 } : { address: '192.0.2.9' }))
    const { port } = await served(responderFor(shop(), [failing.server, silent.server, good.server]))
    expect((await query(port, 'a.example')).packet.answers).toMatchObject([{ data: '192.0.2.9' }])
    expect((await query(port, 'no.example')).packet.rcode).toBe('NXDOMAIN')
  })

  it('that is not there at all is SERVFAIL at once, not silence', async () => {
    const { port } = await served(responderFor(shop(), []))
    expect((await query(port, 'example.org')).packet.rcode).toBe('SERVFAIL')
  })
})

describe('server addresses', () => {
  it('are read from resolv.conf without our own', () => {
    const text =
      '# x\nnameserver 192.0.2.53\nnameserver 127.9.0.1\nnameserver nonsense\nsearch a\nnameserver 2001:db8::1\n'
    expect(nameservers(text, (host) => host.startsWith('127.9.')).map((s) => s.host)).toEqual([
      '192.0.2.53',
      '2001:db8::1',
    ])
  })

  it('are read from a flag with or without a port', () => {
    expect(parseServer('192.0.2.1')).toEqual({ host: '192.0.2.1', port: 53 })
    expect(parseServer('192.0.2.1:5353')).toEqual({ host: '192.0.2.1', port: 5353 })
    expect(parseServer('[2001:db8::1]:54')).toEqual({ host: '2001:db8::1', port: 54 })
    for (const bad of ['', 'example.org', '192.0.2.1:0', '192.0.2.1:70000', '192.0.2.1:x'])
      expect(parseServer(bad)).toBeUndefined()
  })
})
