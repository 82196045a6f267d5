import { describe, expect, it } from 'vitest'
import { callerOf, nameFacts } from '../../../agent/core/names/caller.ts'
import { lookup, reverse } from '../../../agent/core/names/lookup.ts'
import { overlayAddressOf, overlayTargetOf } from '../../../agent/core/names/overlay.ts'
import { viewBuilder } from './builder.ts'

type Builder = ReturnType<typeof viewBuilder>

function asked(
  builder: Builder,
  from: string,
  name: string,
  type = 'A',
  options: { ready?: boolean; conflicted?: string[] } = {},
) {
  const facts = nameFacts(builder.view(), new Set(options.conflicted ?? []), () => options.ready ?? true)
  return lookup({ name, type }, callerOf(from, facts))
}

function targets(builder: Builder, from: string, name: string): string[] {
  const answer = asked(builder, from, name)
  return answer.kind === 'addresses' ? answer.targets.map((t) => `${t.kind}:${t.id}`) : [answer.kind]
}

function shop() {
  return viewBuilder()
    .network('front')
    .network('back')
    .service('web', { networks: [{ network: 'front', aliases: ['shop'] }], ports: [{ target: 80, name: 'http' }] })
    .service('db', { networks: [{ network: 'back' }], mode: 'dnsrr' })
    .service('app', { networks: [{ network: 'front' }, { network: 'back' }] })
    .task('web1', 'web', '1', { hostname: 'web-one' })
    .task('web2', 'web', '2')
    .task('db1', 'db', '1')
    .task('app1', 'app', '1')
}

describe('a service name', () => {
  it('stands for the virtual IP, and tasks.<service> for its ready tasks in the order of slots', () => {
    expect(targets(shop(), 'app1', 'web')).toEqual(['service:svc-web'])
    expect(targets(shop(), 'app1', 'tasks.web')).toEqual(['task:web1', 'task:web2'])
  })

  it('stands for the tasks themselves with dnsrr', () => {
    expect(targets(shop(), 'app1', 'db')).toEqual(['task:db1'])
  })

  it('is found whatever its case, by alias, and qualified with its network or our zone', () => {
    for (const name of ['WEB', 'shop', 'web.front', 'web.front.vine.internal', 'Shop.FRONT']) {
      expect(targets(shop(), 'app1', name)).toEqual(['service:svc-web'])
    }
  })

  it('is not seen from another network', () => {
    expect(targets(shop(), 'db1', 'web')).toEqual(['nxdomain'])
    expect(targets(shop(), 'db1', 'web.front')).toEqual(['not-ours'])
  })

  it('keeps answering with no ready task: the virtual IP, or nothing of that type', () => {
    const none = viewBuilder()
      .network('front')
      .service('web', { networks: [{ network: 'front' }] })
      .service('rr', { networks: [{ network: 'front' }], mode: 'dnsrr' })
      .service('app', { networks: [{ network: 'front' }] })
      .task('app1', 'app', '1')
      .task('rr1', 'rr', '1', { ready: false })
    expect(targets(none, 'app1', 'web')).toEqual(['service:svc-web'])
    expect(targets(none, 'app1', 'tasks.web')).toEqual(['nodata'])
    expect(targets(none, 'app1', 'rr')).toEqual(['nodata'])
  })

  it('leaves out draining and ended tasks', () => {
    const builder = shop().task('web3', 'web', '3', { draining: true }).task('web4', 'web', '4', { state: 'failed' })
    expect(targets(builder, 'app1', 'tasks.web')).toEqual(['task:web1', 'task:web2'])
  })

  it('is not answered while its service is in conflict', () => {
    expect(asked(shop(), 'app1', 'web', 'A', { conflicted: ['svc-web'] }).kind).toBe('nxdomain')
  })
})

describe('a task', () => {
  it('is found by slot, task name, container id and hostname', () => {
    for (const name of ['1.web', '1.tasks.web', 'web.1.web1', 'web1', 'web-one', '1.web.front.vine.internal']) {
      expect(targets(shop(), 'app1', name)).toEqual(['task:web1'])
    }
  })

  it('of an older spec keeps its alias until it is gone', () => {
    const builder = shop().task('web9', 'web', '9', { aliases: ['former'] })
    expect(targets(builder, 'app1', 'former')).toEqual(['service:svc-web'])
    expect(targets(shop(), 'app1', 'former')).toEqual(['nxdomain'])
  })
})

describe('a name held by two services', () => {
  const clash = (labels: Readonly<Record<string, string>>) =>
    viewBuilder()
      .network('front')
      .service('a_web', {
        networks: [{ network: 'front', aliases: ['web'] }],
        createdMs: 5,
        labels: { 'com.docker.stack.namespace': 'a' },
      })
      .service('b_web', {
        networks: [{ network: 'front', aliases: ['web'] }],
        createdMs: 9,
        labels: { 'com.docker.stack.namespace': 'b' },
      })
      .service('app', { networks: [{ network: 'front' }], labels })
      .task('app1', 'app', '1')

  it("is the one of the caller's own stack", () => {
    expect(targets(clash({ 'com.docker.stack.namespace': 'b' }), 'app1', 'web')).toEqual(['service:svc-b_web'])
  })

  it('is the earlier one for a stranger, and never both', () => {
    expect(targets(clash({}), 'app1', 'web')).toEqual(['service:svc-a_web'])
  })
})

describe('other questions', () => {
  it('of a known name have no data, and are not sent upstream', () => {
    for (const type of ['MX', 'TXT', 'UNKNOWN_65'])
      expect(asked(shop(), 'app1', 'web', type)).toEqual({ kind: 'nodata' })
  })

  it('for AAAA ask for the IPv6 addresses of the same targets', () => {
    const targets = [{ kind: 'service', network: 'net-front', id: 'svc-web' }]
    expect(asked(shop(), 'app1', 'web', 'AAAA')).toEqual({ kind: 'addresses', family: 6, targets, ttlS: 5 })
  })

  it('for SRV list every ready task with its port, by number and by name', () => {
    const records = [
      { target: '1.web.front.vine.internal', port: 80 },
      { target: '2.web.front.vine.internal', port: 80 },
    ]
    expect(asked(shop(), 'app1', '_80._tcp.web', 'SRV')).toEqual({ kind: 'services', records, ttlS: 5 })
    expect(asked(shop(), 'app1', '_http._tcp.web', 'SRV')).toMatchObject({ records })
    expect(asked(shop(), 'app1', '_81._tcp.web', 'SRV')).toEqual({ kind: 'nodata' })
  })

  it('for PTR give the task its full name and a virtual IP the name of its service', () => {
    const facts = nameFacts(shop().view(), new Set(), () => true)
    const caller = callerOf('app1', facts)
    expect(reverse({ kind: 'task', network: 'net-front', id: 'web2' }, caller)).toMatchObject({
      name: 'web.2.web2.front',
    })
    expect(reverse({ kind: 'service', network: 'net-front', id: 'svc-web' }, caller)).toMatchObject({
      name: 'web.front',
    })
    expect(reverse({ kind: 'task', network: 'net-other', id: 'web2' }, caller)).toEqual({ kind: 'nxdomain' })
  })
})

describe('what is not ours', () => {
  it('goes upstream when it has a dot, and never when it is a single label or in our zone', () => {
    expect(asked(shop(), 'app1', 'example.org').kind).toBe('not-ours')
    expect(asked(shop(), 'app1', 'wbe').kind).toBe('nxdomain')
    expect(asked(shop(), 'app1', 'x.front.vine.internal').kind).toBe('nxdomain')
  })

  it('is not asked for a task whose networks are all internal', () => {
    const inside = viewBuilder()
      .network('vault', { internal: true })
      .service('app', { networks: [{ network: 'vault' }] })
      .task('app1', 'app', '1')
    expect(asked(inside, 'app1', 'example.org').kind).toBe('no-upstream')
  })

  it('is held, not denied, while a network is not caught up', () => {
    expect(asked(shop(), 'app1', 'later', 'A', { ready: false }).kind).toBe('held')
    expect(asked(shop(), 'app1', 'web', 'A', { ready: false }).kind).toBe('addresses')
  })
})

describe('a container that is no task', () => {
  const hosting = () =>
    shop().guest('plain', 'front', { aliases: ['cache'], container: 'abcdef012345'.padEnd(64, '0') })

  it('is found by its name, its aliases and the start of its id, on its network only', () => {
    for (const name of ['plain', 'Cache', 'abcdef012345', 'plain.front'])
      expect(targets(hosting(), 'app1', name)).toEqual(['guest:plain'])
    expect(targets(hosting(), 'db1', 'plain')).toEqual(['nxdomain'])
  })

  it('is not found while it does not run, nor when its node has begun anew', () => {
    expect(targets(shop().guest('off', 'front', { address: undefined }), 'app1', 'off')).toEqual(['nxdomain'])
    expect(targets(shop().guest('old', 'front', { boot: 'b0' }), 'app1', 'old')).toEqual(['nxdomain'])
    expect(targets(shop().guest('far', 'front', { node: 'n2' }), 'app1', 'far')).toEqual(['nxdomain'])
  })

  it('takes no name of a service, however old it is', () => {
    expect(
      targets(shop().guest('g', 'front', { name: 'web', created: { ms: 0, counter: 0, node: '' } }), 'app1', 'web'),
    ).toEqual(['service:svc-web'])
  })

  it('finds the names of all its networks, whichever of its connections asks', () => {
    const container = 'c'.padEnd(64, '0')
    const both = shop().guest('one', 'front', { container }).guest('two', 'back', { container })
    expect(targets(both, 'one', 'db')).toEqual(['task:db1'])
    expect(targets(both, 'two', 'web')).toEqual(['service:svc-web'])
    expect(targets(hosting(), 'plain', 'db')).toEqual(['nxdomain'])
  })

  it('may ask outside of an internal network only where its engine gave it a network too', () => {
    const on = (alone: boolean) => viewBuilder().network('vault', { internal: true }).guest('g', 'vault', { alone })
    expect(asked(on(true), 'g', 'example.com').kind).toBe('no-upstream')
    expect(asked(on(false), 'g', 'example.com').kind).toBe('not-ours')
  })

  it('is what its address stands for', () => {
    const view = hosting().view()
    expect(overlayAddressOf({ kind: 'guest', network: 'net-front', id: 'plain' }, 4, view)).toBe('10.0.1.200')
    expect(overlayTargetOf('10.0.1.200', view)).toEqual({ kind: 'guest', network: 'net-front', id: 'plain' })
  })
})
