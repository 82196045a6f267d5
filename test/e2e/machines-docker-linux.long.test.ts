/** Tasks as containers on the linux data plane, with a real engine on each machine: reached, replaced, adopted, and nothing left behind. */
import { expect, test } from 'vitest'
import { until } from '../until.ts'
import { answers, create, errors, inside, nothingIsLeft, running, serve, serves } from './containers.ts'
import { startEngine } from './engines.ts'
import { createLan, joinLine } from './machines.ts'

test('on the linux data plane containers answer at their virtual IP and published port, are replaced when killed, and outlive the agent', async () => {
  const lan = await createLan()
  const [n1, n2] = [await lan.add(), await lan.add()]
  const engines = [await startEngine(n1), await startEngine(n2)] as const
  const [engine] = engines
  await n1.start('vine agent --runtime docker --dataplane linux')
  await n2.start(`${await joinLine(n1)} --dataplane linux`)
  expect(await n2.ok('vine node inspect self --pretty')).toMatch(/Runtime:\t+docker 2\d/)
  await n1.ok('vine network create -d overlay one')
  await n1.ok(`${create} --name web --network one --replicas 2 --publish 8080:80 ${serve}`)
  await n1.ok(`${create} --name near --network one --mode global box:1 sleep 1000`)
  await serves(n1, 'web', 2)
  await serves(n1, 'near', 2)

  const hosts = new Set<string>()
  for (const machine of [n1, n2]) {
    // Docker drops what is forwarded and not its own: here that it does not.
    expect(await machine.ok('iptables -S FORWARD')).toContain('-P FORWARD DROP')
    expect(await machine.ok('vine doctor')).toContain('firewall: ok')
    hosts.add(
      await answers(() => lan.outside(`curl -sS -m 2 http://${machine.address}:8080/`), 'an answer from outside'),
    )
    hosts.add(await inside(machine, 'near', 'curl -sS -m 3 http://web/'))
  }
  for (const host of hosts) expect(host).toMatch(/^[a-z0-9]{12}$/)

  const logs = await n2.ok('vine service logs web 2>&1')
  expect(logs.split('\n').filter((line) => /begun$|heard$/.test(line))).toHaveLength(4)

  const before = await running(engine)
  const victim = [...before.keys()].find((name) => name.startsWith('web.')) ?? ''
  await engine.docker.getContainer(victim).kill()
  await until(async () => (await errors(n1, 'web')).includes('task: non-zero exit (137)'), {
    deadlineMs: 5_000,
    what: 'the end of the container to be told',
  })
  await serves(n1, 'web', 2)

  const kept = await running(engine)
  expect(kept.has(victim)).toBe(false)
  await n1.killAgent()
  await n1.start('vine agent --runtime docker --dataplane linux')
  await serves(n1, 'web', 2)
  expect(await running(engine)).toEqual(kept)
  await answers(() => lan.outside(`curl -sS -m 2 http://${n1.address}:8080/`), 'an answer after the restart')

  await n1.ok('vine service rm web near')
  for (const [i, machine] of [n1, n2].entries()) await nothingIsLeft(machine, engines[i]!)
  await n1.ok('vine agent stop')
  await until(async () => !(await n1.ok('iptables -S DOCKER-USER')).includes('grapevine'), {
    deadlineMs: 10_000,
    what: 'the rules to be taken back',
  })
}, 120_000)
