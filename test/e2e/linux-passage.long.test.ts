/** The linux data plane beside the firewall of a Docker engine, as iptables shows it: the engine itself is in machines-docker-linux.long.test.ts. */
import { expect, test } from 'vitest'
import { needs } from '../needs.ts'
import { until } from '../until.ts'
import { createLan, type Machine } from './machines.ts'

/** Rules of ours, in the order of the chain. */
async function rulesOf(machine: Machine, tables: string): Promise<readonly string[]> {
  const lines = (await machine.ok(`${tables} -S DOCKER-USER`)).split('\n')
  return lines.filter((line) => line.includes('grapevine:'))
}

test("packets of tasks pass Docker's firewall by two rules, made again when another flushes them, and taken back at the end", async () => {
  needs('iptables')
  const lan = await createLan()
  const closed = 'iptables -P FORWARD DROP'
  const docker = 'for t in iptables ip6tables; do $t -N DOCKER-USER; $t -A FORWARD -j DOCKER-USER; done'
  const n1 = await lan.add({ setUp: closed })
  await n1.start('vine agent --dataplane linux')
  const doctor = async () => (await n1.run('vine doctor')).out
  expect(await doctor()).toContain('iptables drops what is forwarded (policy DROP), and there is no chain DOCKER-USER')

  await n1.ok(docker)
  const passes = (tables: string) =>
    until(async () => (await rulesOf(n1, tables)).length >= 2, { deadlineMs: 15_000, what: `the rules in ${tables}` })
  for (const tables of ['iptables', 'ip6tables']) {
    await passes(tables)
    await n1.ok(`${tables} -F DOCKER-USER`)
    await passes(tables)
  }
  // The looks until ip6tables had its rules again have added nothing to those of iptables.
  for (const tables of ['iptables', 'ip6tables']) {
    const rules = await rulesOf(n1, tables)
    expect(rules).toHaveLength(2)
    expect(rules.join('\n')).toMatch(/--dst-group [\s\S]*--src-group /)
  }
  expect(await doctor()).not.toContain('policy DROP')

  await n1.ok('vine agent stop')
  for (const tables of ['iptables', 'ip6tables'])
    await until(async () => (await rulesOf(n1, tables)).length === 0, {
      deadlineMs: 10_000,
      what: `the rules of ${tables} to be taken back`,
    })
}, 120_000)
