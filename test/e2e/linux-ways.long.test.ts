/**
 * What reaches whom through the kernel of the linux data plane, on one cluster for all tests: datagrams, SCTP, host ports, affinity, internal networks,
 * and what must not get through. linux.test.ts has the ways of TCP.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, onTestFailed, test } from 'vitest'
import { needs, needsMachines } from '../needs.ts'
import { root } from '../tidy/source.ts'
import { until } from '../until.ts'
import { runningTasks, runs } from './clients.ts'
import { type Lan, type Machine, openLan, outsideAddress } from './machines.ts'
import { linuxCluster, type Task, taskOf, tellsClient } from './overlay.ts'

const peer = `${process.execPath} ${join(root, 'test/e2e/peer.ts')}`
/** Tells its node and who asks, over TCP and UDP. */
const serves = `sh -c 'exec ${peer} serve $GRAPEVINE_NODE 80'`
/** Programs that were begun outside write here. */
const notes = mkdtempSync(join(tmpdir(), 'vine-ways-'))

let opened: Promise<Lan> | undefined
let cluster: ReturnType<typeof linuxCluster> | undefined

/** The cluster of this file. Nodes, networks and services of other tests are there too. */
async function shared() {
  needsMachines()
  for (const tool of ['nft', 'nsenter', 'bash', 'hostname', 'busybox', 'conntrack', 'curl', 'dig']) needs(tool)
  opened ??= openLan()
  const lan = await opened
  onTestFailed(() => void process.stderr.write(lan.said()))
  cluster ??= linuxCluster({ lan })
  const [, n1, n2, n3] = await cluster
  return { lan, n1, n2, n3, all: [n1, n2, n3] }
}

afterAll(async () => {
  await (await opened?.catch(() => undefined))?.close()
  rmSync(notes, { recursive: true, force: true })
})

test('a client of datagrams keeps its address, is moved when its task dies, and nothing in the kernel still leads to the dead one', async () => {
  const { lan, n1, n2, n3, all } = await shared()
  await n1.ok(
    `vine service create --quiet --name udp --constraint node.hostname!=n1 --replicas 2 --replicas-max-per-node 1 --restart-delay 60s --publish 9000:80/udp ${serves}`,
  )
  await runs(all, 'udp', 2)
  const said = join(notes, 'udp')
  await lan.outside(`timeout 60 ${peer} talk ${n1.address} 9000 </dev/null >${said} 2>&1 &`)
  const last = () => readFileSync(said, 'utf8').trim().split('\n').at(-1) ?? ''
  const first = await until(() => last(), { deadlineMs: 10_000, what: 'an answer' })
  expect(first).toMatch(new RegExp(`^n[23] ${outsideAddress}$`))
  const [from, to] = first.startsWith('n2') ? [n2, 'n3'] : [n3, 'n2']
  const dead = await taskOf(from, 'udp')
  const address = (await runningTasks(n1, 'udp'))
    .find(({ node }) => node === from.name)
    ?.addresses.at(-1)
    ?.split('/')[0]
  await from.ok(`kill -KILL ${dead.pid}`)
  await until(() => last() === `${to} ${outsideAddress}`, { deadlineMs: 5_000, what: `an answer of ${to}` })
  for (const machine of [n1, from]) {
    const tracked = () => machine.ok(`cat /proc/net/nf_conntrack`)
    await until(async () => !(await tracked()).includes(`src=${address} `), {
      deadlineMs: 15_000,
      everyMs: 200,
      what: `nothing on ${machine.name} to lead to ${address}`,
    })
  }
})

test('SCTP goes to a task on another node by a published port, and from task to task by the virtual IP', async () => {
  const { lan, n1, n2 } = await shared()
  const echo = needs('usrsctp/echo_server')
  const client = echo.replace('echo_server', 'client')
  await n1.ok('vine network create -d overlay sctp')
  await n1.ok(
    `vine service create --quiet --name echo --network sctp --constraint node.hostname==n2 --publish 7007:7/sctp ${echo}`,
  )
  await taskOf(n2, 'echo')
  const conversation = (address: string) =>
    `(echo hello; timeout 10 sh -c "until grep -q hello ${notes}/sctp; do sleep 0.1; done") | timeout 12 ${client} ${address} >${notes}/sctp 2>&1; cat ${notes}/sctp; rm ${notes}/sctp`
  // The program speaks SCTP itself, since few kernels do; it needs a moment after its start.
  await until(async () => (await lan.outside(conversation(`${n1.address} 7007`))).out.includes('hello'), {
    deadlineMs: 20_000,
    everyMs: 100,
    what: 'an echo through the published port',
  })
  // Not published, so that it has one address: the program answers from the first that it has, whichever it was asked at.
  await n1.ok(
    `vine service create --quiet --name plain --network sctp --constraint node.hostname==n2 ${echo} &&
     vine service create --quiet --name asks --network sctp --constraint node.hostname==n1 sh -c 'sleep 10000'`,
  )
  const { ok } = await taskOf(n1, 'asks')
  const vip = (await ok('getent hosts plain')).split(' ')[0] ?? ''
  expect(await ok(conversation(`${vip} 7`))).toContain('hello')
})

test('a host-mode port answers on the node of its task only, and everything without an endpoint is refused at once, over TCP and UDP', async () => {
  const { lan, n1, n2, n3, all } = await shared()
  await n1.ok('vine network create -d overlay empty')
  await n1.ok(
    `vine service create --quiet --name hosted --network empty --constraint node.hostname==n2 --publish mode=host,published=9100,target=80 --publish mode=host,published=9100,target=80,protocol=udp ${serves}`,
  )
  await n1.ok(
    `vine service create --detach --name nobody --network empty --replicas 0 --publish 9101:80 --publish 9101:80/udp ${serves}`,
  )
  await runs(all, 'hosted', 1)
  const ask = async (words: string) => (await lan.outside(`${peer} ask ${words}`)).out.trim()
  expect(await ask(`${n2.address} 9100`)).toContain(`n2 ${outsideAddress} `)
  const reached = await lan.outside(datagram(n2.address, 9100))
  expect(reached.out).toBe(`n2 ${outsideAddress}`)
  const task = await taskOf(n2, 'hosted')
  const vip = (await task.ok('getent hosts nobody')).split(' ')[0] ?? ''
  const refusals: readonly (readonly [(line: string) => ReturnType<Machine['run']>, string, number])[] = [
    [lan.outside, n1.address, 9100],
    [lan.outside, n3.address, 9101],
    [(line) => n2.run(`nsenter -t ${task.pid} -n -- ${line}`), vip, 80],
  ]
  for (const [run, address, port] of refusals) {
    const curl = await run(`curl -sS -o /dev/null -w %{time_total} -m 3 http://${address}:${port}/`)
    expect(curl).toMatchObject({ code: 7, err: expect.stringMatching(/refused|Couldn't connect/) })
    expect(Number(curl.out)).toBeLessThan(0.5)
    expect((await run(datagram(address, port))).err).toContain('Connection refused')
  }
})

/** Sends a datagram and prints what comes back; ends with what the kernel says of one that is refused. */
function datagram(address: string, port: number): string {
  return `timeout 10 bash -c "exec 3<>/dev/udp/${address}/${port}; echo hello >&3; head -c 14 <&3"`
}

test('with affinity a client meets the same task through every node and from there on, and clients are spread', async () => {
  const { lan, n1, n2, n3, all } = await shared()
  await n1.ok(
    `vine service create --quiet --name sticky --label grapevine.affinity=client-ip --replicas 3 --replicas-max-per-node 1 --publish 9200:80 ${tellsClient}`,
  )
  await runs(all, 'sticky', 3)
  const clients = Array.from({ length: 8 }, (_, at) => `10.77.0.${200 + at}`)
  const lines = clients.map(
    (client) =>
      `ip address add ${client}/24 dev switch7; for n in 1 2 3 1 2 3; do curl -sS -m 3 --interface ${client} http://10.77.0.$n:9200/; echo; done`,
  )
  // Every kernel has all three before the first is asked.
  for (const machine of [n1, n2, n3])
    await until(
      async () =>
        (await machine.ok('nft list chain inet grapevine p_tcp_9200')).split(/10\.255\.\d+\.\d+ \. 80/).length > 3,
      { deadlineMs: 10_000, everyMs: 50, what: `${machine.name} to lead to all three` },
    )
  const said = (await lan.outside(lines.join('\n'))).out.trim().split('\n')
  const met = clients.map((client) => new Set(said.filter((line) => line.endsWith(` ${client}`))))
  expect(met.map(({ size }) => size)).toEqual(clients.map(() => 1))
  expect(new Set(met.flatMap((names) => [...names].map((name) => name.slice(0, 2)))).size).toBeGreaterThan(1)
})

test('an internal network has no way out, no name from outside and nothing under its address out there; another has, as its node', async () => {
  const { lan, n1, n3 } = await shared()
  await n1.ok('vine network create -d overlay --internal inner && vine network create -d overlay outer')
  for (const network of ['inner', 'outer'])
    await n1.ok(`vine service create --quiet --name ${network} --network ${network} --mode global ${tellsClient}`)
  const heard = join(notes, 'dns')
  writeFileSync(heard, '')
  await lan.outside(`setsid busybox httpd -p ${outsideAddress}:8088 -h /`)
  await lan.outside(`(timeout 60 busybox nc -u -l -p 53 >${heard} 2>/dev/null &) </dev/null >/dev/null 2>&1`)
  await lan.outside(
    `nft add table inet proof && nft add chain inet proof in '{ type filter hook input priority 0; }' &&
     nft add rule inet proof in ip saddr 10.0.0.0/8 ip saddr != 10.77.0.0/24 counter && nft add rule inet proof in ip saddr ${n3.address} tcp dport 8088 tcp flags syn counter`,
  )
  const counts = async () =>
    [...(await lan.outside('nft list table inet proof')).out.matchAll(/packets (\d+)/g)].map(([, count]) =>
      Number(count),
    )
  const [inner, outer] = [await taskOf(n3, 'inner'), await taskOf(n3, 'outer')]
  const out = `curl -sS -o /dev/null -m 3 http://${outsideAddress}:8088/`
  expect((await inner.run(out)).code).toBe(7)
  expect((await inner.run(`curl -sS -m 3 http://${n1.address}:9200/`)).code).toBe(7)
  expect((await inner.run('dig +time=1 +tries=1 secret.example.com')).out).toMatch(
    /status: (REFUSED|NXDOMAIN|SERVFAIL)/,
  )
  expect(await counts()).toEqual([0, 0])
  expect((await outer.run(out)).code).toBe(0)
  expect(await counts()).toEqual([0, 1])
  expect(readFileSync(heard, 'latin1')).not.toContain('secret')
  // Among themselves its tasks go from node to node.
  await meets(inner, 'inner', ['n1', 'n2', 'n3'])
})

test('what comes from another network, from an address that is not its own, or from outside into an overlay, does not get through', async () => {
  const { lan, n1, n3 } = await shared()
  await n1.ok(
    'vine network create -d overlay --subnet 10.50.1.0/24 mine && vine network create -d overlay --subnet 10.50.2.0/24 theirs',
  )
  for (const network of ['mine', 'theirs'])
    await n1.ok(`vine service create --detach --name ${network} --network ${network} --mode global ${serves}`)
  const [target, stranger] = [await taskOf(n1, 'mine'), await taskOf(n3, 'theirs')]
  const address = (await target.ok('ip -br -4 address show eth0')).match(/10\.50\.1\.\d+/)?.[0] ?? ''
  const near = (await (await taskOf(n3, 'mine')).ok('ip -br -4 address show eth0')).match(/10\.50\.1\.\d+/)?.[0] ?? ''
  await n1.ok(
    `nsenter -t ${target.pid} -n -- sh -c "nft add table inet proof; nft add chain inet proof in '{ type filter hook prerouting priority -400; }'; nft add rule inet proof in iifname eth0 counter"`,
  )
  const arrived = async () =>
    Number(/packets (\d+)/.exec(await n1.ok(`nsenter -t ${target.pid} -n -- nft list table inet proof`))?.[1])
  for (const to of [address, near]) {
    expect((await stranger.run(`busybox ping -c 1 -W 1 ${to}`)).code).not.toBe(0)
    for (const from of ['10.50.1.99', n1.address, outsideAddress]) {
      await stranger.run(
        `ip address add ${from}/32 dev eth0; busybox ping -c 1 -W 1 -I ${from} ${to}; ip address delete ${from}/32 dev eth0`,
      )
    }
  }
  const port = (await n1.ok(`ss -Hlun | grep -o "10.50.1.1:[0-9]*" | head -1`)).split(':')[1]
  for (const machine of [n1, n3]) {
    await lan.outside(
      `ip route replace 10.50.0.0/16 via ${machine.address}; ip route replace 10.255.0.0/16 via ${machine.address}`,
    )
    expect((await lan.outside(`curl -sS -m 2 http://${address}/`)).code).not.toBe(0)
    expect((await lan.outside(`busybox ping -c 1 -W 1 ${address}`)).code).not.toBe(0)
    const dns = await lan.outside(`dig +time=1 +tries=1 -p ${port} @10.50.1.1 mine`)
    expect(dns.out).not.toContain('status: NOERROR')
  }
  expect(await arrived()).toBe(0)
  expect((await (await taskOf(n3, 'mine')).run(`busybox ping -c 1 -W 1 ${address}`)).code).toBe(0)
  expect(await arrived()).toBe(1)
})

test('names are found unchanged by programs of glibc, musl and busybox, and by dig over UDP and TCP', async () => {
  const { n1, n2 } = await shared()
  const source = join(notes, 'names.c')
  writeFileSync(
    source,
    `#include <netdb.h>
     #include <stdio.h>
     #include <arpa/inet.h>
     int main(int n, char **v) {
       struct addrinfo *a, hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
       if (getaddrinfo(v[1], "80", &hints, &a)) return 1;
       puts(inet_ntoa(((struct sockaddr_in *)a->ai_addr)->sin_addr));
       return 0;
     }`,
  )
  await n1.ok(`${needs('musl-gcc')} -static -o ${notes}/musl ${source}`)
  await n1.ok('vine network create -d overlay names')
  await n1.ok(`vine service create --quiet --name named --network names --constraint node.hostname==n2 sleep 1000`)
  const task = await taskOf(n2, 'named')
  const vip = (await task.ok('getent hosts named')).split(' ')[0] ?? '-'
  for (const line of [
    `${notes}/musl named`,
    'dig +short named',
    'dig +short +tcp named',
    'getent ahostsv4 named',
    'busybox nslookup named',
  ])
    expect(await task.ok(line)).toContain(vip)
  for (const line of [`${notes}/musl nobodys`, 'getent hosts nobodys']) expect((await task.run(line)).code).not.toBe(0)
})

test('subnet, range and gateway are those that were asked for, on every node', async () => {
  const { n1, all } = await shared()
  await n1.ok(
    'vine network create -d overlay --subnet 10.51.0.0/24 --ip-range 10.51.0.64/26 --gateway 10.51.0.254 ranged',
  )
  await n1.ok(`vine service create --quiet --name ranged --network ranged --mode global ${tellsClient}`)
  const tasks = await Promise.all(all.map((machine) => taskOf(machine, 'ranged')))
  for (const task of tasks) {
    const address = Number((await task.ok('ip -br -4 address show eth0')).match(/10\.51\.0\.(\d+)/)?.[1])
    expect(address >= 64 && address < 128).toBe(true)
    expect(await task.ok('ip route show default')).toContain('via 10.51.0.254 dev eth0')
    expect((await task.run('busybox ping -c 1 -W 1 10.51.0.254')).code).toBe(0)
  }
  expect(await tasks[0]?.ok('getent hosts ranged')).toMatch(/^10\.51\.0\.(6[4-9]|7\d|8\d|9\d|1[01]\d|12[0-7]) /)
  await meets(tasks[0]!, 'ranged', ['n1', 'n2', 'n3'])
})

test('a task that drains, and one whose node is suspect, is in no table: not one request goes there', async () => {
  const { lan, n1, n2, n3, all } = await shared()
  // It goes on for 3 s after the word to stop, and would answer.
  const stubborn = join(notes, 'stubborn.cjs')
  writeFileSync(
    stubborn,
    `require('http').createServer((q, r) => r.end(process.env.GRAPEVINE_NODE)).listen(80)
     process.on('SIGTERM', () => setTimeout(() => process.exit(), 3_000))`,
  )
  await n1.ok(
    `vine service create --quiet --name web --replicas 3 --replicas-max-per-node 1 --publish 9300:80 ${process.execPath} ${stubborn}`,
  )
  const tasks = await runs(all, 'web', 3)
  const asked = async () => {
    const { out } = await lan.outside(
      `for i in 1 2 3 4 5 6 7 8; do for n in ${n1.address} ${n2.address} ${n3.address}; do curl -sS -m 2 http://$n:9300/ || echo failed; echo; done; done`,
    )
    return new Set(out.trim().split(/\s+/))
  }
  const table = () => n1.ok('nft list chain inet grapevine p_tcp_9300')
  const suspect = tasks.find(({ node }) => node === 'n3')?.addresses[0]?.split('/')[0] ?? '-'
  await until(async () => (await table()).includes(suspect), { deadlineMs: 5_000, what: 'the task of n3 to be led to' })
  await n3.pull()
  await until(async () => !(await table()).includes(suspect), { deadlineMs: 8_000, what: 'the table to lose it' })
  const state = (
    await n1.client.get<readonly { Description: { Hostname: string }; Status: { State: string } }[]>('/nodes')
  ).find(({ Description }) => Description.Hostname === 'n3')
  await n3.plug()
  expect(state?.Status.State).toBe('ready')
  await until(async () => (await table()).includes(suspect), { deadlineMs: 15_000, what: 'the table to have it again' })
  await runs(all, 'web', 3)
  await n1.ok('vine service scale --detach web=2')
  const leaves = await until(
    async () => {
      const stay = await runningTasks(n1, 'web')
      return stay.length === 2 && tasks.find(({ id }) => stay.every((task) => task.id !== id))
    },
    { deadlineMs: 5_000, what: 'one to drain' },
  )
  const host = leaves.addresses[0]?.split('/')[0] ?? '-'
  await until(async () => !(await table()).includes(host), { deadlineMs: 5_000, what: 'the table to lose it' })
  expect(await asked()).toEqual(new Set(['n1', 'n2', 'n3'].filter((name) => name !== leaves.node)))
})

/** Asks a service from a task until all of these nodes have answered. */
async function meets(task: Task, service: string, nodes: readonly string[]): Promise<void> {
  const met = new Set<string>()
  await until(
    async () => {
      const { out } = await task.run(`for i in 1 2 3 4 5 6; do curl -sS -m 2 http://${service}/; echo; done`)
      for (const line of out.split('\n')) if (line !== '') met.add(line.slice(0, 2))
      return nodes.every((node) => met.has(node)) || Promise.reject(new Error([...met].join()))
    },
    { deadlineMs: 10_000, everyMs: 20, what: `${service} to answer on ${nodes.join()}` },
  )
}
