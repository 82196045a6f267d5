/** The linux data plane on machines of their own: tasks in namespaces, overlay networks, virtual IPs and published ports in the kernel. */
import { expect, test } from 'vitest'
import { needs } from '../needs.ts'
import { until } from '../until.ts'
import { runs } from './clients.ts'
import { see } from './cluster.ts'
import { createLan, joinLine, type Machine, outsideAddress } from './machines.ts'
import { linuxCluster, taskOf, tellsClient } from './overlay.ts'

test("the documents' own example: two tasks behind one name, and a client that takes the two ways described", async () => {
  needs('busybox')
  const [lan, n1, n2, n3] = await linuxCluster()
  await lan.outside(`setsid node -e '${outsideServers}' >/dev/null 2>&1 &`)
  await n1.ok('vine network create -d overlay mynet')
  await n1.ok('vine service create --network mynet --name myservice --replicas 2 busybox ping localhost')
  await n1.ok("vine service create --network mynet --name client --constraint node.hostname==n3 sh -c 'sleep 1000'")
  await runs([n1, n2, n3], 'myservice', 2)
  const [{ Endpoint }] = JSON.parse(await n2.ok('vine service inspect myservice'))
  const [{ Addr }] = Endpoint.VirtualIPs
  const vip = Addr.split('/')[0]
  const client = await taskOf(n3, 'client')
  expect(await client.ok('getent hosts myservice')).toMatch(new RegExp(`^${vip} +myservice$`))
  expect((await client.ok('dig +short tasks.myservice')).split('\n')).toHaveLength(2)
  expect(await client.ok(`dig +short -x ${vip}`)).toBe('myservice.mynet.')
  // One way: the name is the service's, its virtual IP leads to a task by the kernel's table. Nothing listens there, so the task itself refuses.
  const sentOn = await counter(n3, vip)
  expect(await client.run('curl -sS -m 3 http://myservice/')).toMatchObject({
    code: 7,
    err: expect.stringContaining('port 80'),
  })
  expect(await sentOn()).toBe(1)
  // The other: the name is none of ours, the question goes to the node's server and the connection out through the node.
  expect(await client.ok('curl -sS -m 3 http://www.example.com:8088/')).toBe(n3.address)
})

test('a port published on every machine is served by tasks elsewhere, which see the client itself; replies go back the way they came', async () => {
  needs('tshark')
  const [lan, n1, n2, n3] = await linuxCluster()
  await n1.ok('vine network create -d overlay appnet')
  await n1.ok(
    `vine service create --detach --quiet --name app --replicas 2 --network appnet --publish 8000:80 --constraint node.hostname!=n3 ${tellsClient}`,
  )
  await runs([n1, n2, n3], 'app', 2)
  const frames: string[] = []
  n3.begin(`tshark -l -i eth0 -f 'udp port 4789' -T fields -e ip.src -e ip.dst -e tcp.port 2>/dev/null`, (line) =>
    frames.push(line),
  )
  // In the tunnel, the outer and the inner addresses: from this entry with the client's own to a task, and from each task's node back to this entry.
  const proofs = [
    `^${n3.address},${outsideAddress}\t${n1.address},10\\.255\\.`,
    `^${n3.address},${outsideAddress}\t${n2.address},10\\.255\\.`,
    `^${n1.address},10\\.255\\.[\\d.]+\t${n3.address},${outsideAddress}`,
    `^${n2.address},10\\.255\\.[\\d.]+\t${n3.address},${outsideAddress}`,
  ]
  const answers = new Set<string>()
  await until(
    async () => {
      const { code, out } = await lan.outside(`curl -sS -m 3 http://${n3.address}:8000/`)
      if (code === 0) answers.add(out)
      const missing = proofs.filter((proof) => !frames.some((frame) => new RegExp(proof).test(frame)))
      return (answers.size === 2 && missing.length === 0) || Promise.reject(new Error(missing.join()))
    },
    { deadlineMs: 15_000, everyMs: 20, what: 'both tasks to answer, by the way described' },
  )
  expect([...answers].sort()).toEqual([`n1 ${outsideAddress}`, `n2 ${outsideAddress}`])
  // No program stood between: no agent has forwarded anything.
  for (const machine of [n1, n2, n3]) {
    const flows = await machine.client.get<readonly { readonly opened: number }[]>('/grapevine/flows')
    expect(flows.reduce((sum, { opened }) => sum + opened, 0)).toBe(0)
  }
})

test('names, both endpoint modes: dnsrr answers with the tasks themselves; who is on no common network is out of reach', async () => {
  const [, n1, n2, n3] = await linuxCluster()
  await n1.ok('vine network create -d overlay one && vine network create -d overlay two')
  await n1.ok(
    `vine service create --detach --quiet --name api --network one --replicas 2 --endpoint-mode dnsrr ${tellsClient}`,
  )
  await n1.ok(`vine service create --detach --quiet --name web --network one --replicas 3 ${tellsClient}`)
  await n1.ok("vine service create --detach --quiet --name near --network one --mode global sh -c 'sleep 1000'")
  await n1.ok("vine service create --detach --quiet --name far --network two --mode global sh -c 'sleep 1000'")
  await runs([n1, n2, n3], 'web', 3)
  const [target] = await runs([n2], 'api', 2)
  const address = target?.addresses[0]?.split('/')[0]
  for (const machine of [n1, n2, n3]) {
    const near = await taskOf(machine, 'near')
    await until(async () => (await near.ok('dig +short api')).split('\n').length === 2, {
      deadlineMs: 8_000,
      what: 'both tasks of api to be named',
    })
    const met = new Set<string>()
    await until(
      async () => {
        met.add((await near.ok('curl -sS -m 3 http://web/')).slice(0, 2))
        return met.size === 3
      },
      { deadlineMs: 8_000, everyMs: 10, what: 'all tasks to answer at the virtual IP' },
    )
    const far = await taskOf(machine, 'far')
    expect((await far.run('dig +short +time=1 web')).out).toBe('')
    const refused = async () => (await near.run(`curl -sS -m 2 --connect-timeout 1 http://${address}:81/`)).code === 7
    await until(refused, { deadlineMs: 8_000, what: 'the task itself to refuse' })
    expect((await far.run(`curl -sS -m 2 --connect-timeout 1 http://${address}:81/`)).code).not.toBe(0)
  }
})

test('where the machine is not fit, linux does not start and says why; auto forwards in user space, and node inspect says why', async () => {
  const lan = await createLan()
  const [n1, n2] = [await lan.add(), await lan.add()]
  const said: string[] = []
  n1.begin(`node -e 'require("dgram").createSocket("udp4").bind(4789, () => console.log("bound"))'`, (line) =>
    said.push(line),
  )
  await until(() => said.length > 0, { deadlineMs: 5_000, what: 'the port of VXLAN to be taken' })
  const why = 'UDP port 4789, which VXLAN needs, is taken by'
  expect(await n1.run('vine agent --dataplane linux')).toMatchObject({ code: 1, err: expect.stringContaining(why) })
  expect(await n1.ok('ip -o link show type bridge; ip netns; nft list tables')).toBe('')
  await n1.start('vine agent --dataplane auto')
  const [{ Description }] = JSON.parse(await n1.ok('vine node inspect self'))
  expect(Description.Dataplane).toEqual({ Name: 'userspace', Reason: expect.stringContaining(why) })
  expect(await n1.ok('vine node inspect self --pretty')).toContain(why)
  // Or it takes another port, which the others hear of.
  await n1.ok('vine agent stop')
  await n1.start('vine agent --dataplane linux --data-path-port 4790')
  await n2.start(`${await joinLine(n1)} --dataplane linux`)
  await see([n1, n2], [n1, n2])
  await n1.ok('vine network create -d overlay one')
  await n1.ok(
    `vine service create --detach --network one --name api --replicas 2 --replicas-max-per-node 1 --endpoint-mode dnsrr ${tellsClient}`,
  )
  await runs([n1, n2], 'api', 2)
  for (const [here, there] of [
    [n1, n2],
    [n2, n1],
  ] as const) {
    const task = await taskOf(here, 'api')
    const [address] = (await runs([n1], 'api', 2)).find(({ node }) => node === there.name)?.addresses ?? []
    expect(await task.ok(`curl -sS -m 3 http://${address?.split('/')[0]}/`)).toContain(there.name)
    // Whatever its port, a tunnel is tracked by what is in it alone.
    expect(await here.ok('conntrack -L -p udp 2>/dev/null')).not.toMatch(/dport=(4789|4790) /)
  }
  // It returns when all has ended, tasks and kernel too.
  await n1.ok('vine agent stop')
  expect(await n1.ok('ip -o link show type bridge; ip netns; nft list tables; pgrep -f "[s]him.sh" | wc -l')).toBe('0')
})

/** Begins to count, in a table of the test's own, the packets that the machine's kernel sends on from a virtual IP to a task. */
async function counter(machine: Machine, vip: string): Promise<() => Promise<number>> {
  await machine.ok(
    `nft add table inet proof && nft add chain inet proof way '{ type filter hook forward priority 10; }' &&
     nft add rule inet proof way ct status dnat ct original ip daddr ${vip} ct direction original counter`,
  )
  return async () => Number(/packets (\d+)/.exec(await machine.ok('nft list table inet proof'))?.[1])
}

/** At the switch: a DNS server that knows every name as its own address, and a web server that tells who asks. Without single quotes. */
const outsideServers = `const s = require("dgram").createSocket("udp4")
s.on("message", (m, r) => {
  const q = m.subarray(12, m.indexOf(0, 12) + 5), a = q.readUInt16BE(q.length - 4) === 1
  const head = Buffer.from([m[0], m[1], 0x81, 0x80, 0, 1, 0, a ? 1 : 0, 0, 0, 0, 0])
  const data = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, ...[${outsideAddress.replaceAll('.', ',')}]])
  s.send(a ? Buffer.concat([head, q, data]) : Buffer.concat([head, q]), r.port, r.address)
}).bind(53, "${outsideAddress}")
require("http").createServer((q, r) => r.end(q.socket.remoteAddress)).listen(8088, "${outsideAddress}")`
