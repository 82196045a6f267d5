/** Encrypted networks of the linux data plane on machines: what is on the cable, what is taken from it, and what happens when WireGuard or agents end. */
import { expect, test } from 'vitest'
import { innerAddress, nodeMac, tunnelNumber } from '../../agent/dataplane/linux/names.ts'
import { needs } from '../needs.ts'
import { until } from '../until.ts'
import { runs } from './clients.ts'
import { see } from './cluster.ts'
import type { Lan, Machine } from './machines.ts'
import { linuxCluster, type Task, taskOf } from './overlay.ts'

/** What must never be seen on the cable. */
const words = 'between you and me'
/** Answers with the words, at any path but the first many times over; tells of datagrams in its log. */
const server = `node -e 'require("http").createServer((q, r) => r.end("${words}. ".repeat(q.url === "/" ? 1 : 5000))).listen(80); require("dgram").createSocket("udp4").on("message", (m) => console.log(String(m))).bind(9999)'`

test('what tasks of an encrypted network say is not on the cable, and what others send into it in clear is not heard', async () => {
  for (const tool of ['wg', 'wireguard-go', 'tshark']) needs(tool)
  const { lan, n1, n2, client, address } = await vault()
  const frames: string[] = []
  const saved = '/run/frames.pcap'
  const fields = '-T fields -e ip.src -e ip.dst -e udp.dstport -e ip.flags.mf'
  n1.begin(`tshark -l -P -w ${saved} -i eth0 -f udp ${fields} 2>/dev/null`, (line) => frames.push(line))
  const both = [
    [n1.address, n2.address],
    [n2.address, n1.address],
  ].map((ends) => `${ends.join('\t')}\t51820\t`)
  await until(
    async () => {
      for (const host of ['server', address])
        expect(await client.ok(`curl -sS -m 5 http://${host}/much`)).toContain(words)
      return both.every((seen) => frames.some((frame) => frame.startsWith(seen)))
    },
    { deadlineMs: 15_000, everyMs: 50, what: 'both to talk through WireGuard' },
  )
  // Without WireGuard there is a way that leads out of the machine, and nothing takes it.
  await lan.outside('ip -6 address add fd99::1/64 dev switch7 nodad')
  await n1.ok('ip -6 address add fd99::11/64 dev eth0 nodad; ip -6 route add default via fd99::1')
  const killed = await pidOf(n1)
  await n1.ok(`kill -KILL ${killed}`)
  await client.run(`curl -sS -m 1 http://${address}/`)
  await answers(client, address)
  expect(await pidOf(n1)).not.toBe(killed)
  // 1500 of the cable, less 60 and 70, and no packet in pieces: the last field would be 1.
  expect(await client.ok('ip -o link show eth0')).toContain(' mtu 1370 ')
  expect([...new Set(frames.map((frame) => frame.split('\t').slice(2).join(' ')))]).toEqual(['51820 0'])
  expect((await n1.run(`grep -c -a "${words}" ${saved}`)).out).toBe('0\n')
  await hearsOnlyUs({ lan, n1, n2, client, address })
})

test('WireGuard that is killed is there again, an agent that is killed takes it over, who is removed is no peer, and nothing is left at the end', async () => {
  for (const tool of ['wg', 'wireguard-go']) needs(tool)
  const { n1, n2, n3, client, address } = await vault()
  // Where the tool is missing the network is not, and says why.
  const lack = 'the program wg is missing; install wireguard-tools'
  expect(await n3.ok('vine node inspect self --pretty')).toContain(lack)
  await n1.ok("vine service create --quiet --detach --name all --mode global --network vault sh -c 'sleep 1000'")
  for (const machine of [n1, n2]) await taskOf(machine, 'all')
  await until(async () => (await n1.ok('vine service ps --no-trunc all')).includes(lack), {
    deadlineMs: 10_000,
    what: 'the task of n3 to be rejected with the reason',
  })
  expect((await n3.run('vine doctor')).out).toContain(lack)

  const killed = await pidOf(n2)
  await n2.ok(`kill -KILL ${killed}`)
  await until(async () => (await pidOf(n2)) !== killed, { deadlineMs: 5_000, what: 'WireGuard to be there again' })
  await answers(client, address)

  const kept = await pidOf(n2)
  const asked: string[] = []
  const pause = 'new Promise((done) => setTimeout(done, 50))'
  n1.begin(
    `nsenter -t ${client.pid} -n -m -- node -e 'const ask = async () => { for (;;) { console.log(await fetch("http://${address}/", { signal: AbortSignal.timeout(3000) }).then((r) => r.status, (e) => "failed: " + e.cause)); await ${pause} } }; ask()'`,
    (line) => asked.push(line),
  )
  const more = async () => {
    const before = asked.length
    await until(() => asked.length > before + 5, { deadlineMs: 10_000, what: 'further answers' })
  }
  await more()
  await n2.ok('kill -KILL $(pgrep -f "[a]gent/main.ts agent")')
  await more()
  await n2.start('vine agent --dataplane linux')
  await see([n1, n2], [n1, n2, n3])
  await more()
  expect(new Set(asked)).toEqual(new Set(['200']))
  expect(await pidOf(n2)).toBe(kept)

  const peers = async () => (await n1.ok(`wg show all peers`)).split('\n').filter((line) => line !== '').length
  expect(await peers()).toBe(2)
  await n1.ok('vine node rm --force n3')
  await until(async () => (await peers()) === 1, { deadlineMs: 5_000, what: 'the peer to go' })
  await answers(client, address)

  const left = `ip -o link | grep " vw"; ip -6 route | grep unreachable; pgrep wireguard-go; ls /var/run/wireguard`
  const pids = [await taskOf(n2, 'server'), await taskOf(n2, 'all')].map(({ pid }) => pid)
  await n2.ok(`kill -KILL $(pgrep -f "[a]gent/main.ts agent") && kill -KILL ${pids.join(' ')}`)
  await until(async () => (await n2.run('vine doctor')).out.includes('device vw'), {
    deadlineMs: 10_000,
    what: 'the device to be listed',
  })
  expect((await n2.run('vine doctor --clean')).out).toMatch(/^leftovers: ok/m)
  await n1.ok('vine service rm server client all')
  for (const machine of [n1, n2])
    await until(() => nothing(machine.run(left)), { deadlineMs: 10_000, what: 'nothing to be left' })
})

/** Fails with what was said, if anything was. */
async function nothing(ran: ReturnType<Machine['run']>): Promise<true> {
  const { out } = await ran
  if (out !== '') throw new Error(out)
  return true
}

interface Vault {
  readonly lan: Lan
  readonly n1: Machine
  readonly n2: Machine
  readonly n3: Machine
  readonly client: Task
  /** Of the server. */
  readonly address: string
}

/** An encrypted network with a client on the first machine and a server on the second; the third lacks a tool. */
async function vault(): Promise<Vault> {
  const thirdSetUp = 'mount --bind /dev/null "$(command -v wg)"'
  const [lan, n1, n2, n3] = await linuxCluster({ thirdSetUp })
  await n1.ok('vine network create -d overlay --opt encrypted vault')
  const on = (machine: Machine) => `--quiet --network vault --constraint node.hostname==${machine.name}`
  await n1.ok(`vine service create --name server ${on(n2)} ${server}`)
  await n1.ok(`vine service create --name client ${on(n1)} sh -c 'sleep 1000'`)
  const [task] = await runs([n1, n2], 'server', 1)
  const client = await taskOf(n1, 'client')
  const address = task?.addresses[0]?.split('/')[0] ?? ''
  await answers(client, address)
  return { lan, n1, n2, n3, client, address }
}

async function answers(client: Task, address: string): Promise<void> {
  await until(async () => (await client.run(`curl -sS -m 2 http://${address}/`)).out.includes(words), {
    deadlineMs: 10_000,
    what: 'the server to answer',
  })
}

async function pidOf(machine: Machine): Promise<string> {
  return (await machine.run('pgrep wireguard-go')).out.trim()
}

/** A stranger at the switch sends to every address of the server's machine what a tunnel of the network would carry: nothing of it arrives. */
async function hearsOnlyUs({ lan, n1, n2, client, address }: Omit<Vault, 'n3'>): Promise<void> {
  const [own, theirs] = [await idOf(n1), await idOf(n2)]
  const [{ Id }] = JSON.parse(await n1.ok('vine network inspect vault')) as readonly [{ readonly Id: string }]
  const [to, from] = [nodeMac(theirs), nodeMac(own)]
  const forged = tunnelled({ number: tunnelNumber(Id), to, from, address, said: 'forged' }).toString('hex')
  await n2.ok('ip -6 address add fd99::2/64 dev eth0 nodad')
  const inner = innerAddress(theirs)
  await lan.outside(`ip -6 route add ${inner} via fd99::2`)
  for (const target of [n2.address, 'fd99::2', inner]) {
    const kind = target.includes(':') ? 'udp6' : 'udp4'
    const line = `const s = require("dgram").createSocket("${kind}").on("error", console.log); s.send(Buffer.from("${forged}", "hex"), 4789, "${target}", (e) => { console.log(e); s.close() })`
    expect(await lan.outside(`node -e '${line}'`)).toMatchObject({ code: 0, out: 'null\n' })
  }
  const heard = await until(
    async () => {
      const line = `const s = require("dgram").createSocket("udp4"); s.send("honest", 9999, "${address}", () => s.close())`
      await n1.ok(`nsenter -t ${client.pid} -n -m -- node -e '${line}'`)
      const log = await n1.ok('vine service logs --raw server')
      return log.includes('honest') ? log : ''
    },
    { deadlineMs: 10_000, everyMs: 50, what: 'what the client says to arrive' },
  )
  expect(heard).not.toContain('forged')
}

async function idOf(machine: Machine): Promise<string> {
  const [{ ID }] = JSON.parse(await machine.ok('vine node inspect self')) as readonly [{ readonly ID: string }]
  return ID
}

interface Forged {
  readonly number: number
  /** Hardware addresses. */
  readonly to: string
  readonly from: string
  readonly address: string
  readonly said: string
}

/** A datagram to port 9999 of an address, in an Ethernet frame, in VXLAN (RFC 7348). */
function tunnelled({ number, to, from, address, said }: Forged): Buffer {
  const hardware = (text: string) => Buffer.from(text.replaceAll(':', ''), 'hex')
  const udp = Buffer.alloc(8)
  udp.writeUInt16BE(1024, 0)
  udp.writeUInt16BE(9999, 2)
  udp.writeUInt16BE(8 + said.length, 4)
  const ip = Buffer.from([
    0x45,
    0,
    0,
    28 + said.length,
    0,
    0,
    0,
    0,
    64,
    17,
    0,
    0,
    192,
    0,
    2,
    1,
    ...address.split('.').map(Number),
  ])
  let sum = 0
  for (let at = 0; at < ip.length; at += 2) sum += ip.readUInt16BE(at)
  sum = (sum & 0xffff) + (sum >>> 16)
  ip.writeUInt16BE(~((sum & 0xffff) + (sum >>> 16)) & 0xffff, 10)
  const vxlan = Buffer.alloc(8)
  vxlan.writeUInt8(8, 0)
  vxlan.writeUIntBE(number, 4, 3)
  return Buffer.concat([vxlan, hardware(to), hardware(from), Buffer.from([8, 0]), ip, udp, Buffer.from(said)])
}
