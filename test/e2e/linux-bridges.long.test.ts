/** The linux data plane beside a bridge of another program that is filtered (br_netfilter, as older Docker and Kubernetes leave it). */
import { expect, test } from 'vitest'
import { until } from '../until.ts'
import { runs } from './clients.ts'
import { see } from './cluster.ts'
import { createLan, joinLine, outsideAddress } from './machines.ts'
import { type Task, taskOf, tellsClient } from './overlay.ts'

const switchFile = '/proc/sys/net/bridge/bridge-nf-call-iptables'

test('beside a filtered bridge of another program, virtual IPs, tasks and published ports work as elsewhere, and its switch stays on', async () => {
  const lan = await createLan()
  const docker = `ip link add docker0 type bridge && ip link set docker0 up && echo 1 > ${switchFile}`
  const machines = [await lan.add({ setUp: docker }), await lan.add()] as const
  const [n1, n2] = machines
  await n1.start('vine agent --dataplane linux')
  await n2.start(`${await joinLine(n1)} --dataplane linux`)
  await see(machines, machines)
  // On the second machine the other program comes when the agent is there already, and has turned the switch off.
  expect(await n2.ok(`cat ${switchFile}`)).toBe('0')
  await n2.ok(docker)
  await n1.ok('vine network create -d overlay one && vine network create -d overlay two')
  await n1.ok(
    `vine service create --detach --quiet --name web --network one --replicas 4 --publish 8000:80 ${tellsClient}`,
  )
  await n1.ok("vine service create --detach --quiet --name near --network one --mode global sh -c 'sleep 1000'")
  await n1.ok("vine service create --detach --quiet --name far --network two --mode global sh -c 'sleep 1000'")
  for (const { name } of machines) {
    const there = `--network one --constraint node.hostname==${name}`
    await n1.ok(`vine service create --detach --quiet --name lone-${name} ${there} ${tellsClient}`)
  }
  const webs = await runs(machines, 'web', 4)
  for (const machine of machines) {
    const near = await taskOf(machine, 'near')
    const met = new Set<string>()
    await until(
      async () => {
        met.add((await near.ok('curl -sS -m 3 http://web/')).slice(0, 2))
        return met.size === 2
      },
      { deadlineMs: 8_000, everyMs: 10, what: 'tasks of both machines to answer at the virtual IP' },
    )
    for (const { addresses } of webs) {
      const address = addresses[0]?.split('/')[0]
      await answers(near, `http://${address}/`, /^n[12] /)
      const far = await taskOf(machine, 'far')
      expect((await far.run(`curl -sS -m 2 --connect-timeout 1 http://${address}/`)).code).not.toBe(0)
    }
    // A task that its own service's virtual IP leads to itself.
    const lone = await taskOf(machine, `lone-${machine.name}`)
    await answers(lone, `http://lone-${machine.name}/`, new RegExp(`^${machine.name} `))
    const outside = new Set<string>()
    await until(
      async () => {
        outside.add((await lan.outside(`curl -sS -m 3 http://${machine.address}:8000/`)).out)
        return outside.size === 2
      },
      { deadlineMs: 8_000, everyMs: 10, what: 'tasks of both machines to answer at the published port' },
    )
    expect([...outside].sort()).toEqual([`n1 ${outsideAddress}`, `n2 ${outsideAddress}`])
    expect(await machine.ok(`cat ${switchFile}`)).toBe('1')
  }
})

/** A task that has just been told as running is in every kernel's table a moment later. */
async function answers(from: Task, url: string, what: RegExp): Promise<void> {
  await until(async () => what.test(await from.ok(`curl -sS -m 3 ${url}`)), {
    deadlineMs: 8_000,
    what: `${url} to be answered`,
  })
}
