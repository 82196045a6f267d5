/**
 * Reads one `--mount`: comma-separated `key=value` fields, quoted where a value holds a comma, into the API's Mount.
 *
 * Rules and sentences: docker/cli opts/mount.go. Which types a node can mount, and whether a path is absolute, is decided by the agent
 * (core/admit/unsupported.ts). Pure: the directory that relative sources start from is handed in.
 */
import { posix } from 'node:path'
import type { Mount } from '../../../protocol/spec.ts'
import { raise, usage } from '../usage.ts'
import { parseBytes } from './words.ts'

export interface MountText {
  readonly text: string
  readonly flag: string
  /** Of the client: `src=./data` is a folder of it, as with Docker's. */
  readonly directory: string
}

/** Fields as they are read; the API's shape is made of them at the end. */
interface Reading {
  type: string
  source?: string
  target?: string
  readonly?: boolean
  consistency?: string
  readonly bind: Record<string, unknown>
  readonly volume: Record<string, unknown>
  readonly volumeLabels: Record<string, string>
  readonly driver: { Name?: string; Options?: Record<string, string> }
  readonly tmpfs: { SizeBytes?: number; Mode?: number }
  /** Families of keys that were used, such as `bind-`. */
  readonly families: Set<string>
}

/** Throws a UsageFault that names the flag. */
export function parseMount({ text, flag, directory }: MountText): Mount {
  const bad = (why: string, fix = 'Write for instance type=volume,source=data,target=/data') =>
    usage(`invalid value "${text}" for ${flag}: ${why}`, fix)
  const reading: Reading = {
    ...{ type: 'volume', bind: {}, volume: {}, volumeLabels: {}, driver: {}, tmpfs: {} },
    families: new Set(),
  }
  for (const field of splitFields(text) ?? raise(bad('a quote stands inside of a field, or a line ends in it'))) {
    const at = field.indexOf('=')
    const key = (at < 0 ? field : field.slice(0, at)).toLowerCase()
    if (at < 0 && !switches.has(key)) throw bad(`invalid field '${field}' must be a key=value pair`)
    const read = Object.hasOwn(keys, key) ? keys[key] : undefined
    if (read === undefined)
      throw bad(`unexpected key '${key}' in '${field}'`, `Its keys are ${Object.keys(keys).join(', ')}`)
    const [family] = /^(bind|volume|tmpfs)-/.exec(key) ?? []
    if (family !== undefined) reading.families.add(family)
    const value = at < 0 ? 'true' : field.slice(at + 1)
    if (!read(reading, value, { flag, directory })) throw bad(`invalid value for ${key}: ${value}`)
  }
  const why = contradiction(reading)
  if (why !== undefined) throw bad(why)
  return mountOf(reading)
}

/** Keys that are true without a value. */
const switches = new Set(['readonly', 'ro', 'volume-nocopy', 'bind-nonrecursive'])

type Read = (into: Reading, value: string, around: Pick<MountText, 'flag' | 'directory'>) => boolean

const source: Read = (into, value, { directory }) => {
  into.source = value.startsWith('.') ? posix.resolve(directory, value) : value
  return true
}
const target: Read = (into, value) => {
  into.target = value
  return true
}
const readOnly: Read = (into, value) => {
  into.readonly = isTrue(value)
  return isBool(value)
}

/** Each key puts its value into the reading, or answers false when it is none of its values. */
const keys: Readonly<Record<string, Read>> = {
  type: (into, value) => {
    into.type = value.toLowerCase()
    return true
  },
  source,
  src: source,
  target,
  dst: target,
  destination: target,
  readonly: readOnly,
  ro: readOnly,
  consistency: (into, value) => {
    into.consistency = value.toLowerCase()
    return true
  },
  'bind-propagation': ({ bind }, value) => {
    bind.Propagation = value.toLowerCase()
    return true
  },
  'bind-nonrecursive': ({ bind }, value) => {
    bind.NonRecursive = isTrue(value)
    return isBool(value)
  },
  'bind-recursive': ({ bind }, value) => {
    const field = recursion[value]
    if (field) bind[field] = true
    return field !== undefined
  },
  'volume-nocopy': ({ volume }, value) => {
    volume.NoCopy = isTrue(value)
    return isBool(value)
  },
  'volume-subpath': ({ volume }, value) => {
    volume.Subpath = value
    return true
  },
  'volume-label': ({ volumeLabels }, value) => putPair(volumeLabels, value),
  'volume-driver': ({ driver }, value) => {
    driver.Name = value
    return true
  },
  'volume-opt': ({ driver }, value) => {
    driver.Options ??= {}
    return putPair(driver.Options, value)
  },
  'tmpfs-size': ({ tmpfs }, value, { flag }) => {
    tmpfs.SizeBytes = parseBytes(value, `${flag} tmpfs-size`)
    return true
  },
  'tmpfs-mode': ({ tmpfs }, value) => {
    tmpfs.Mode = Number.parseInt(value, 8)
    return /^[0-7]+$/.test(value) && tmpfs.Mode < 2 ** 32
  },
}

/** What each `bind-recursive` sets in the API; the empty one is the default. */
const recursion: Readonly<Record<string, string>> = {
  enabled: '',
  disabled: 'NonRecursive',
  writable: 'ReadOnlyNonRecursive',
  readonly: 'ReadOnlyForceRecursive',
}

function contradiction({ type, target: to, readonly, bind, families }: Reading): string | undefined {
  if (type === '') return 'type is required'
  if (!to) return 'target is required'
  const other = [...families].find((family) => family !== `${type}-`)
  if (other !== undefined) return `cannot mix '${other}*' options with mount type '${type}'`
  if (bind.ReadOnlyForceRecursive !== true) return undefined
  const also = (word: string) => `option 'bind-recursive=readonly' requires '${word}' to be specified in conjunction`
  if (readonly !== true) return also('readonly')
  return bind.Propagation === 'rprivate' ? undefined : also('bind-propagation=rprivate')
}

function mountOf(reading: Reading): Mount {
  const {
    type,
    source: from,
    target: to = '',
    readonly,
    consistency,
    bind,
    volume,
    volumeLabels,
    driver,
    tmpfs,
  } = reading
  const withLabels = Object.keys(volumeLabels).length > 0 ? { ...volume, Labels: volumeLabels } : volume
  const withDriver = Object.keys(driver).length > 0 ? { ...withLabels, DriverConfig: driver } : withLabels
  return {
    Type: type,
    ...(from ? { Source: from } : {}),
    Target: to,
    ...(readonly ? { ReadOnly: true } : {}),
    ...(consistency ? { Consistency: consistency } : {}),
    ...(Object.keys(bind).length > 0 ? { BindOptions: bind } : {}),
    ...(Object.keys(withDriver).length > 0 ? { VolumeOptions: withDriver } : {}),
    ...(Object.keys(tmpfs).length > 0 ? { TmpfsOptions: tmpfs } : {}),
  }
}

/** Docker takes `k` as `k=`, and passes over an empty key. */
function putPair(into: Record<string, string>, text: string): true {
  const at = text.indexOf('=')
  const key = at < 0 ? text : text.slice(0, at)
  if (key !== '') into[key] = at < 0 ? '' : text.slice(at + 1)
  return true
}

/** One line of comma-separated values (RFC 4180); undefined when it is none. */
function splitFields(text: string): readonly string[] | undefined {
  const field = /("(?:[^"]|"")*"|[^",\r\n]*)(,|$)/y
  const fields: string[] = []
  for (;;) {
    const [, value, end] = field.exec(text) ?? []
    if (value === undefined) return undefined
    fields.push(value.startsWith('"') ? value.slice(1, -1).replaceAll('""', '"') : value)
    if (end === '') return fields
  }
}

/** Go's ParseBool. */
function isTrue(value: string): boolean {
  return ['1', 't', 'T', 'TRUE', 'true', 'True'].includes(value)
}

function isBool(value: string): boolean {
  return isTrue(value) || ['0', 'f', 'F', 'FALSE', 'false', 'False'].includes(value)
}
