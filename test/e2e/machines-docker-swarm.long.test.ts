/**
 * Docker's own command line against three nodes with three engines, and the same words against a real Swarm of one node with the same engine: the same
 * columns, sentences, exit codes and fields of JSON.
 *
 * Of what needs IPVS Swarm is asked nothing: kernels may lack it.
 */
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { fieldsOf } from '../contract/api/fields.ts'
import { needs } from '../needs.ts'
import { root } from '../tidy/source.ts'
import { until } from '../until.ts'
import { serves } from './containers.ts'
import { startEngine } from './engines.ts'
import { createLan, joinLine, type Machine } from './machines.ts'
import { asSet, type Instead, more, normal, type Step, steps, without } from './swarm-walk.ts'

const compose = `
version: "3.8"
services:
  web:
    image: box:1
    command: sleep 1000
    environment: { ROUND: "1" }
    networks: [front]
    stop_grace_period: 1s
    deploy:
      replicas: 2
      labels: { tier: front }
  everywhere:
    image: box:1
    command: sleep 1000
    stop_grace_period: 1s
    deploy: { mode: global }
networks:
  front: {}
`

/** Somebody's shell on a machine, with DOCKER_HOST set. */
interface Side {
  ask(words: string): Promise<string>
}

test('every command says the same against three nodes without managers as against a Swarm', async () => {
  needs('docker')
  const lan = await createLan()
  const machines = [await lan.add(), await lan.add(), await lan.add(), await lan.add()] as const
  const [n1, n2, n3, n4] = machines
  for (const machine of machines) await startEngine(machine)
  await n1.start('vine agent --runtime docker --dataplane linux')
  for (const machine of [n2, n3]) await machine.start(`${await joinLine(n1)} --runtime docker --dataplane linux`)
  await n4.ok('docker -H unix:///run/docker.sock swarm init --advertise-addr eth0')
  for (const { root } of [n1, n4]) writeFileSync(join(root, 'run', 'compose.yaml'), compose)
  const [ours, swarm] = [sideOf(n1, '/run/grapevine/vine.sock'), sideOf(n4, '/run/docker.sock')]

  const used = new Set<Instead>()
  for (const step of steps) {
    for (const side of [ours, swarm]) await ready(side, step.after)
    const [here, there] = await Promise.all([ours.ask(step.words), swarm.ask(step.words)])
    if (step.as === 'shape') {
      expect.soft(shapeOf(here, more), `docker ${step.words}`).toEqual(shapeOf(there, without))
      continue
    }
    const wanted = (step.instead ?? []).reduce((text, instead) => {
      const [pattern, replacement] = instead
      if (text.search(pattern) >= 0) used.add(instead)
      return text.replace(pattern, replacement)
    }, normal(there))
    const [found, expected] = step.as === 'set' ? [asSet(normal(here)), asSet(wanted)] : [normal(here), wanted]
    expect.soft(found, `docker ${step.words}\n${here}`).toBe(expected)
  }
  await moves(n1, n4)
  // A difference that is none any more has no reason.
  expect(steps.flatMap(({ instead = [] }) => instead).filter((instead) => !used.has(instead))).toEqual([])
}, 300_000)

/** What the Swarm has is here too after one command, and runs. */
async function moves(here: Machine, there: Machine): Promise<void> {
  await there.ok(`export DOCKER_HOST=unix:///run/docker.sock && docker network create -d overlay --label tier=old back &&
    docker service create --quiet --detach --name moved --network back --label tier=old --replicas 2 --stop-signal SIGKILL box:1 sleep 1000`)
  const words = ['import', '--from-swarm', '--yes', '--host', `unix://${there.root}/run/docker.sock`]
  const env = { ...process.env, VINE_SOCKET: join(here.root, 'run/grapevine/vine.sock') }
  const { stdout } = await promisify(execFile)(process.execPath, [join(root, 'agent/main.ts'), ...words], { env })
  // Swarm goes on listing networks that it is about to remove.
  const told = stdout.split('\n').filter((line) => /back|moved/.test(line))
  expect(told).toEqual([
    'create   network back',
    'create   service moved',
    'Created network back',
    'Created service moved',
  ])
  await serves(here, 'moved', 2)
  const [spec, original] = await Promise.all([
    here.ok(`vine service inspect --format '{{json .Spec.TaskTemplate.ContainerSpec}}' moved`),
    there.ok(
      `docker -H unix:///run/docker.sock service inspect --format '{{json .Spec.TaskTemplate.ContainerSpec}}' moved`,
    ),
  ])
  expect(JSON.parse(spec)).toEqual(JSON.parse(original))
}

function sideOf(machine: Machine, socket: string): Side {
  const ask: Side['ask'] = async (words) => {
    const task = words.includes('{task}') ? (await ask('service ps --quiet --no-trunc web')).split('\n')[0] : ''
    const line = words.replaceAll('{node}', machine.name).replaceAll('{task}', task ?? '')
    return (await machine.run(`DOCKER_HOST=unix://${socket} docker ${line} 2>&1; echo "exit $?"`)).out
  }
  return { ask }
}

async function ready({ ask }: Side, after: Step['after']): Promise<void> {
  if (after === undefined) return
  const isReady =
    after === 'refused'
      ? async () => /^Rejected/m.test(await ask("service ps --format '{{.CurrentState}}' bad"))
      : async () => {
          const counts = await ask("service ls --format '{{.Replicas}}'")
          return counts.split('\n').every((count) => !count.includes('/') || /^(\d+)\/\1$/.test(count))
        }
  await until(isReady, {
    deadlineMs: 20_000,
    everyMs: 200,
    what: `services to be ${after}`,
  })
}

/** The fields of an answer, without those that have a reason to differ. */
function shapeOf(text: string, left: typeof without): readonly string[] {
  const value: unknown = JSON.parse(text.replace(/exit 0\n$/, ''))
  const fields = [...new Set(fieldsOf(value))]
  return fields.filter((field) => !left.some(([pattern]) => pattern.test(field))).sort()
}
