/** Images from a registry that asks for a login (Debian's docker-registry): fetched by tag and by digest with the login of the node, which is secret. */
import { expect, test } from 'vitest'
import { needs } from '../needs.ts'
import { until } from '../until.ts'
import { create, nothingIsLeft, rest, running, serves, told } from './containers.ts'
import { startEngine, type TestEngine } from './engines.ts'
import { createLan, type Machine } from './machines.ts'

const registry = '127.0.0.1:5000'
const image = `${registry}/shop/web:1`
const password = 'hush-hush'
/** What bcrypt makes of it: crypt(5). */
const hashed = '$2y$05$abcdefghijklmnopqrstuu4uoW5CdSDmY8cLkib7pLDRBlvRVo8Pe'
const docker = 'docker -H unix:///run/docker.sock'
/** As a person at the node types it; the password is not for the list of processes. */
const login = `echo ${password} | HOME=/run/home ${docker} login -u me --password-stdin ${registry} 2>&1`

const settings = `
version: 0.1
storage: { filesystem: { rootdirectory: /run/registry }, delete: { enabled: true } }
http: { addr: "${registry}" }
auth: { htpasswd: { realm: shop, path: /run/htpasswd } }`

async function startRegistry(machine: Machine): Promise<void> {
  await machine.ok(`echo '${settings}' > /run/registry.yml; echo 'me:${hashed}' > /run/htpasswd; mkdir -p /run/home`)
  const said: string[] = []
  machine.begin(`sh -c 'docker-registry serve /run/registry.yml 2>&1'`, (line) => said.push(line))
  await until(async () => (await machine.run(`curl -s -o /dev/null http://${registry}/v2/`)).code === 0, {
    deadlineMs: 10_000,
    what: `the registry to answer; it said ${said.slice(-5).join('\n')}`,
  })
}

/** No image is here but that of sandboxes, so that every layer has to come from the registry. */
async function forgetImages({ docker }: TestEngine): Promise<void> {
  for (const { Id, RepoTags } of await docker.listImages())
    if (RepoTags?.[0]?.startsWith('grapevine/') !== true) await docker.getImage(Id).remove({ force: true })
}

/** All that the task of a service says while it is being started. */
async function heard(machine: Machine, service: string): Promise<ReadonlySet<string>> {
  const messages = new Set<string>()
  await until(
    async () => {
      const filters = encodeURIComponent(JSON.stringify({ service: [service] }))
      const tasks = await machine.client.get<
        readonly { readonly Status: { readonly State: string; readonly Message: string } }[]
      >(`/tasks?filters=${filters}`)
      for (const { Status } of tasks) messages.add(Status.Message)
      return tasks.some(({ Status }) => Status.State === 'running')
    },
    { deadlineMs: 20_000, everyMs: 20, what: `a task of ${service} to run` },
  )
  return messages
}

test('a registry that asks for a login gets that of the node, from the moment there is one; nobody else gets it', async () => {
  for (const tool of ['docker-registry', 'docker', 'tc']) needs(tool)
  const lan = await createLan()
  const n1 = await lan.add()
  const engine = await startEngine(n1)
  await startRegistry(n1)
  await n1.ok(
    `${login} && ${docker} tag box:1 ${image} && HOME=/run/home ${docker} push ${image} && rm -r /run/home/.docker`,
  )
  const digest = await n1.ok(`${docker} image inspect -f '{{index .RepoDigests 0}}' ${image}`)
  expect(digest).toMatch(/^127\.0\.0\.1:5000\/shop\/web@sha256:/)
  await forgetImages(engine)
  // 5 MB/s, so that a few megabytes take long enough to be told of.
  await n1.ok('tc qdisc add dev lo root tbf rate 40mbit burst 128kb latency 500ms')
  await n1.start('env HOME=/run/home vine agent')

  await n1.ok(`${create} --name web ${image} ${rest}`)
  await told(
    n1,
    'web',
    /rejected No such image: 127\.0\.0\.1:5000\/shop\/web:1 \(.*no basic auth credentials; this node has no login for 127/,
  )
  expect(await n1.ok('vine service ps --no-trunc web')).toMatch(/no basic auth credentials.*type docker login there/)
  expect((await running(engine)).size).toBe(0)
  await n1.ok(login)
  const messages = [...(await heard(n1, 'web'))]
  expect(messages.filter((message) => /^pulling 127\.0\.0\.1:5000\/shop\/web:1 \d+0 %$/.test(message))).not.toEqual([])
  await n1.ok('tc qdisc del dev lo root; vine service rm web')
  await nothingIsLeft(n1, engine)

  // A helper instead of a login in the file, and an image by its digest.
  await forgetImages(engine)
  await n1.ok(`echo '{"credHelpers":{"${registry}":"test"}}' > /run/home/.docker/config.json
    printf '#!/bin/sh\\ngrep -q ${registry} && echo "{\\\\"Username\\\\":\\\\"me\\\\",\\\\"Secret\\\\":\\\\"${password}\\\\"}"\\n' > /run/bin/docker-credential-test
    chmod +x /run/bin/docker-credential-test`)
  await n1.ok(`${create} --name web ${digest} ${rest}`)
  await serves(n1, 'web', 1)
  expect((await engine.docker.listContainers()).map(({ Image }) => Image)).toContain(digest)
  await n1.ok('vine service rm web')
  await nothingIsLeft(n1, engine)

  // What is broken is told, and hinders nothing else.
  await forgetImages(engine)
  await n1.ok(`echo '{"auths":{"${registry}":{"auth":"${password}' > /run/home/.docker/config.json`)
  await n1.ok(`${create} --name web ${image} ${rest}`)
  const broken = /\/run\/home\/\.docker\/config\.json is not as Docker's client writes it/
  await told(n1, 'web', broken)
  expect(n1.said()).toMatch(broken)
  await n1.ok(`rm /run/home/.docker/config.json; ${login}`)
  await serves(n1, 'web', 1)

  const kept = await n1.ok(
    `grep -r -l -e ${password} -e ${Buffer.from(`me:${password}`).toString('base64')} /var/lib/grapevine /run/grapevine || echo none`,
  )
  expect(kept).toBe('none')
  expect(n1.said()).not.toContain(password)
  await n1.ok('vine service rm web')
  await nothingIsLeft(n1, engine)
}, 120_000)
