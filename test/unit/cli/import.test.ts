// `vine import --from-swarm`: what is read from a Swarm, shown, and created here.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Answer, type FakeAgent, fakeAgent } from './fake-agent.ts'
import { type Ran, vine } from './vine.ts'

const network = (name: string, more: object = {}) => ({
  Id: `id-${name}`,
  Name: name,
  Scope: 'swarm',
  Driver: 'overlay',
  IPAM: { Driver: 'default', Options: null, Config: [{ Subnet: '10.5.0.0/24', Gateway: '10.5.0.1' }] },
  Options: { 'com.docker.network.driver.overlay.vxlanid_list': '4097' },
  Labels: { 'com.docker.stack.namespace': 'shop' },
  ...more,
})
const service = (name: string, template: object = {}, more: object = {}) => ({
  ID: `svc-${name}`,
  Version: { Index: 9 },
  Spec: {
    Name: name,
    Labels: { 'com.docker.stack.namespace': 'shop' },
    TaskTemplate: { ContainerSpec: { Image: 'node' }, Networks: [{ Target: 'id-shop_default' }], ...template },
    Mode: { Replicated: { Replicas: 2 } },
    EndpointSpec: { Mode: 'vip', Ports: [{ Protocol: 'tcp', TargetPort: 80, PublishMode: 'ingress' }] },
    ...more,
  },
  Endpoint: { Ports: [{ Protocol: 'tcp', TargetPort: 80, PublishedPort: 30_001, PublishMode: 'ingress' }] },
})

let swarm: FakeAgent
let agent: FakeAgent
/** What was created here, as the agent lists it. */
let made: { networks: { Id: string; Name: string }[]; services: { ID: string; Version: object; Spec: object }[] }

beforeEach(async () => {
  made = { networks: [], services: [] }
  swarm = await fakeAgent({
    'GET /networks': [
      network('shop_default'),
      network('ingress', { Ingress: true }),
      network('bridge', { Scope: 'local', Driver: 'bridge' }),
      network('mac', { Driver: 'macvlan' }),
    ],
    'GET /services': [
      service('shop_web'),
      service('shop_vault', { ContainerSpec: { Image: 'x', Secrets: [{ SecretName: 'key' }] } }),
      service('shop_db', {
        ContainerSpec: { Image: 'db', Mounts: [{ Type: 'volume', Source: 'd', Target: '/d' }] },
        Placement: { Constraints: ['node.id==abc', 'node.role==manager'] },
      }),
    ],
  })
  const createNetwork: Answer = ({ body }) => {
    made.networks.push({ Id: `here-${made.networks.length}`, Scope: 'swarm', ...(body as { Name: string }) } as never)
    return { status: 201, body: { Id: 'x', Warning: '' } }
  }
  const createService: Answer = ({ body }) => {
    const spec = body as {
      Name: string
      TaskTemplate: { Networks: { Target: string }[] }
      EndpointSpec: { Ports: object[] }
    }
    if (spec.Name === 'shop_db') return { status: 501, body: { message: 'Grapevine does not support mounts' } }
    const idOf = (name: string) => made.networks.find(({ Name }) => Name === name)?.Id ?? name
    // The agent keeps keys in an order of its own.
    for (const [at, port] of spec.EndpointSpec.Ports.entries())
      spec.EndpointSpec.Ports[at] = Object.fromEntries(Object.entries(port).toReversed())
    const Networks = spec.TaskTemplate.Networks.map((one) => ({ ...one, Target: idOf(one.Target) }))
    made.services.push({
      ID: 's',
      Version: { Index: 1 },
      Spec: { ...spec, TaskTemplate: { ...spec.TaskTemplate, Networks } },
    })
    return { status: 201, body: { ID: 's' } }
  }
  agent = await fakeAgent({
    'GET /networks': () => ({ status: 200, body: made.networks }),
    'GET /services': () => ({ status: 200, body: made.services }),
    'POST /networks/create': createNetwork,
    'POST /services/create': createService,
  })
})
afterEach(async () => {
  await swarm.close()
  await agent.close()
})

const run = (...words: readonly string[]): Promise<Ran> =>
  vine(['import', '--from-swarm', '--host', `unix://${swarm.socket}`, ...words], { socket: agent.socket })
const writes = () =>
  agent.asked.filter(({ method }) => method === 'POST').map(({ path, body }) => [path, body] as const)

const plan = `refuse   network mac (stack shop)
         its driver is macvlan; networks here are overlays
create   network shop_default (stack shop)
create   service shop_db (stack shop)
         "node.id==abc" names a node of the Swarm
         "node.role==manager": every node here is a manager
         what is in its volumes stays where it is
refuse   service shop_vault (stack shop)
         it reads secrets or configs (key), which a Swarm does not give away
create   service shop_web (stack shop)
`

test('--dry-run prints the plan, and nothing is created anywhere', async () => {
  expect(await run('--dry-run')).toEqual({ code: 0, out: plan, err: '' })
  expect([...swarm.asked, ...agent.asked].every(({ method }) => method === 'GET')).toBe(true)
})

test('--yes creates networks with their subnets, then services by names of networks and with the ports that the Swarm chose', async () => {
  const { code, out, err } = await run('--yes')
  expect([code, out, err]).toEqual([
    1,
    `${plan}Created network shop_default\nCreated service shop_web\n`,
    'service shop_db: Grapevine does not support mounts\n',
  ])
  expect(writes()[0]?.[1]).toMatchObject({ IPAM: { Config: [{ Subnet: '10.5.0.0/24' }] }, Options: {} })
  expect(writes().at(-1)?.[1]).toMatchObject({
    Name: 'shop_web',
    TaskTemplate: { Networks: [{ Target: 'shop_default' }] },
    EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 30_001 }] },
  })
  expect(swarm.asked.every(({ method }) => method === 'GET')).toBe(true)
})

test('a second time creates only what is missing, and tells what differs', async () => {
  await run('--yes')
  expect((await run('--dry-run')).out).toContain('keep     network shop_default')
  expect((await run('--dry-run')).out).toContain('keep     service shop_web')
  for (const one of made.services) Object.assign(one.Spec, { Mode: { Replicated: { Replicas: 5 } } })
  const { out } = await run('--dry-run')
  expect(out).toContain(
    'differs  service shop_web (stack shop)\n         here it is another in Mode.Replicated.Replicas; it is left as it is\n',
  )
})

test('it does not go on without an answer', async () => {
  const { code, err } = await run()
  expect([code, err.split('\n')[0]]).toEqual([125, 'Nobody is here to ask'])
  expect(writes()).toEqual([])
})

test('a Swarm that is not there is told with its address', async () => {
  const { code, err } = await vine(['import', '--from-swarm', '--host', 'unix:///none/docker.sock'], {
    socket: agent.socket,
  })
  expect(code).toBe(1)
  expect(err).toContain('No Swarm manager answers at unix:///none/docker.sock')
})
