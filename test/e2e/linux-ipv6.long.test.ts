/** IPv6 on the linux data plane, on machines of their own: names, virtual IPs, published ports, the way out, and what keeps networks apart. */
import { expect, test } from 'vitest'
import { needs } from '../needs.ts'
import { until } from '../until.ts'
import { runningTasks, runs } from './clients.ts'
import { createLan, type Machine, outsideAddress } from './machines.ts'
import { ipv6Of, linuxCluster, outsideIpv6, taskOf, tellsClient } from './overlay.ts'

test('tasks, their clients and the outside meet over IPv6 as they do over IPv4, with their addresses kept', async () => {
  needs('conntrack')
  const [lan, n1, n2, n3] = await linuxCluster({ ipv6: true })
  await lan.outside(`setsid node -e '${outsideServer}' >/dev/null 2>&1 &`)
  const create = 'vine service create --quiet --name'
  const elsewhere = '--constraint node.hostname!=n3'
  await n1.ok('vine network create --ipv6 dual && vine network create --ipv6 --internal vault')
  await n1.ok(
    `${create} web --network dual --replicas 2 --publish 8000:80 --publish 5300:53/udp ${elsewhere} ${tellsClient.replace('.listen', `.on("listening", () => ${udpServer}).listen`)}`,
  )
  await n1.ok(`${create} client --network dual --mode global sh -c 'sleep 1000'`)
  await n1.ok(`${create} hidden --network vault --constraint node.hostname==n3 sh -c 'sleep 1000'`)
  const web = await runs([n1, n2, n3], 'web', 2)
  const own = web.flatMap(({ addresses }) => addresses.filter((address) => address.includes(':')))
  expect(own).toHaveLength(4)

  const client = await taskOf(n3, 'client')
  // A kernel that forwards heeds a router's word only where it is told to; our bridges have no router to heed.
  const settings = 'cd /proc/sys/net/ipv6/conf; cat all/forwarding eth0/accept_ra vb*/accept_ra'
  expect((await n3.ok(settings)).split('\n')).toEqual(['1', '2', '0', '0', '0'])
  const lookUp = (words: string) => client.ok(`dig +short ${words}`)
  await until(async () => (await lookUp('AAAA tasks.web')).split('\n').length === 2, {
    deadlineMs: 10_000,
    what: 'both tasks to be known by IPv6',
  })
  const vip = await lookUp('AAAA web')
  expect(await lookUp(`-x ${vip}`)).toBe('web.dual.')
  // From each machine to tasks of its own and of others; who asks is the task itself.
  for (const machine of [n1, n3]) {
    const near = await taskOf(machine, 'client')
    const [address] = (await near.ok('ip -6 -o address show dev eth0 scope global')).match(/fd[0-9a-f:]+/) ?? []
    expect(await both(() => near.ok('curl -6 -sS -m 3 http://web/'))).toEqual([`n1 ${address}`, `n2 ${address}`])
    // Of several IPv6 addresses programs prefer the one that is most alike their own (RFC 6724, rule 9): always the same.
    expect(await near.ok('curl -6 -sS -m 3 http://tasks.web/')).toMatch(new RegExp(`^n[12] ${address}$`))
  }

  // A published port, asked on a machine without a task: the client's address is kept.
  const outside = (line: string) => async () => (await lan.outside(line)).out
  const seen = [`n1 ${outsideIpv6}`, `n2 ${outsideIpv6}`]
  expect(await both(outside(`curl -6 -sS -m 3 http://[${ipv6Of(n3)}]:8000/`))).toEqual(seen)
  expect(await both(outside(`node -e '${udpClient(ipv6Of(n3), 5300)}'`))).toEqual(seen)
  expect(await forwardedHere([n1, n2, n3])).toBe(0)

  // The way out leads through the node, and from an internal network there is none; networks do not reach each other.
  expect(await client.ok(`curl -6 -sS -m 3 http://[${outsideIpv6}]:8088/`)).toBe(ipv6Of(n3))
  const hidden = await taskOf(n3, 'hidden')
  const onDual = own.map((address) => address.split('/')[0])
  for (const target of [`[${outsideIpv6}]:8088`, `[${vip}]`, `[${onDual[0]}]`, `[${ipv6Of(n1)}]:8000`])
    expect([target, (await hidden.run(`curl -6 -sS -m 2 http://${target}/`)).code]).toEqual([target, 7])
})

test('connections find their tasks by IPv6 while an agent restarts and after it, and nothing is left at the end', async () => {
  const [, n1, n2, n3] = await linuxCluster({ ipv6: true })
  await n1.ok('vine network create --ipv6 dual')
  await n1.ok(`vine service create --quiet --name web --network dual --mode global --publish 8000:80 ${tellsClient}`)
  const client = await taskOf(n3, 'web')
  const own = (await runningTasks(n1, 'web')).find(({ node }) => node === 'n1')?.addresses ?? []
  const address = own.find((text) => text.includes(':'))?.split('/')[0]
  const { pid } = await taskOf(n1, 'web')
  await n1.ok('vine agent stop --keep-tasks')
  expect((await client.run(`curl -6 -sS -m 3 http://[${address}]/`)).code).toBe(0)
  await n1.start(`vine agent --dataplane linux --address ${n1.address} --address ${ipv6Of(n1)}`)
  expect((await taskOf(n1, 'web')).pid).toBe(pid)
  expect(await client.ok(`curl -6 -sS -m 3 http://[${address}]/`)).toMatch(/^n1 fd/)
  expect(await both(() => client.ok('curl -6 -sS -m 3 http://web/'))).toHaveLength(2)

  // Also the kernel's memory of connections, which TCP would keep for two minutes.
  const remembered = (machine: Machine) => machine.ok(`conntrack -L -f ipv6 2>/dev/null | grep -c ${address} || true`)
  expect(Number(await remembered(n1))).toBeGreaterThan(0)
  await n3.ok('vine service rm web')
  for (const machine of [n1, n3])
    await until(async () => (await remembered(machine)) === '0', {
      deadlineMs: 30_000,
      what: `${machine.name} to forget the connections of ${address}`,
    })
  await Promise.all([n1, n2, n3].map((machine) => machine.ok('vine agent stop')))
  const everything = 'ip -6 rule; ip -6 route show table all; ip -6 neighbour show nud permanent; nft list tables'
  for (const machine of [n1, n2, n3]) {
    const left = async () =>
      (await machine.ok(everything)).split('\n').filter((line) => /^1077\d|dev v[bt]|grapevine/.test(line))
    await until(async () => (await left()).length === 0 || Promise.reject(new Error((await left()).join('\n'))), {
      ...{ deadlineMs: 15_000, what: `nothing to be left on ${machine.name}` },
    })
  }
})

test('a machine without IPv6 says so, has nothing of it, and serves IPv4 on the same networks', async () => {
  const lan = await createLan()
  const n1 = await lan.add({ setUp: 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6' })
  await n1.start('vine agent --dataplane linux')
  const why = 'net.ipv6.conf.all.disable_ipv6 is 1'
  expect(await n1.ok('vine node inspect --pretty self')).toContain(why)
  expect((await n1.run('vine doctor')).out).toContain(why)
  expect((await n1.run('vine network create --ipv6 dual')).err).toContain('tasks on node n1 will have no IPv6')
  await n1.ok(`vine service create --quiet --name web --network dual --publish 8000:80 ${tellsClient}`)
  const web = await taskOf(n1, 'web')
  await until(
    async () => (await lan.outside(`curl -sS -m 3 http://${n1.address}:8000/`)).out === `n1 ${outsideAddress}`,
    {
      ...{ deadlineMs: 10_000, what: 'an answer by IPv4' },
    },
  )
  expect(await web.ok('curl -sS -m 3 http://web/')).toMatch(/^n1 10\./)
  expect(await web.ok('dig +short AAAA web')).toBe('')
  expect(await n1.ok('ip -6 rule | grep 1077; nft list table inet grapevine | grep ip6; true')).toBe('')
})

/** What both tasks say, in order. */
async function both(ask: () => Promise<string>): Promise<readonly string[]> {
  const answers = new Set<string>()
  await until(async () => answers.add(await ask()).size === 2, {
    deadlineMs: 10_000,
    everyMs: 10,
    what: 'two different answers',
  })
  return [...answers].sort()
}

/** Connections that programs of ours have forwarded. */
async function forwardedHere(machines: readonly Machine[]): Promise<number> {
  const flows = machines.map(({ client }) => client.get<readonly { readonly opened: number }[]>('/grapevine/flows'))
  return (await Promise.all(flows)).flat().reduce((sum, { opened }) => sum + opened, 0)
}

/** Without single quotes. */
const outsideServer = `require("http").createServer((q, r) => r.end(q.socket.remoteAddress)).listen(8088, "${outsideIpv6}")`
const udpServer =
  'require("dgram").createSocket("udp6", function (m, from) { this.send(process.env.GRAPEVINE_NODE + " " + from.address, from.port, from.address) }).bind(53, "::")'
const udpClient = (host: string, port: number) =>
  `const s = require("dgram").createSocket("udp6", (m) => { process.stdout.write(m); s.close() }); s.send("?", ${port}, "${host}"); setTimeout(() => process.exit(), 2000).unref()`
