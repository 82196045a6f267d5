// What Docker is asked to create for a task: every option of a service in Docker's own words, and nothing that a service may take from us.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { containerOptions, needsContainer } from '../../../agent/core/container.ts'
import { containerCall, sandboxCall } from '../../../agent/runtime/docker/create.ts'
import { label, readLabels } from '../../../agent/runtime/docker/labels.ts'
import { archiveOf, pauseProgram } from '../../../agent/runtime/docker/pause.ts'
import type { Attachment, TaskPlan } from '../../../agent/world.ts'
import type { ServiceSpec } from '../../../protocol/spec.ts'
import { shell } from '../../contract/runtime/harness.ts'

type Template = ServiceSpec['TaskTemplate']

function specOf(container: Partial<Template['ContainerSpec']>, template: Partial<Template> = {}): ServiceSpec {
  return { Name: 'web', TaskTemplate: { ...template, ContainerSpec: { Image: 'box:1', ...container } } }
}

function planOf(
  container: Partial<Template['ContainerSpec']> = {},
  { template, ...over }: Partial<TaskPlan> & { readonly template?: Partial<Template> } = {},
): TaskPlan {
  return shell('one', 'true', { container: containerOptions(specOf(container, template)), ...over })
}

const attachment: Attachment = {
  host: '10.0.1.7',
  listen: '0.0.0.0',
  ports: [{ protocol: 'tcp', target: 80, actual: 80 }],
  resolver: '10.0.1.1:30001',
  hostsFile: '/data/hosts/one.hosts',
  netns: '/run/netns/gv-one',
  resolvFile: '/data/hosts/one.resolv',
}

interface Body {
  readonly HostConfig: Readonly<Record<string, unknown>>
  readonly [key: string]: unknown
}

function bodyOf(plan: TaskPlan): Body {
  return containerCall(plan, 'node').body as Body
}

test('a container is named after its task, runs what the service says, and joins its sandbox', () => {
  const over = { command: ['sh'], env: { A: '1' }, dir: '/srv', user: 'nobody', attachment }
  const { name, body } = containerCall(planOf({}, { ...over, template: {} }), 'node')
  expect(name).toBe(planOf().name)
  expect(body).toMatchObject({
    ...{ Image: 'sh', Entrypoint: ['sh'], Cmd: ['-c', 'true'], Env: ['A=1'], WorkingDir: '/srv', User: 'nobody' },
    ...{ StopSignal: 'SIGTERM', Healthcheck: { Test: ['NONE'] } },
    HostConfig: {
      NetworkMode: `container:${name}.net`,
      Mounts: [
        { Type: 'bind', Source: '/data/hosts/one.hosts', Target: '/etc/hosts' },
        { Type: 'bind', Source: '/data/hosts/one.resolv', Target: '/etc/resolv.conf' },
      ],
    },
  })
  // Without words of the service the image's own count, and its user and directory.
  const plain = bodyOf(planOf({}, { args: [] }))
  for (const key of ['Entrypoint', 'Cmd', 'User', 'WorkingDir']) expect(plain).not.toHaveProperty(key)
})

test('mounts, groups, capabilities, limits and the like reach Docker in its own words', () => {
  const mounts = [
    { Type: 'volume', Source: 'data', Target: '/data', VolumeOptions: { NoCopy: true } },
    { Type: 'tmpfs', Target: '/tmp', TmpfsOptions: { SizeBytes: 4096 } },
  ]
  const asked = {
    ...{ Mounts: mounts, Groups: ['7'], TTY: true, OpenStdin: true, ReadOnly: true, Init: true },
    ...{ CapabilityAdd: ['CAP_NET_ADMIN'], CapabilityDrop: ['CAP_CHOWN'], Sysctls: { 'net.core.somaxconn': '1' } },
    ...{ Ulimits: [{ Name: 'nofile', Soft: 1, Hard: 2 }], OomScoreAdj: 5, Labels: { own: 'x' } },
    Privileges: {
      NoNewPrivileges: true,
      SELinuxContext: { Disable: false, Level: 's0' },
      Seccomp: { Mode: 'custom', Profile: Buffer.from('{}').toString('base64') },
      AppArmor: { Mode: 'disabled' },
    },
  }
  const template = {
    Resources: {
      Limits: { NanoCPUs: 5e8, MemoryBytes: 1 << 26, Pids: 9 },
      Reservations: { MemoryBytes: 1 << 25 },
    },
    LogDriver: { Name: 'local', Options: { 'max-size': '1m' } },
  }
  const body = bodyOf(planOf(asked, { template }))
  expect(body).toMatchObject({ Tty: true, OpenStdin: true, Labels: { own: 'x' } })
  expect(body.HostConfig).toMatchObject({
    ...{ Mounts: mounts, GroupAdd: ['7'], ReadonlyRootfs: true, Init: true, OomScoreAdj: 5 },
    ...{ CapAdd: ['CAP_NET_ADMIN'], CapDrop: ['CAP_CHOWN'], Sysctls: { 'net.core.somaxconn': '1' } },
    Ulimits: [{ Name: 'nofile', Soft: 1, Hard: 2 }],
    SecurityOpt: ['no-new-privileges', 'label=level:s0', 'seccomp={}', 'apparmor=unconfined'],
    ...{ NanoCpus: 5e8, Memory: 1 << 26, MemoryReservation: 1 << 25, PidsLimit: 9 },
    LogConfig: { Type: 'local', Config: { 'max-size': '1m' } },
  })
})

test('a container is stopped by the signal of its image where the service names none', () => {
  const { StopSignal, StopTimeout } = bodyOf(planOf({}, { stop: { signal: undefined, graceMs: 1_500 } }))
  expect([StopSignal, StopTimeout]).toEqual([undefined, 2])
})

test('a service cannot take the labels by which its containers are found again', () => {
  const plan = planOf({ Labels: { [label.node]: 'other', [label.task]: 'other', own: 'x' } }, { attachment })
  const labels = bodyOf(plan).Labels as Readonly<Record<string, string>>
  expect(labels).toMatchObject({ own: 'x', [label.node]: 'node', 'com.docker.swarm.service.name': 'web' })
  const { task, service, slot } = plan
  expect(readLabels(labels)).toEqual({ task, service, slot, tty: false, attachment, stop: plan.stop })
  expect(readLabels({ ...labels, [label.attachment]: '{"host":1}' })).toBeUndefined()
  expect(readLabels({ ...labels, [label.attachment]: '{' })).toBeUndefined()
  expect(readLabels({ ...labels, [label.stop]: '{"graceMs":"long"}' })).toBeUndefined()
})

test('a sandbox holds the host name; names of hosts are its own only where Docker gives it a network', () => {
  const plan = planOf({ Hosts: ['192.0.2.1 db data'], DNSConfig: { Search: ['example.org'], Options: ['ndots:1'] } })
  const none = sandboxCall(plan, 'node', 'none')
  expect(none.name).toBe(`${plan.name}.net`)
  expect(none.body).toMatchObject({ Hostname: 'host', HostConfig: { NetworkMode: 'none', CapDrop: ['ALL'] } })
  expect(none.body.HostConfig).not.toHaveProperty('ExtraHosts')
  expect(sandboxCall(plan, 'node', 'bridge').body.HostConfig).toMatchObject({
    ...{ NetworkMode: 'bridge', ExtraHosts: ['db:192.0.2.1', 'data:192.0.2.1'] },
    ...{ DnsSearch: ['example.org'], DnsOptions: ['ndots:1'] },
  })
})

test('what only a container has is told by name; empty values and reservations ask for nothing', () => {
  expect(needsContainer(specOf({ Mounts: [], Init: false, DNSConfig: {}, Sysctls: {} }))).toBeUndefined()
  expect(needsContainer(specOf({}, { Resources: { Reservations: { MemoryBytes: 1 } } }))).toBeUndefined()
  expect(needsContainer(specOf({ CapabilityDrop: ['ALL'] }))).toBe('capabilities')
  expect(needsContainer(specOf({}, { Resources: { Limits: { MemoryBytes: 1 } } }))).toBe('resource limits')
})

test('the program of sandboxes is one that this kernel runs and that goes on, in an archive that tar reads', () => {
  const dir = mkdtempSync(join(tmpdir(), 'vine-pause-'))
  try {
    const program = pauseProgram(process.arch === 'arm64' ? 'arm64' : 'amd64')!
    writeFileSync(join(dir, 'pause.tar'), archiveOf('pause', program))
    execFileSync('tar', ['-x', '-f', 'pause.tar'], { cwd: dir })
    // 124: timeout(1) had to end it.
    expect(() => execFileSync('timeout', ['0.2', './pause'], { cwd: dir })).toThrow(
      expect.objectContaining({ status: 124 }),
    )
  } finally {
    rmSync(dir, { recursive: true })
  }
  expect(pauseProgram('arm64')!.readUInt16LE(18)).toBe(183)
  expect(pauseProgram('aarch64')).toEqual(pauseProgram('arm64'))
  expect(pauseProgram('s390x')).toBeUndefined()
})
