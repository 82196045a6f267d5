// Tables as Docker prints them, and the other ways to print a list.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { before as ago, lists, node, web } from './cluster.ts'
import { type FakeAgent, fakeAgent } from './fake-agent.ts'
import { type Ran, vine } from './vine.ts'

let agent: FakeAgent
beforeAll(async () => {
  agent = await fakeAgent({
    ...lists,
    'GET /services/nope': () => ({ status: 404, body: { message: 'service nope not found' } }),
  })
})
afterAll(() => agent.close())

function ask(...words: readonly string[]): Promise<Ran> {
  return vine(words, { socket: agent.socket })
}

describe('service ls', () => {
  test("has Docker's columns, order, spacing and ports", async () => {
    expect(await ask('service', 'ls')).toEqual({
      code: 0,
      err: '',
      out: [
        'ID             NAME      MODE         REPLICAS   IMAGE     PORTS',
        'svcwatch0000   watch     global       3/3        sleep     ',
        'svcweb000000   web       replicated   2/3        node      *:8080-8081->80-81/tcp, *:5353->53/udp',
        '',
      ].join('\n'),
    })
  })

  test('asks for the counts, and hands filters to the agent as JSON', async () => {
    await ask('service', 'ls', '-f', 'name=web', '--filter', 'mode=replicated', '--filter', 'name=api')
    const { query } = agent.asked.at(-1) ?? {}
    expect(query).toEqual({ status: 'true', filters: '{"name":["web","api"],"mode":["replicated"]}' })
  })

  test('--quiet prints short ids, --no-trunc whole ones', async () => {
    expect((await ask('service', 'ls', '-q')).out).toBe('svcwatch0000\nsvcweb000000\n')
    expect((await ask('service', 'ls', '-q', '--no-trunc')).out).toBe(
      'svcwatch00000000000000000\nsvcweb0000000000000000000\n',
    )
  })

  test("--json prints the API's documents, --format json a line of fields for each row", async () => {
    expect(JSON.parse((await ask('service', 'ls', '--json')).out)).toContainEqual(web)
    const rows = (await ask('service', 'ls', '--format', 'json')).out.trim().split('\n')
    expect(JSON.parse(rows[1] ?? '')).toMatchObject({
      ID: 'svcweb000000',
      Name: 'web',
      Mode: 'replicated',
      Replicas: '2/3',
    })
  })

  test('--format takes templates, and tables of them with headings', async () => {
    expect((await ask('service', 'ls', '--format', '{{.Name}}: {{.Replicas}}')).out).toBe('watch: 3/3\nweb: 2/3\n')
    expect((await ask('service', 'ls', '--format', 'table {{.Name}}\\t{{.Mode}}')).out).toBe(
      'NAME      MODE\nwatch     global\nweb       replicated\n',
    )
  })

  test('a field that is not there is a usage error that names those that are', async () => {
    const { code, err } = await ask('service', 'ls', '--format', '{{.Nmae}}')
    expect(code).toBe(125)
    expect(err).toContain('.Nmae')
    expect(err).toContain('.Name')
  })
})

describe('service ps', () => {
  test('draws past tasks below the present one, ages in words, and cuts errors', async () => {
    expect((await ask('service', 'ps', 'web')).out).toBe(
      [
        'ID             NAME        IMAGE     NODE      DESIRED STATE   CURRENT STATE                ERROR                              PORTS',
        'taskone00000   web.1       node      n1        Running         Running about a minute ago                                      ',
        'taskold00000    \\_ web.1   node      n1        Shutdown        Failed 2 minutes ago         "Error: listen EADDRINUSE: add…"   ',
        'tasktwo00000   web.2       node      n2        Running         Running 12 seconds ago                                          ',
        'taskten00000   web.10      node      n2        Running         Running about a minute ago                                      ',
        '',
      ].join('\n'),
    )
  })

  test('--no-trunc shows whole ids and errors', async () => {
    const { out } = await ask('service', 'ps', '--no-trunc', 'web')
    expect(out).toContain('taskone000000000000000000   web.1 ')
    expect((await ask('service', 'ps', '-q', 'web')).out).toContain('taskone000000000000000000\n')
    expect(out).toContain('"Error: listen EADDRINUSE: address already in use :::80"')
  })

  test('--no-resolve shows ids in place of names', async () => {
    expect((await ask('service', 'ps', '--no-resolve', 'web')).out).toContain('svcweb0000000000000000000.1')
  })

  test('a service that is not there is told, the others are shown, and the exit code is 1', async () => {
    const { code, out, err } = await ask('service', 'ps', 'nope', 'web')
    expect(code).toBe(1)
    expect(err).toBe('no such service: nope\nList them with: vine service ls\n')
    expect(out).toContain('web.1')
  })
})

describe('node ls and network ls', () => {
  test('node ls marks the node that answers and shows states in our words', async () => {
    expect((await ask('node', 'ls')).out).toBe(
      [
        'ID                            HOSTNAME   STATUS    AVAILABILITY   MANAGER STATUS   ENGINE VERSION',
        'n1z0000000000000000000000 *   n1         Ready     Active         Reachable        0.1.0',
        'n2z0000000000000000000000     n2         Ready     Active         Reachable        0.1.0',
        'n10z000000000000000000000     n10        Down      Active         Unreachable      0.1.0',
        '',
      ].join('\n'),
    )
  })

  test('templates and JSON have the id alone, and say by Self which node answers', async () => {
    expect((await ask('node', 'ls', '--format', '{{.ID}} {{.Self}}')).out.split('\n')[0]).toBe(
      'n1z0000000000000000000000 true',
    )
    const [first = ''] = (await ask('node', 'ls', '--format', 'json')).out.split('\n')
    expect(JSON.parse(first)).toMatchObject({ ID: 'n1z0000000000000000000000', Self: true })
  })

  test('network ls has times and IPv4 as Docker writes them', async () => {
    const network = { ...lists['GET /networks'][0], Created: '2026-11-23T05:17:53.120Z' }
    const other = await fakeAgent({ 'GET /networks': [network] })
    const { out } = await vine(['network', 'ls', '--format', '{{.IPv4}} {{.CreatedAt}}'], { socket: other.socket })
    await other.close()
    expect(out).toBe('true 2026-11-23 05:17:53.12 +0000 UTC\n')
  })

  test('network ls sorts by name', async () => {
    expect((await ask('network', 'ls')).out).toBe(
      'NETWORK ID     NAME      DRIVER    SCOPE\nnetback00000   backend   overlay   swarm\ningress        ingress   overlay   swarm\n',
    )
  })
})

describe('inspect', () => {
  test('prints an array of documents, or one line each by template', async () => {
    const { out } = await ask('service', 'inspect', 'web')
    expect(JSON.parse(out)).toEqual([web])
    expect(out).toMatch(/^\[\n {4}\{\n {8}"ID"/)
    expect((await ask('service', 'inspect', '-f', '{{.Spec.Name}} {{len .Endpoint.Ports}}', 'web')).out).toBe('web 4\n')
  })

  test('of something that is not there is an empty array, an error and 1, as a script of Docker expects', async () => {
    expect(await ask('service', 'inspect', 'nope')).toMatchObject({ code: 1, out: '[]\n' })
    expect(await ask('service', 'inspect', '-f', '{{.ID}}', 'nope')).toMatchObject({ code: 1, out: '' })
  })

  test("--pretty has Docker's lines", async () => {
    const { out } = await ask('service', 'inspect', '--pretty', 'web')
    expect(out).toContain(
      '\nID:\t\tsvcweb0000000000000000000\nName:\t\tweb\nLabels:\n tier=front\nService Mode:\tReplicated\n Replicas:\t3\nPlacement:\nContainerSpec:\n Image:\t\tnode\n Args:\t\t-e serve() \n Env:\t\tA=1 B=2 \nEndpoint Mode:\tvip\nPorts:\n PublishedPort = 8080\n',
    )
  })

  test("--pretty shows an update's defaults and its age as Docker does, and asks the agent for them", async () => {
    const UpdateConfig = {
      Parallelism: 1,
      FailureAction: 'pause',
      Monitor: 5e9,
      MaxFailureRatio: 0,
      Order: 'stop-first',
    } as const
    const ContainerSpec = { Image: 'node', Init: false, Healthcheck: { Test: ['CMD-SHELL', 'true'] } }
    const changed = {
      ...web,
      Spec: { ...web.Spec, UpdateConfig, TaskTemplate: { ContainerSpec } },
      UpdateStatus: { State: 'completed', StartedAt: ago(90), CompletedAt: ago(70), Message: 'update completed' },
    }
    const other = await fakeAgent({ ...lists, 'GET /services/web': changed })
    const { out } = await vine(['service', 'inspect', '--pretty', 'web'], { socket: other.socket })
    expect(other.asked[0]?.query).toEqual({ insertDefaults: 'true' })
    await other.close()
    expect(out).toContain(
      'UpdateStatus:\n State:\t\tcompleted\n Started:\tAbout a minute ago\n Completed:\tAbout a minute ago\n Message:\tupdate completed\nPlacement:\nUpdateConfig:\n Parallelism:\t1\n On failure:\tpause\n Monitoring Period: 5s\n Max failure ratio: 0\n Update order:      stop-first\nContainerSpec:\n Image:\t\tnode\n Init:\t\tfalse\n',
    )
    expect(out).toContain('  Tests:\n\t Test = CMD-SHELL\n\t Test = true \n')
  })

  test('--pretty of a node lists its plugins and its version at the margin', async () => {
    const Engine = { EngineVersion: '0.1.0', Plugins: [{ Type: 'Network', Name: 'overlay' }] }
    const other = await fakeAgent({ 'GET /nodes/n1': node('n1', { Description: { Hostname: 'n1', Engine } }) })
    const { out } = await vine(['node', 'inspect', '--pretty', 'n1'], { socket: other.socket })
    await other.close()
    expect(out).toMatch(/\nPlugins:\n Network:\t\toverlay\nEngine Version:\t\t0\.1\.0\n$/)
  })
})
