/**
 * Decides what Docker is asked to create for a task: its sandbox, which holds the network namespace, and its container, which joins it. Pure.
 *
 * Swarm's own mapping (moby daemon/cluster/executor/container/container.go), less networks and ports, which are the data plane's. Our labels win over those
 * that a service asks for, since by them a task is found again.
 */
import type { NodeId } from '../../../protocol/ids.ts'
import type { Mount, Privileges } from '../../../protocol/spec.ts'
import type { TaskPlan } from '../../world.ts'
import { labelsOf, sandboxLabels, sandboxName } from './labels.ts'
import { pauseImage } from './pause.ts'

/** Names are parts of the address, not of the body. */
export interface CreateCall {
  readonly name: string
  readonly body: Readonly<Record<string, unknown>>
}

/** `network`: 'none' where the data plane furnishes the namespace, 'bridge' where it cannot. */
export function sandboxCall(plan: TaskPlan, node: NodeId, network: 'none' | 'bridge'): CreateCall {
  const { hosts, dnsSearch, dnsOptions } = plan.container
  // On Docker's bridge the files of names are Docker's, and tasks share those of their sandbox.
  const names =
    network === 'none'
      ? {}
      : { ExtraHosts: hosts.flatMap(extraHosts), DnsSearch: [...dnsSearch], DnsOptions: [...dnsOptions] }
  return {
    name: sandboxName(plan),
    body: {
      Image: pauseImage,
      Entrypoint: ['/pause'],
      Hostname: plan.hostname,
      Labels: sandboxLabels(plan, node),
      HostConfig: {
        NetworkMode: network,
        ReadonlyRootfs: true,
        CapDrop: ['ALL'],
        SecurityOpt: ['no-new-privileges'],
        LogConfig: { Type: 'none', Config: {} },
        ...names,
      },
    },
  }
}

export function containerCall(plan: TaskPlan, node: NodeId): CreateCall {
  const { container } = plan
  return {
    name: plan.name,
    body: {
      Image: plan.image,
      ...(plan.command.length === 0 ? {} : { Entrypoint: [...plan.command] }),
      ...(plan.args.length === 0 ? {} : { Cmd: [...plan.args] }),
      Env: Object.entries(plan.env).map(([name, value]) => `${name}=${value}`),
      ...(plan.dir === undefined ? {} : { WorkingDir: plan.dir }),
      ...(plan.user === undefined ? {} : { User: plan.user }),
      Labels: { ...container.labels, ...labelsOf(plan, node) },
      ...(plan.stop.signal === undefined ? {} : { StopSignal: plan.stop.signal }),
      // For who stops it by hand, as docker stop does.
      StopTimeout: Math.ceil(plan.stop.graceMs / 1_000),
      Tty: container.tty,
      OpenStdin: container.openStdin,
      // The agent asks, so that checks mean the same in every runtime; twice would be once too often.
      Healthcheck: { Test: ['NONE'] },
      HostConfig: hostConfig(plan),
    },
  }
}

function hostConfig(plan: TaskPlan): Readonly<Record<string, unknown>> {
  const { container } = plan
  const { limits, logDriver } = container
  return {
    // Host name, and where it is Docker's the files of names, come with it.
    NetworkMode: `container:${sandboxName(plan)}`,
    Mounts: [...filesOfNames(plan), ...container.mounts],
    GroupAdd: [...container.groups],
    ReadonlyRootfs: container.readOnly,
    ...(container.init === undefined ? {} : { Init: container.init }),
    CapAdd: [...container.capabilityAdd],
    CapDrop: [...container.capabilityDrop],
    Sysctls: container.sysctls,
    Ulimits: container.ulimits.map(({ Name, Soft, Hard }) => ({ Name, Soft, Hard })),
    OomScoreAdj: container.oomScoreAdj,
    SecurityOpt: securityOptions(container.privileges),
    ...(container.isolation === undefined ? {} : { Isolation: container.isolation }),
    ...(logDriver === undefined ? {} : { LogConfig: { Type: logDriver.name, Config: logDriver.options } }),
    NanoCpus: limits.nanoCpus,
    Memory: limits.memoryBytes,
    MemoryReservation: container.reservedMemoryBytes,
    ...(limits.pids === 0 ? {} : { PidsLimit: limits.pids }),
  }
}

function filesOfNames({ attachment: { hostsFile, resolvFile } }: TaskPlan): readonly Mount[] {
  const bound = (source: string | undefined, target: string) =>
    source === undefined ? [] : [{ Type: 'bind', Source: source, Target: target }]
  return [...bound(hostsFile, '/etc/hosts'), ...bound(resolvFile, '/etc/resolv.conf')]
}

/** `address name alias…`, as in a hosts file, to Docker's `name:address`. */
function extraHosts(line: string): readonly string[] {
  const [address = '', ...names] = line.trim().split(/\s+/)
  return names.map((name) => `${name}:${address}`)
}

function securityOptions(privileges: Privileges | undefined): readonly string[] {
  const { SELinuxContext: selinux, Seccomp: seccomp, AppArmor: apparmor, NoNewPrivileges } = privileges ?? {}
  const labels = { user: selinux?.User, role: selinux?.Role, type: selinux?.Type, level: selinux?.Level }
  return [
    ...(NoNewPrivileges === true ? ['no-new-privileges'] : []),
    ...(selinux?.Disable === true ? ['label=disable'] : []),
    ...Object.entries(labels).flatMap(([key, value]) => (value ? [`label=${key}:${value}`] : [])),
    ...(seccomp?.Mode === 'unconfined' ? ['seccomp=unconfined'] : []),
    // In the spec it is base64, as JSON has bytes.
    ...(seccomp?.Mode === 'custom' && seccomp.Profile
      ? [`seccomp=${Buffer.from(seccomp.Profile, 'base64').toString('utf8')}`]
      : []),
    ...(apparmor?.Mode === 'disabled' ? ['apparmor=unconfined'] : []),
  ]
}
