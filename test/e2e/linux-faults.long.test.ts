/**
 * What stands in the way of the linux data plane, on one cluster for all tests: said where people look, degraded where it can be, never half made, and
 * mended when the cause has gone. linux-devices.test.ts has what is seen of single devices.
 */
import { afterAll, expect, onTestFailed, test } from 'vitest'
import { bridgeName, cableName, markOf, namespaceName, tunnelName } from '../../agent/dataplane/linux/names.ts'
import { needs, needsMachines } from '../needs.ts'
import { until } from '../until.ts'
import { runningTasks, runs } from './clients.ts'
import { createLan, type Lan, type Machine, openLan } from './machines.ts'
import { linuxCluster, tableLines, taskOf, tellsClient } from './overlay.ts'

let opened: Promise<Lan> | undefined
let cluster: ReturnType<typeof linuxCluster> | undefined

/** The cluster of this file. Nodes, networks and services of other tests are there too. */
async function shared() {
  needsMachines()
  for (const tool of ['nft', 'nsenter', 'bash', 'hostname', 'busybox', 'curl']) needs(tool)
  opened ??= openLan()
  const lan = await opened
  onTestFailed(() => void process.stderr.write(lan.said()))
  cluster ??= linuxCluster({ lan })
  const [, n1, n2, n3] = await cluster
  return { n1, n2, n3, all: [n1, n2, n3] }
}

afterAll(async () => {
  await (await opened?.catch(() => undefined))?.close()
})

/** All that our networks are made of on a machine. */
const devices = (machine: Machine) =>
  machine.ok('ls /sys/class/net; ip netns; ip -4 route; ls /var/lib/grapevine/hosts 2>/dev/null || true')
const says = (machine: Machine, line: string, what: RegExp) =>
  until(async () => what.test(await machine.ok(line)) || Promise.reject(new Error(await machine.ok(line))), {
    deadlineMs: 30_000,
    everyMs: 200,
    what: `"${line}" to say ${what}`,
  })
const idOf = async (machine: Machine, network: string) =>
  machine.ok(`vine network inspect --format '{{.Id}}' ${network}`)

test('an agent that lacks a privilege, a program or a feature of the kernel ends with the reason, and has made nothing', async () => {
  const lan = await createLan()
  const n1 = await lan.add()
  const cases = [
    ['setpriv --bounding-set -net_admin', 'the agent must run as root (CAP_NET_ADMIN and CAP_SYS_ADMIN)'],
    [
      `unshare -m sh -c 'mount --bind /dev/null $(command -v nft); exec "$@"' sh`,
      'the program nft is missing; install nftables',
    ],
    [
      `unshare -m sh -c 'mount --bind /dev/null $(command -v ip); exec "$@"' sh`,
      'the program ip is missing; install iproute2',
    ],
    [
      `unshare -m sh -c 'cp $(command -v nft) /run/nft; echo "#!/bin/sh
         case \\"\\$*\\" in *numgen*) echo Error: Could not process rule: No such file or directory >&2; exit 1;; esac; exec /run/nft \\"\\$@\\"" >/run/stand
         chmod +x /run/stand; mount --bind /run/stand $(command -v nft); exec "$@"' sh`,
      'the kernel or nft lacks address translation (unshare said: Could not process rule: No such file or directory)',
    ],
  ] as const
  const before = await n1.ok('ip link; nft list ruleset; ip rule')
  for (const [without, why] of cases) {
    const ran = await n1.run(`${without} vine agent --dataplane linux`)
    expect(ran).toMatchObject({
      code: 1,
      err: expect.stringContaining(`The linux data plane is not possible here: ${why}`),
    })
  }
  expect(await n1.ok('ip link; nft list ruleset; ip rule')).toBe(before)
})

test('a subnet that the machine uses for something else: nothing is made, and service ps, why and node inspect say so; a route that comes later is told', async () => {
  const { n1, n2, all } = await shared()
  await n1.ok(
    'vine network create -d overlay --subnet 10.61.0.0/24 later && vine network create -d overlay --subnet 10.60.0.0/24 taken',
  )
  await n1.ok(`vine service create --quiet --name later --network later --constraint node.hostname==n2 ${tellsClient}`)
  await n2.ok('ip link add name dummy0 type bridge && ip link set dummy0 up && ip route add 10.60.0.0/16 dev dummy0')
  const before = await devices(n2)
  await n1.ok(`vine service create --detach --name taken --network taken --constraint node.hostname==n2 ${tellsClient}`)
  const why =
    /its subnet 10\.60\.0\.0\/24 overlaps the machine's route 10\.60\.0\.0\/16 dev dummy0; create it with another --subnet/
  await says(n1, 'vine service ps --no-trunc taken', why)
  await says(n1, 'vine why taken', why)
  await says(n1, 'vine node inspect n2 --pretty', why)
  const doctor = await n2.run('vine doctor')
  expect(doctor).toMatchObject({ code: 1, out: expect.stringMatching(/^ports: ok/m) })
  expect(doctor.out).toMatch(new RegExp(`^networks: Network "taken" cannot be on this node: ${why.source}`, 'm'))
  expect(await devices(n2)).toBe(before)
  await n2.ok('ip route delete 10.60.0.0/16 dev dummy0')
  await runs(all, 'taken', 1, 40_000)
  await n2.ok('ip route add 10.61.0.128/25 dev dummy0')
  const later =
    /Network "later" is not whole on this node: the machine's route 10\.61\.0\.128\/25 dev dummy0 overlaps its subnet 10\.61\.0\.0\/24/
  await says(n1, 'vine node inspect n2 --pretty', later)
  await n2.ok('ip link delete dummy0')
  await until(async () => !later.test(await n1.ok('vine node inspect n2 --pretty')), {
    deadlineMs: 15_000,
    everyMs: 200,
    what: 'the word to be taken back',
  })
  expect(await n1.ok('vine node inspect n2 --pretty')).not.toContain('Problem')
})

test("a bridge of somebody else's with our name is left alone, told, and no network is made until it has gone", async () => {
  const { n1, n3, all } = await shared()
  await n1.ok('vine network create -d overlay clash')
  const bridge = bridgeName(await idOf(n1, 'clash'))
  await n3.ok(`ip link add name ${bridge} type bridge`)
  const before = await devices(n3)
  await n1.ok(`vine service create --detach --name clash --network clash --constraint node.hostname==n3 ${tellsClient}`)
  await says(
    n1,
    'vine service ps --no-trunc clash',
    new RegExp(`the machine has a device ${bridge} that is not this agent's`),
  )
  expect(await devices(n3)).toBe(before)
  await n3.ok(`ip link delete ${bridge}`)
  await runs(all, 'clash', 1, 40_000)
})

test('when a subnet is full a slot waits and says so, and goes on when an address is free', async () => {
  const { n1, all } = await shared()
  await n1.ok('vine network create -d overlay --subnet 10.62.0.0/29 small')
  // Of eight: the network, the gateway, one for virtual IPs, and the last for broadcasts; four are left.
  await n1.ok(`vine service create --quiet --name three --network small --endpoint-mode dnsrr --replicas 3 sleep 1000`)
  await n1.ok(`vine service create --detach --name two --network small --endpoint-mode dnsrr --replicas 2 sleep 1000`)
  await runs(all, 'two', 1)
  const full = /subnet|address/i
  await says(n1, 'vine why two', full)
  await says(n1, 'vine service ps --no-trunc two', full)
  await n1.ok('vine service scale --detach three=2')
  await runs(all, 'two', 2, 40_000)
})

test('a disk without room for what a task needs beside its program fails the task with its words, and leaves nothing of it', async () => {
  const { n1, n3, all } = await shared()
  await n3.ok(
    'mount -t tmpfs -o size=4k,nr_inodes=3 full /var/lib/grapevine/hosts && head -c 4096 /dev/zero >/var/lib/grapevine/hosts/fill',
  )
  const before = await devices(n3)
  await n1.ok(`vine service create --detach --name disk --constraint node.hostname==n3 ${tellsClient}`)
  await says(n1, 'vine service ps --no-trunc disk', /no space left on device/i)
  expect(await devices(n3)).toBe(before)
  await n3.ok('umount /var/lib/grapevine/hosts')
  await runs(all, 'disk', 1, 40_000)
})

test('a change that the kernel refuses, because another program altered the table, is followed by the whole table anew', async () => {
  const { n1, all } = await shared()
  await n1.ok(`vine service create --quiet --name odd --publish 9500:80 --constraint node.hostname==n1 ${tellsClient}`)
  const [odd] = await runs(all, 'odd', 1)
  await n1.ok('nft list chain inet grapevine p_tcp_9500')
  await n1.ok("nft delete element inet grapevine published '{ tcp . 9500 }'")
  await n1.ok('vine service rm odd')
  await until(() => n1.said().includes('the whole table is written anew'), {
    deadlineMs: 10_000,
    what: 'the refusal to be logged',
  })
  const list = () => n1.ok('nft list table inet grapevine')
  const address = odd?.addresses[0]?.split('/')[0] ?? '-'
  // Its resolver goes last.
  await until(async () => !(await list()).includes(address), { deadlineMs: 10_000, what: 'the task to be gone' })
  const table = await list()
  expect(table).not.toContain('9500')
  // Had anything been left out, the next whole table would differ.
  await n1.ok('nft delete table inet grapevine')
  const same = async () => tableLines(await list()).join('\n')
  await until(async () => (await same()) === tableLines(table).join('\n'), {
    deadlineMs: 5_000,
    what: 'the same table',
  })
})

test('devices that another program deletes are made again within seconds, under tasks that run on; a task whose namespace goes is replaced, and says why', async () => {
  const { n1, n2, n3, all } = await shared()
  await n1.ok('vine network create -d overlay harm')
  await n1.ok(
    `vine service create --quiet --name harm --network harm --replicas 3 --replicas-max-per-node 1 --restart-delay 0s --publish 9600:80 ${tellsClient}`,
  )
  const before = await runs(all, 'harm', 3)
  const network = await idOf(n1, 'harm')
  const here = before.find(({ node }) => node === 'n1')!
  const address = here.addresses.find((text) => !text.startsWith('10.255.'))?.split('/')[0]
  const [near, far] = [await taskOf(n1, 'harm'), await taskOf(n2, 'harm')]
  const reached = async () => {
    const asked = await Promise.all([
      far.run(`curl -sS -m 1 http://${address}/`),
      near.run('curl -sS -m 1 http://tasks.harm/'),
      n3.run(`curl -sS -m 1 http://${n1.address}:9600/`),
    ])
    const failed = asked.filter(({ code }) => code !== 0).map(({ err }) => err)
    return failed.length === 0 || Promise.reject(new Error(failed.join()))
  }
  const mended = { deadlineMs: 10_000, everyMs: 100, what: 'the harm to be mended' }
  await until(reached, mended)
  for (const device of [
    bridgeName(network),
    tunnelName(network),
    cableName(here.id, network),
    cableName(here.id, 'ingress'),
    bridgeName('ingress'),
  ]) {
    await n1.ok(`ip link delete ${device}`)
    const isBack = async () => (await n1.run(`ip link show ${device}`)).code === 0
    await until(async () => (await isBack()) && (await reached()), mended)
  }
  expect(n1.said()).toContain(`the device ${bridgeName(network)} is gone`)
  expect((await runningTasks(n1, 'harm')).map(({ id }) => id)).toEqual(before.map(({ id }) => id))
  await n1.ok(
    `ip netns delete ${namespaceName(here.id, markOf('/var/lib/grapevine'))} && ip link delete ${cableName(here.id, network)}`,
  )
  await says(n1, 'vine service ps --no-trunc harm', /another program removed its network namespace/)
  await runs(all, 'harm', 3)
})
