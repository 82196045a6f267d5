/**
 * What only containers have, from the flags of `service create` and `service update` (docker/cli command/service opts.go, update.go).
 *
 * Pure. As with Docker's client a mount, group or DNS setting that one update adds and removes is removed, and lists that an update changes are
 * sorted. Other than there a list that no flag names is left as it is: sorting it would replace every task for nothing.
 */
import type { ContainerSpec, Mount, ServiceSpec } from '../../../protocol/spec.ts'
import { list, type Options, text } from '../definition.ts'
import { filled } from '../stack/compose/omit.ts'
import { usage } from '../usage.ts'
import { capabilities, changeCapabilities } from './capabilities.ts'
import {
  mergeUlimits,
  parseDomain,
  parseHost,
  parseLogOptions,
  parseOomScore,
  parseUlimit,
  removeHosts,
} from './container-words.ts'
import { parseMount } from './mount.ts'
import { parsePairs } from './words.ts'

/** What the flags alone do not hold. */
export interface Around {
  readonly env: Readonly<Record<string, string | undefined>>
  /** That relative sources of mounts start from. */
  readonly directory: string
}

type Fields = Partial<ContainerSpec>

export function newContainer(options: Options, around: Around): Fields {
  return {
    ...single(options),
    ...filled({
      Groups: [...list(options, 'group')],
      Mounts: mounts(options, 'mount', around),
      ...capabilities(list(options, 'capAdd'), list(options, 'capDrop')),
      Sysctls: parsePairs(list(options, 'sysctl'), '--sysctl'),
      Ulimits: mergeUlimits(list(options, 'ulimit').map((text) => parseUlimit(text, '--ulimit'))),
      Hosts: list(options, 'host').map((text) => parseHost(text, '--host')),
      DNSConfig: filled({
        Search: list(options, 'dnsSearch').map((text) => parseDomain(text, '--dns-search')),
        Options: [...list(options, 'dnsOption')],
      }),
    }),
  }
}

/** The fields that flags change; the others are left out. */
export function changedContainer(before: ContainerSpec, options: Options, around: Around): Fields {
  const changed = <F extends Fields>(names: readonly string[], fields: () => F): F | undefined =>
    names.some((name) => options[name] !== undefined) ? fields() : undefined
  return {
    ...single(options),
    ...changed(['groupAdd', 'groupRm'], () => ({
      Groups: [...(before.Groups ?? []), ...list(options, 'groupAdd')].filter(not(list(options, 'groupRm'))).sort(),
    })),
    ...changed(['mountAdd', 'mountRm'], () => ({ Mounts: changeMounts(before.Mounts ?? [], options, around) })),
    ...changed(['capAdd', 'capDrop'], () =>
      changeCapabilities(
        { add: before.CapabilityAdd ?? [], drop: before.CapabilityDrop ?? [] },
        { add: list(options, 'capAdd'), drop: list(options, 'capDrop') },
      ),
    ),
    ...changed(['sysctlAdd', 'sysctlRm'], () => ({
      Sysctls: {
        ...Object.fromEntries(
          Object.entries(before.Sysctls ?? {}).filter(([key]) => not(list(options, 'sysctlRm'))(key)),
        ),
        ...parsePairs(list(options, 'sysctlAdd'), '--sysctl-add'),
      },
    })),
    ...changed(['ulimitAdd', 'ulimitRm'], () => ({
      Ulimits: mergeUlimits([
        ...(before.Ulimits ?? []).filter(({ Name }) => not(list(options, 'ulimitRm'))(Name)),
        ...list(options, 'ulimitAdd').map((text) => parseUlimit(text, '--ulimit-add')),
      ]),
    })),
    ...changed(['hostAdd', 'hostRm'], () => ({
      Hosts: unique([
        ...removeHosts(before.Hosts ?? [], list(options, 'hostRm')),
        ...list(options, 'hostAdd').map((text) => parseHost(text, '--host-add')),
      ]),
    })),
    ...changed(['dnsSearchAdd', 'dnsSearchRm', 'dnsOptionAdd', 'dnsOptionRm'], () => ({
      DNSConfig: changeDns(before.DNSConfig ?? {}, options),
    })),
  }
}

/** The log driver with its options, which are replaced together; undefined when none is named. */
export function logDriver(options: Options, { env }: Around): ServiceSpec['TaskTemplate']['LogDriver'] | undefined {
  const [name, given] = [text(options, 'logDriver'), list(options, 'logOpt')]
  if (name) return { Name: name, ...filled({ Options: parseLogOptions(given, env) }) }
  if (given.length > 0) throw usage('--log-opt goes with --log-driver', 'Name the driver that takes the options')
  return undefined
}

/** Flags with one value, which create and update write alike. */
function single(options: Options): Fields {
  const [score, isolation] = [text(options, 'oomScoreAdj'), text(options, 'isolation')]
  const whether = (name: string) => (typeof options[name] === 'boolean' ? options[name] : undefined)
  const [init, tty, readOnly] = [whether('init'), whether('tty'), whether('readOnly')]
  return {
    ...(init === undefined ? {} : { Init: init }),
    ...(tty === undefined ? {} : { TTY: tty }),
    ...(readOnly === undefined ? {} : { ReadOnly: readOnly }),
    ...(isolation === undefined ? {} : { Isolation: isolation }),
    ...(score === undefined ? {} : { OomScoreAdj: parseOomScore(score, '--oom-score-adj') }),
  }
}

function mounts(options: Options, name: 'mount' | 'mountAdd', { directory }: Around): Mount[] {
  const flag = name === 'mount' ? '--mount' : '--mount-add'
  return list(options, name).map((text) => parseMount({ text, flag, directory }))
}

/** An added mount takes the place of one with its target. */
function changeMounts(before: readonly Mount[], options: Options, around: Around): Mount[] {
  const added = mounts(options, 'mountAdd', around)
  const targets = added.map(({ Target }) => Target)
  const twice = targets.find((target, i) => targets.indexOf(target) !== i)
  if (twice !== undefined)
    throw usage(`duplicate mount target ${twice} for --mount-add`, 'Give each mount a target of its own')
  const source = ({ Source = '', Target }: Mount) => [Source, Target] as const
  return [...before.filter(({ Target }) => !targets.includes(Target)), ...added]
    .filter(({ Target }) => not(list(options, 'mountRm'))(Target))
    .sort((a, b) => compare(source(a), source(b)))
}

function changeDns(before: NonNullable<ContainerSpec['DNSConfig']>, options: Options) {
  const search = list(options, 'dnsSearchAdd').map((text) => parseDomain(text, '--dns-search-add'))
  const changed = (old: readonly string[] | null | undefined, added: readonly string[], removed: readonly string[]) =>
    unique([...(old ?? []), ...added].filter(not(removed))).sort()
  return {
    ...before,
    Search: changed(before.Search, search, list(options, 'dnsSearchRm')),
    Options: changed(before.Options, list(options, 'dnsOptionAdd'), list(options, 'dnsOptionRm')),
  }
}

function not(removed: readonly string[]): (item: string) => boolean {
  return (item) => !removed.includes(item)
}

function unique(items: readonly string[]): string[] {
  return [...new Set(items)]
}

function compare([a, b]: readonly [string, string], [c, d]: readonly [string, string]): number {
  if (a !== c) return a < c ? -1 : 1
  return b < d ? -1 : b > d ? 1 : 0
}
