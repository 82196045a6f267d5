/** Tasks as containers where only user space forwards, and what becomes of them when Docker dies and comes back. */
import { expect, test } from 'vitest'
import { until } from '../until.ts'
import { answers, create, inside, nothingIsLeft, running, serves, told, webSpec } from './containers.ts'
import { startEngine } from './engines.ts'
import { createLan, joinLine } from './machines.ts'

test('on the data plane in user space published ports reach containers at their own address, from every node', async () => {
  const lan = await createLan()
  const [n1, n2] = [await lan.add(), await lan.add()]
  const engine = await startEngine(n1)
  await n1.start('vine agent')
  expect(await n1.ok('vine node inspect self --pretty')).toMatch(/Runtime:\t+docker 2\d/)
  await n2.start(await joinLine(n1))
  // Only Docker mounts: the node without it gets none of them.
  const spec = webSpec({ Mounts: [{ Type: 'tmpfs', Target: '/data' }] })
  await n2.client.post('/services/create', spec)
  await serves(n2, 'web', 2)
  expect((await running(engine)).size).toBe(2)
  for (const machine of [n1, n2]) {
    const host = await answers(
      () => lan.outside(`curl -sS -m 2 http://${machine.address}:8080/`),
      `an answer at ${machine.name}`,
    )
    expect(host).toMatch(/^[a-z0-9]{12}$/)
  }
  expect(await inside(n1, 'web', 'mount | grep /data')).toContain('tmpfs')
  await n1.killAgent()
  const kept = await running(engine)
  await n1.start('vine agent')
  await serves(n1, 'web', 2)
  expect(await running(engine)).toEqual(kept)
  await answers(() => lan.outside(`curl -sS -m 2 http://${n2.address}:8080/`), 'an answer after the restart')
  await n1.ok('vine service rm web')
  await nothingIsLeft(n1, engine)
}, 120_000)

test("without Docker none is taken; an engine that dies is found again, and its tasks are replaced; checks are the image's", async () => {
  const lan = await createLan()
  const n1 = await lan.add()
  expect(await n1.run('vine agent --runtime docker')).toMatchObject({
    code: 1,
    err: expect.stringContaining('Docker does not answer at /var/run/docker.sock'),
  })
  const engine = await startEngine(n1)
  await n1.start('vine agent --dataplane linux')
  await n1.ok(`${create} --name sick --publish 8081:80 checked:1 sh -c 'sleep 1000'`)
  await told(n1, 'sick', /failed.*its health check failed/)
  await n1.ok('vine service rm sick')
  await n1.ok(`${create} --name well checked:1 sh -c 'touch /tmp/well; sleep 1000'`)
  await serves(n1, 'well', 1)

  const before = await running(engine)
  await engine.kill()
  await engine.start()
  await until(async () => [...(await running(engine)).keys()].some((name) => !before.has(name)), {
    deadlineMs: 30_000,
    what: 'another container of the service to run',
  })
  await serves(n1, 'well', 1)
  await n1.ok('vine service rm well')
  await nothingIsLeft(n1, engine)
}, 120_000)
