// Nodes, networks and tasks over the API.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { wanted } from '../../../agent/core/wanted.ts'
import { type Running, spec, startApi } from './client.ts'
import { nodeIds, startMs } from './fake.ts'

let api: Running
beforeEach(async () => {
  api = await startApi()
})
afterEach(() => api.stop())

const filtered = (path: string, filters: object) => `${path}?filters=${encodeURIComponent(JSON.stringify(filters))}`

describe('nodes', () => {
  test('every node is a reachable manager, and none leads', async () => {
    const { body } = await api.get('/nodes')
    expect(body.map((n: { ManagerStatus: object }) => n.ManagerStatus)).toEqual(
      [1, 2, 3].map((i) => ({ Leader: false, Reachability: 'reachable', Addr: `192.0.2.${i}:7766` })),
    )
  })

  test('a dead node is down and unreachable, a suspect one is ready', async () => {
    api.fake.setLiveness(nodeIds[1], 'suspect')
    api.fake.setLiveness(nodeIds[2], 'dead')
    const states = (await api.get('/nodes')).body.map((n: { Status: { State: string } }) => n.Status.State)
    expect(states).toEqual(['ready', 'ready', 'down'])
  })

  test('finds a node by id, name, self and start of its id', async () => {
    for (const name of [nodeIds[0], 'n1', 'self', '1aaa'])
      expect((await api.get(`/nodes/${name}`)).body.ID).toBe(nodeIds[0])
    expect((await api.get('/nodes/n9')).status).toBe(404)
  })

  test('an update changes availability and labels, and a stale one is out of sequence', async () => {
    const { Version, Spec } = (await api.get('/nodes/n2')).body
    const url = `/nodes/${nodeIds[1]}/update?version=${Version.Index}`
    expect((await api.post(url, { ...Spec, Availability: 'drain', Labels: { a: 'b' } })).status).toBe(200)
    expect((await api.get('/nodes/n2')).body.Spec).toMatchObject({ Availability: 'drain', Labels: { a: 'b' } })
    const stale = await api.post(url, { ...Spec, Availability: 'active' })
    expect([stale.status, stale.body.message]).toEqual([500, 'update out of sequence'])
  })

  test.each([
    [{ Availability: 'asleep' }, 400, /Availability is not valid/],
    [{ Availability: 'active', Role: 'worker' }, 501, /every node is a manager/],
    [{ Availability: 'active', Name: 'n1' }, 409, /node n1 already exists/],
    [{ Availability: 'active', Name: 'a b' }, 400, /DNS name component/],
  ])('refuses the update %j', async (body, status, sentence) => {
    const answer = await api.post('/nodes/n2/update?version=0', body)
    expect([answer.status, answer.body.message]).toEqual([status, expect.stringMatching(sentence)])
  })

  test('a node that is up is removed by force only, and never by itself', async () => {
    const up = await api.delete('/nodes/n2')
    expect([up.status, up.body.message]).toEqual([400, "node n2 is not down and can't be removed"])
    expect((await api.delete('/nodes/n2?force=1')).status).toBe(200)
    api.fake.setLiveness(nodeIds[2], 'dead')
    expect((await api.delete('/nodes/n3')).status).toBe(200)
    expect((await api.delete('/nodes/self?force=1')).body.message).toBe('a node cannot remove itself')
  })

  test('filters by name, role, membership, node label and engine label', async () => {
    const names = async (filters: object) =>
      (await api.get(filtered('/nodes', filters))).body.map(
        (n: { Description: { Hostname: string } }) => n.Description.Hostname,
      )
    expect(await names({ name: ['n2'] })).toEqual(['n2'])
    expect(await names({ role: ['worker'] })).toEqual([])
    expect(await names({ membership: ['accepted'], 'node.label': ['rack=r2'] })).toEqual(['n3'])
    expect(await names({ label: ['disk=ssd'] })).toHaveLength(3)
  })
})

describe('networks', () => {
  const withMtu = (mtu: string) => ({ Name: 'x', Options: { 'com.docker.network.driver.mtu': mtu } })
  const withConfig = (config: object) => ({ Name: 'x', IPAM: { Config: [{ Subnet: '10.9.0.0/24', ...config }] } })
  const dual = (...configs: readonly object[]) => ({
    ...{ Name: 'x', EnableIPv6: true },
    IPAM: { Config: [{ Subnet: '10.9.0.0/24' }, ...configs] },
  })
  const create = (body: object) => api.post('/networks/create', { Driver: 'overlay', ...body })

  test('takes the subnet asked for, and its first address as gateway', async () => {
    expect((await create({ Name: 'back', IPAM: { Config: [{ Subnet: '10.9.0.0/24' }] } })).status).toBe(201)
    expect((await api.get('/networks/back')).body.IPAM.Config).toEqual([{ Subnet: '10.9.0.0/24', Gateway: '10.9.0.1' }])
  })

  test.each<[string, object, number, RegExp]>([
    ['a predefined name', { Name: 'bridge' }, 403, /not permitted on predefined bridge network/],
    ['another driver', { Name: 'x', Driver: 'bridge' }, 501, /network driver "bridge"/],
    ['a local network', { Name: 'x', Scope: 'local' }, 501, /networks of one machine/],
    ['a second ingress', { Name: 'x', Ingress: true }, 501, /another ingress/],
    ['a driver option', { Name: 'x', Options: { dsr: '' } }, 501, /network option "dsr"/],
    [
      'an MTU where no packets are forwarded',
      withMtu('9000'),
      501,
      /driver.mtu" is not supported by node n1, .* userspace/,
    ],
    ['an MTU that is none', withMtu('90000'), 400, /invalid value "90000"/],
    [
      'a range outside',
      withConfig({ IPRange: '10.8.0.0/25' }),
      400,
      /parent subnet 10.9.0.0\/24 doesn't contain ip-range/,
    ],
    ['a range larger than the subnet', withConfig({ IPRange: '10.9.0.0/16' }), 400, /bigger than its parent subnet/],
    [
      'a range with host bits',
      withConfig({ IPRange: '10.9.0.7/25' }),
      400,
      /ip-range 10.9.0.7\/25: it should be 10.9.0.0\/25/,
    ],
    ['a range that is none', withConfig({ IPRange: 'ten' }), 400, /ip-range ten: invalid CIDR/],
    ['a range of two', withConfig({ IPRange: '10.9.0.8/31' }), 400, /at most \/30/],
    ['a range alone', withConfig({ Subnet: '', IPRange: '10.9.0.0/25' }), 400, /an ip-range needs a subnet/],
    [
      'a spare address alone',
      withConfig({ Subnet: '', AuxiliaryAddresses: { a: '10.9.0.9' } }),
      400,
      /an auxiliary address needs a subnet/,
    ],
    [
      'a spare address outside',
      withConfig({ AuxiliaryAddresses: { a: '10.8.0.9' } }),
      400,
      /no matching subnet for aux-address 10.8.0.9/,
    ],
    [
      'the gateway as spare',
      withConfig({ AuxiliaryAddresses: { a: '10.9.0.1' } }),
      409,
      /\(a:10.9.0.1\): Address already in use/,
    ],
    ['the network address as gateway', withConfig({ Gateway: '10.9.0.0' }), 400, /no matching subnet for gateway/],
    ['an IPv6 subnet alone', withConfig({ Subnet: 'fd00::/64' }), 400, /fd00::\/64: IPv6 is not enabled/],
    ['a second IPv6 subnet', dual({ Subnet: 'fd00::/64' }, { Subnet: 'fd01::/64' }), 501, /one subnet of a kind/],
    ['IPv6 host bits', dual({ Subnet: 'fd00::1/64' }), 400, /it should be fd00::\/64/],
    ['an IPv6 subnet that is none', dual({ Subnet: 'fd00::x/64' }), 400, /invalid CIDR/],
    ['link-local addresses', dual({ Subnet: 'fe80::/64' }), 400, /neither of global/],
    ['a wide IPv6 subnet', dual({ Subnet: 'fd00::/15' }), 400, /must be \/16 or longer/],
    ['an IPv6 subnet without room', dual({ Subnet: 'fd00::/121' }), 400, /the prefix must be at most \/120/],
    ['an IPv6 range', dual({ Subnet: 'fd00::/64', IPRange: 'fd00::/80' }), 501, /ip-range of IPv6/],
    [
      'an IPv6 gateway outside',
      dual({ Subnet: 'fd00::/64', Gateway: 'fd01::1' }),
      400,
      /no matching subnet for gateway/,
    ],
    ['the address of all routers', dual({ Subnet: 'fd00::/64', Gateway: 'fd00::' }), 400, /no matching subnet/],
    [
      'the IPv6 gateway as spare',
      dual({ Subnet: 'fd00::/64', AuxiliaryAddresses: { a: 'fd00::0:1' } }),
      409,
      /\(a:fd00::1\): Address already in use/,
    ],
    ['an MTU too small for IPv6', { ...withMtu('1200'), EnableIPv6: true }, 501, /driver.mtu/],
    ['an option with an unknown value', { Name: 'x', Options: { encrypted: 'no' } }, 400, /invalid value "no"/],
    ['host bits', { Name: 'x', IPAM: { Config: [{ Subnet: '10.9.0.7/24' }] } }, 400, /it should be 10.9.0.0\/24/],
    ['no subnet', { Name: 'x', IPAM: { Config: [{ Subnet: 'ten' }] } }, 400, /invalid CIDR/],
    ['a tiny subnet', { Name: 'x', IPAM: { Config: [{ Subnet: '10.9.0.0/30' }] } }, 400, /must be \/8 to \/29/],
    [
      'a gateway outside',
      { Name: 'x', IPAM: { Config: [{ Subnet: '10.9.0.0/24', Gateway: '10.8.0.1' }] } },
      400,
      /no matching subnet for gateway/,
    ],
    ['a gateway alone', { Name: 'x', IPAM: { Config: [{ Gateway: '10.8.0.1' }] } }, 400, /needs a subnet/],
    ['a bad name', { Name: 'a b' }, 400, /DNS name component/],
    ['no name', {}, 400, /Name is not valid/],
  ])('refuses %s', async (_what, body, status, sentence) => {
    const answer = await create(body)
    expect([answer.status, answer.body.message]).toEqual([status, expect.stringMatching(sentence)])
  })

  test('gives a network with IPv6 two subnets, those asked for or chosen, and says where it will have none', async () => {
    const asked = { Subnet: 'fd00:9::/64', Gateway: 'fd00:9::99', AuxiliaryAddresses: { printer: 'fd00:9::7' } }
    const made = await create({ ...dual(asked), Name: 'given' })
    expect([made.status, made.body.Warning]).toEqual([
      201,
      'tasks on node n1 and 2 more will have no IPv6: that is for the linux data plane',
    ])
    const given = (await api.get('/networks/given')).body
    expect([given.EnableIPv6, given.IPAM.Config]).toEqual([
      true,
      [{ Subnet: '10.9.0.0/24', Gateway: '10.9.0.1' }, asked],
    ])
    await create({ Name: 'chosen', EnableIPv6: true })
    const [, second] = (await api.get('/networks/chosen')).body.IPAM.Config
    expect(second.Subnet).toMatch(/^fd.*\/64$/)
    await create({ Name: 'plain' })
    expect((await api.get('/networks/plain')).body.EnableIPv6).toBe(false)
    const joining = { TaskTemplate: { ContainerSpec: { Image: 'node' }, Networks: [{ Target: 'given' }] } }
    await api.post('/services/create', spec('web', joining))
    const { VirtualIPs: vips } = (await api.get('/services/web')).body.Endpoint
    expect(vips.map(({ Addr }: { Addr: string }) => Addr)).toEqual([
      expect.stringMatching(/^10\.9\.0\.\d+\/24$/),
      expect.stringMatching(/^fd00:9::[0-9a-f]+\/64$/),
    ])
    const again = await create({
      ...dual({ Subnet: 'fd00:9::/48' }),
      Name: 'again',
      IPAM: { Config: [{ Subnet: 'fd00:9::/48' }] },
    })
    expect([again.status, again.body.fix ?? again.body.message]).toEqual([403, expect.stringMatching(/given|overlaps/)])
  })

  test('keeps a range and spare addresses, and gives VIPs from the range alone', async () => {
    const asked = { Subnet: '10.9.0.0/24', IPRange: '10.9.0.128/30', AuxiliaryAddresses: { printer: '10.9.0.129' } }
    expect((await create({ Name: 'back', IPAM: { Config: [asked] } })).status).toBe(201)
    const { body } = await api.get('/networks/back')
    expect(body.IPAM.Config).toEqual([{ ...asked, Gateway: '10.9.0.1' }])
    const joining = { TaskTemplate: { ContainerSpec: { Image: 'node' }, Networks: [{ Target: 'back' }] } }
    await api.post('/services/create', spec('web', joining))
    expect((await api.get('/services/web')).body.Endpoint.VirtualIPs[0].Addr).toBe('10.9.0.128/24')
    const full = await api.post('/services/create', spec('other', joining))
    expect([full.status, full.body.message]).toEqual([409, expect.stringContaining('could not find an available IP')])
  })

  test('an encrypted network is made on both kinds of nodes, with a warning where there are both', async () => {
    const member = api.fake.view.members.get(nodeIds[1])
    if (member === undefined) throw new Error('there is a node')
    const alone = await create({ Name: 'alike', Options: { encrypted: '' } })
    expect([alone.status, alone.body.Warning]).toEqual([201, ''])
    const record = { ...member.record, value: { ...member.record.value, dataplane: 'linux' } }
    api.fake.view.members.set(nodeIds[1], { ...member, record })
    const mixed = await create({ Name: 'vault', Options: { encrypted: '' } })
    expect([mixed.status, mixed.body.Warning]).toEqual([201, expect.stringContaining('do not reach those')])
    expect((await create({ Name: 'plain' })).body.Warning).toBe('')
  })

  test('an MTU is taken where every node that is up forwards packets', async () => {
    for (const [id, member] of api.fake.view.members) {
      const record = { ...member.record, value: { ...member.record.value, dataplane: 'linux' } }
      api.fake.view.members.set(id, { ...member, record })
    }
    expect((await create(withMtu('1280'))).status).toBe(201)
  })

  test('an attachable network is made without a warning', async () => {
    expect((await create({ Name: 'open', Attachable: true })).body.Warning).toBe('')
  })

  test('a network too large for the wire is refused', async () => {
    const Labels = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`l${i}`, 'x'.repeat(8_000)]))
    const answer = await create({ Name: 'big', Labels })
    expect([answer.status, answer.body.message]).toEqual([400, expect.stringMatching(/the network is too large/)])
  })

  test('refuses a name and a subnet that are taken', async () => {
    await create({ Name: 'back', IPAM: { Config: [{ Subnet: '10.9.0.0/16' }] } })
    expect((await create({ Name: 'back' })).body.message).toBe('network with name back already exists')
    const overlap = await create({ Name: 'x', IPAM: { Config: [{ Subnet: '10.9.3.0/24' }] } })
    expect([overlap.status, overlap.body.message]).toEqual([
      403,
      expect.stringContaining('Pool overlaps with other one'),
    ])
  })

  test('one in use stays, and prune takes the others', async () => {
    await create({ Name: 'used' })
    await create({ Name: 'idle' })
    await api.post(
      '/services/create',
      spec('web', { TaskTemplate: { ContainerSpec: { Image: 'node' }, Networks: [{ Target: 'used' }] } }),
    )
    const refused = await api.delete('/networks/used')
    expect([refused.status, refused.body.message]).toEqual([403, 'network used is in use by service web'])
    expect(
      (await api.get(filtered('/networks', { dangling: ['true'] }))).body.map((n: { Name: string }) => n.Name),
    ).toEqual(['idle'])
    expect((await api.request('POST', '/networks/prune')).body.NetworksDeleted).toEqual(['idle'])
    await api.delete('/services/web')
    expect((await api.delete('/networks/used')).status).toBe(204)
  })

  test('ingress is there from the beginning, without addresses of its own, and stays', async () => {
    const shown = (await api.get('/networks')).body
    expect(shown).toHaveLength(1)
    expect(shown[0]).toMatchObject({ Name: 'ingress', Id: 'ingress', Scope: 'swarm', Driver: 'overlay', Ingress: true })
    expect(shown[0].IPAM.Config).toEqual([])
    expect(Date.parse(shown[0].Created)).toBe(startMs)
    expect((await api.get('/networks/ingress?verbose=1')).body.Peers).toHaveLength(3)
    const refused = await api.delete('/networks/ingress')
    expect([refused.status, refused.body.message]).toEqual([
      403,
      'ingress is a pre-defined network and cannot be removed',
    ])
    expect((await api.request('POST', '/networks/prune')).body.NetworksDeleted).toEqual([])
  })

  test('ingress passes the filters that name it', async () => {
    await create({ Name: 'back' })
    const names = async (filters: object) =>
      (await api.get(filtered('/networks', filters))).body.map((n: { Name: string }) => n.Name)
    expect(await names({})).toEqual(['back', 'ingress'])
    expect(await names({ name: ['ingr'] })).toEqual(['ingress'])
    expect(await names({ id: ['ingress'] })).toEqual(['ingress'])
    expect(await names({ driver: ['overlay'], scope: ['swarm'], type: ['custom'] })).toEqual(['back', 'ingress'])
    expect(await names({ type: ['builtin'] })).toEqual([])
    expect(await names({ dangling: ['true'] })).toEqual(['back'])
    expect(await names({ label: ['a=b'] })).toEqual([])
  })

  test('no service joins ingress by name, also where it has a record', async () => {
    const joining = { TaskTemplate: { ContainerSpec: { Image: 'node' }, Networks: [{ Target: 'ingress' }] } }
    const sentence = 'Service cannot be explicitly attached to the ingress network "ingress"'
    expect((await api.post('/services/create', spec('web', joining))).body.message).toBe(sentence)
    await create({ Name: 'back' })
    const back = [...api.fake.view.networks.values()][0]
    if (back === undefined) throw new Error('there is a network')
    const value = { ...back.value, spec: { Name: 'ingress', Ingress: true } }
    api.fake.view.networks.set('ingress', { ...back, id: 'ingress', value })
    expect((await api.post('/services/create', spec('web', joining))).body.message).toBe(sentence)
    // It has IPv6 addresses without a word of them in its record.
    expect((await api.get('/networks/ingress')).body.IPAM.Config).toHaveLength(2)
    expect((await api.get('/networks')).body).toHaveLength(2)
  })

  test('is in the swarm and nowhere else', async () => {
    await create({ Name: 'back' })
    expect((await api.get('/networks/back?scope=swarm')).body.Scope).toBe('swarm')
    expect((await api.get('/networks/back?scope=local')).status).toBe(404)
  })
})

describe('the swarm', () => {
  const rotate = async (more: object = {}, query = 'rotateWorkerToken=true') => {
    const { Spec, Version } = (await api.get('/swarm')).body
    // Docker's client sends zeros for what it did not get.
    const sent = { ...Spec, Raft: { SnapshotInterval: 0, ElectionTick: 0 }, Labels: null, ...more }
    return api.post(`/swarm/update?version=${Version.Index}&${query}`, sent)
  }

  test('ends its join tokens for docker swarm join-token --rotate, which changes nothing else', async () => {
    expect((await rotate()).status).toBe(200)
    api.fake.set.held = 'here-only'
    expect((await rotate({}, 'rotateManagerToken=1')).headers['x-grapevine-warnings']).toContain('held')
  })

  test('has no settings to change', async () => {
    const refused = [
      await rotate({}, ''),
      await rotate({ Orchestration: { TaskHistoryRetentionLimit: 3 } }),
      await rotate({}, 'rotateWorkerToken=true&rotateManagerUnlockKey=true'),
    ]
    expect(refused.map(({ status }) => status)).toEqual([501, 501, 501])
    expect(refused[0]?.body.message).toMatch(/no raft, dispatcher or certificate settings/)
  })
})

test('secrets and configs are lists of none, and making one is refused', async () => {
  expect((await api.get('/secrets')).body).toEqual([])
  expect((await api.get(filtered('/configs', { label: ['a=b'] }))).body).toEqual([])
  expect((await api.post('/secrets/create', { Name: 'x' })).body.message).toBe('Grapevine does not support secrets yet')
  // docker inspect NAME ends here: only a 404 lets it say that there is no such thing.
  expect([(await api.get('/secrets/x')).status, (await api.get('/configs/x')).status]).toEqual([404, 404])
})

describe('tasks', () => {
  test('are found by the labels of their service', async () => {
    const stack = { 'com.docker.stack.namespace': 'shop' }
    await api.post('/services/create', spec('shop_web', { Labels: stack }))
    await api.post('/services/create', spec('other'))
    api.fake.run()
    expect((await api.get(filtered('/tasks', { label: ['com.docker.stack.namespace=shop'] }))).body).toHaveLength(2)
    expect((await api.get(filtered('/tasks', { label: ['com.docker.stack.namespace=none'] }))).body).toEqual([])
  })

  const states = async (filters: object = {}) =>
    (await api.get(filtered('/tasks', filters))).body.map(
      (t: { Status: { State: string }; DesiredState: string }) => `${t.Status.State}/${t.DesiredState}`,
    )

  test('a slot that fits nowhere is one pending task with the reason', async () => {
    await api.post(
      '/services/create',
      spec('web', {
        TaskTemplate: { ContainerSpec: { Image: 'node' }, Placement: { Constraints: ['node.labels.rack==x'] } },
      }),
    )
    const { body } = await api.get('/tasks')
    expect(body).toHaveLength(2)
    expect(body[0]).toMatchObject({
      Slot: 1,
      DesiredState: 'running',
      Status: { State: 'pending', Err: expect.stringContaining('no suitable node') },
    })
    expect((await api.get(`/tasks/${body[0].ID}`)).body).toEqual(body[0])
  })

  test('a slot of a global service that waits names its node', async () => {
    await api.post('/services/create', spec('watch', { Mode: { Global: {} } }))
    const service = [...api.fake.view.services.keys()][0] ?? ''
    const created = { ms: startMs + 60_000, counter: 0, node: '' }
    const retryAtMs = api.fake.set.wallMs + 60_000
    const rejected = { service, slot: nodeIds[1], node: nodeIds[1], state: 'rejected', created, retryAtMs } as const
    api.fake.putTask('r'.repeat(25), rejected)
    const { body } = await api.get(filtered('/tasks', { node: ['n2'] }))
    expect(body.map((t: { Status: { State: string } }) => t.Status.State).sort()).toEqual(['pending', 'rejected'])
  })

  test('a slot whose program came to a good end waits for nothing, and all is well', async () => {
    const once = { ContainerSpec: { Image: 'node' }, RestartPolicy: { Condition: 'none' } }
    await api.post('/services/create', spec('once', { TaskTemplate: once, Mode: { Replicated: { Replicas: 1 } } }))
    const stored = [...api.fake.view.services.values()][0]
    if (stored === undefined) throw new Error('there is a service')
    const ended = { service: stored.id, slot: '1', node: nodeIds[0], template: wanted(stored).template }
    api.fake.putTask('e'.repeat(25), { ...ended, state: 'complete' })
    expect(await states()).toEqual(['complete/shutdown'])
    expect((await api.get('/grapevine/status')).body).toMatchObject({ well: true, services: [{ finished: 1 }] })
    api.fake.putTask('e'.repeat(25), { ...ended, state: 'failed' })
    expect((await api.get('/grapevine/status')).body.problems).toEqual([
      'Service "once" runs 0 of 1: once.1: failed; restart condition is none',
    ])
  })

  test('a pending task is younger than the tasks that its slot had, which tables draw below it', async () => {
    const Placement = { Constraints: ['node.labels.rack==x'] }
    await api.post('/services/create', spec('web', { TaskTemplate: { ContainerSpec: { Image: 'node' }, Placement } }))
    const service = [...api.fake.view.services.keys()][0] ?? ''
    const created = { ms: startMs + 60_000, counter: 0, node: '' }
    api.fake.putTask('r'.repeat(25), { service, slot: '1', node: nodeIds[0], state: 'rejected', created })
    const { body } = await api.get('/tasks')
    const [rejected, pending] = body.filter((t: { Slot: number }) => t.Slot === 1)
    expect([rejected.Status.State, pending.Status.State]).toEqual(['rejected', 'pending'])
    expect(Date.parse(pending.CreatedAt)).toBeGreaterThan(Date.parse(rejected.CreatedAt))
  })

  test('a task that is long in starting says what it waits for, as its error', async () => {
    await api.post('/services/create', spec('web', { Mode: { Replicated: { Replicas: 1 } } }))
    const service = [...api.fake.view.services.keys()][0] ?? ''
    const ports = [{ protocol: 'tcp' as const, target: 80, actual: 25_000 }]
    const stateMs = api.fake.set.wallMs - 2_999
    api.fake.putTask('s'.repeat(25), { service, slot: '1', node: nodeIds[0], state: 'starting', stateMs, ports })
    expect((await api.get('/tasks')).body[0].Status.Err).toBeUndefined()
    api.fake.set.wallMs += 1
    expect((await api.get('/tasks')).body[0].Status.Err).toBe('nothing listens on port 25000 yet ($PORT, for 80)')
  })

  test('a task of a node that is down is orphaned, and its slot is placed elsewhere', async () => {
    await api.post('/services/create', spec('web', { Mode: { Replicated: { Replicas: 1 } } }))
    api.fake.run()
    const [task] = [...api.fake.view.tasks.values()]
    api.fake.setLiveness(task?.value.node ?? '', 'dead')
    expect((await states()).sort()).toEqual(['orphaned/shutdown', 'pending/running'])
    const orphan = (await api.get(`/tasks/${task?.id}`)).body
    expect(orphan.Status.Message).toMatch(/^node n\d is down$/)
    api.fake.setLiveness(task?.value.node ?? '', 'alive')
    expect(await states()).toEqual(['running/running'])
  })

  test('a task of another boot of its node is orphaned', async () => {
    await api.post('/services/create', spec('web', { Mode: { Replicated: { Replicas: 1 } } }))
    const service = [...api.fake.view.services.keys()][0] ?? ''
    api.fake.putTask('t'.repeat(25), { service, slot: '1', node: nodeIds[1], boot: 'earlier' })
    expect((await api.get(`/tasks/${'t'.repeat(25)}`)).body.Status).toMatchObject({
      State: 'orphaned',
      Message: 'node n2 has rebooted since',
    })
  })

  test('what is left after the service went is to be removed, and after scaling down too', async () => {
    await api.post('/services/create', spec('web'))
    api.fake.run()
    const index = (await api.get('/services/web')).body.Version.Index
    await api.post(`/services/web/update?version=${index}`, spec('web', { Mode: { Replicated: { Replicas: 1 } } }))
    expect((await states()).sort()).toEqual(['running/remove', 'running/running'])
    await api.delete('/services/web')
    expect(await states()).toEqual(['running/remove', 'running/remove'])
  })

  test('a task that stops, or has failed, is to be shut down', async () => {
    await api.post('/services/create', spec('web', { Mode: { Replicated: { Replicas: 1 } } }))
    const service = [...api.fake.view.services.keys()][0] ?? ''
    api.fake.putTask('f'.repeat(25), {
      service,
      slot: '1',
      node: nodeIds[1],
      state: 'failed',
      error: 'exit 1: boom',
      exitCode: 1,
    })
    api.fake.putTask('s'.repeat(25), { service, slot: '1', node: nodeIds[1], stopping: true })
    expect(await states({ id: ['ff'] })).toEqual(['failed/shutdown'])
    expect(await states({ id: ['ss'] })).toEqual(['running/shutdown'])
    expect((await api.get(`/tasks/${'f'.repeat(25)}`)).body.Status).toMatchObject({
      Err: 'exit 1: boom',
      ContainerStatus: { ExitCode: 1 },
    })
  })

  test('asked for one service, names the nodes on which its published port does not listen', async () => {
    const { ID } = (await api.post('/services/create', spec('web'))).body
    const { view } = api.fake
    const member = view.members.get(nodeIds[1]) ?? expect.fail('n2 is a member')
    const problems = [{ service: ID, sentence: 'port 8080 is bound by another program' }]
    const record = { ...member.record, value: { ...member.record.value, problems } }
    view.members.set(nodeIds[1], { ...member, record })
    const told = async (path: string) =>
      decodeURIComponent(String((await api.get(path)).headers['x-grapevine-warnings']))
    expect(await told(filtered('/tasks', { service: ['web'] }))).toBe('["n2: port 8080 is bound by another program"]')
    expect(await told('/tasks')).toBe('undefined')
  })

  test('filters by service, node, desired state and template', async () => {
    await api.post('/services/create', spec('web'))
    await api.post('/services/create', spec('db', { Mode: { Replicated: { Replicas: 1 } } }))
    api.fake.run()
    expect(await states({ service: ['web'] })).toHaveLength(2)
    expect(await states({ service: ['we'] })).toHaveLength(0)
    expect(await states({ name: ['web.1'] })).toHaveLength(1)
    const nodes = [
      await states({ node: ['self'] }),
      await states({ node: ['n2'] }),
      await states({ node: [nodeIds[2]] }),
    ]
    expect(nodes.flat()).toHaveLength(3)
    expect(await states({ 'desired-state': ['shutdown'] })).toHaveLength(0)
    expect((await api.get(filtered('/tasks', { 'desired-state': ['odd'] }))).status).toBe(400)
    const { Version, Spec } = (await api.get('/services/web')).body
    await api.post(`/services/web/update?version=${Version.Index}`, {
      ...Spec,
      TaskTemplate: { ContainerSpec: { Image: 'other' } },
    })
    expect(await states({ service: ['web'], '_up-to-date': ['true'] })).toHaveLength(0)
  })

  test('shows the template that it was made from', async () => {
    await api.post('/services/create', spec('web', { Mode: { Replicated: { Replicas: 1 } } }))
    api.fake.run()
    const { Version, Spec } = (await api.get('/services/web')).body
    await api.post(`/services/web/update?version=${Version.Index}`, {
      ...Spec,
      TaskTemplate: { ContainerSpec: { Image: 'other' } },
    })
    expect((await api.get('/tasks/web.1')).body.Spec.ContainerSpec.Image).toBe('node')
  })
})
