/**
 * One Compose file, from its text to its long form: refuses what Docker refuses, fills in variables, checks, and makes paths absolute.
 *
 * Pure: the environment and the content of `env_file`s are handed in. Sentences are Docker's, with file and line before them.
 */
import { isAbsolute, join, resolve } from 'node:path'
import type { z } from 'zod'
import { mergeEnv, parseEnvFile } from '../../service/words.ts'
import { type Document, type Path, pathText, readDocument, refuseAt } from './document.ts'
import { type Environment, interpolate } from './interpolate.ts'
import { deprecatedUse, type Ignored, ignoredUse, refuseForbidden } from './properties.ts'
import { type Compose, composeSchema, type FileObject, type Service } from './schema.ts'

export interface Source {
  /** As the user named it; `-` is the standard input. */
  readonly file: string
  readonly text: string
}

export interface Surroundings {
  readonly env: Environment
  /** Absolute; relative paths of the files begin here. */
  readonly folder: string
  /** `$VARIABLE`s stay as they are. */
  readonly skipInterpolation?: boolean
}

export interface Loaded {
  readonly file: string
  readonly compose: Compose
  readonly ignored: Ignored
}

export function load({ file, text }: Source, around: Surroundings): Loaded {
  const raw = readDocument(file, text)
  checkVersion(raw)
  refuseForbidden(raw)
  const document = around.skipInterpolation === true ? raw : interpolate(raw, around.env)
  const checked = composeSchema.safeParse(document.data)
  if (!checked.success) throw refusal(document, checked.error.issues)
  const { services = {}, secrets, configs } = checked.data
  const compose = {
    ...checked.data,
    services: mapValues(services, (service) => withPaths(service, around)),
    ...(secrets === undefined ? {} : { secrets: mapValues(secrets, (object) => withPath(object, around)) }),
    ...(configs === undefined ? {} : { configs: mapValues(configs, (object) => withPath(object, around)) }),
  }
  return {
    file,
    compose,
    ignored: { unsupported: ignoredUse(document, services), deprecated: deprecatedUse(services) },
  }
}

/** Files that services take variables from, absolute. */
export function envFilesOf({ compose }: Loaded): readonly string[] {
  return [...new Set(Object.values(compose.services ?? {}).flatMap(({ env_file }) => env_file ?? []))]
}

/** Variables of `env_file`s put before those of `environment`; one without a value takes it from the environment here. */
export function withEnvironment(loaded: Loaded, files: ReadonlyMap<string, string>, env: Environment): Loaded {
  const services = mapValues(loaded.compose.services ?? {}, ({ env_file, ...service }) => {
    const lines = (env_file ?? []).flatMap((path) => parseEnvFile(files.get(path) ?? '', env, path))
    const read = mergeEnv([], lines).map((line): [string, string] => {
      const at = line.indexOf('=')
      return [line.slice(0, at), line.slice(at + 1)]
    })
    const variables = Object.entries({ ...Object.fromEntries(read), ...service.environment })
    if (variables.length === 0) return service
    const environment = variables.map(([name, value]) => [name, value || (env[name] ?? value)] as const)
    return { ...service, environment: Object.fromEntries(environment.toSorted(([a], [b]) => (a < b ? -1 : 1))) }
  })
  return { ...loaded, compose: { ...loaded.compose, services } }
}

export function mapValues<From, To>(
  map: Readonly<Record<string, From>>,
  change: (value: From, key: string) => To,
): { [key: string]: To } {
  return Object.fromEntries(Object.entries(map).map(([key, value]) => [key, change(value, key)]))
}

/** 3.0 to 3.13, of which the last holds all that the others have. The Compose Specification has no version. */
function checkVersion(document: Document): void {
  const { version } = document.data
  if (version === undefined) return
  if (typeof version !== 'string') throw refuseAt(document, ['version'], 'version must be a string')
  if (!/^(3(\.([0-9]|1[0-3]))?)?$/.test(version))
    throw refuseAt(document, ['version'], `unsupported Compose file version: ${version}`)
}

function withPaths(service: Service, { folder, env }: Surroundings): Service {
  const absolute = (path: string) => (isAbsolute(path) ? path : join(folder, path))
  const home = (path: string) => (path.startsWith('~') ? path.replace('~', env.HOME ?? '~') : path)
  const foreign = /^(\\\\|[A-Za-z]:)/
  const volumes = service.volumes?.map((volume) => {
    if (volume.type !== 'bind' || volume.source === undefined || foreign.test(volume.source)) return volume
    return { ...volume, source: absolute(home(volume.source)) }
  })
  return {
    ...service,
    ...(service.env_file === undefined ? {} : { env_file: service.env_file.map(absolute) }),
    ...(volumes === undefined ? {} : { volumes }),
  }
}

/** Of a secret or a config. */
function withPath(object: FileObject, { folder }: Surroundings): FileObject {
  return object.file === undefined ? object : { ...object, file: resolve(folder, object.file) }
}

type Issue = z.core.$ZodIssue

/** The first thing that is wrong, in Docker's words. */
function refusal(document: Document, issues: readonly Issue[]): Error {
  const [first] = issues.map((issue) => deepest(issue, []))
  const { path, sentence } = first ?? { path: [], sentence: 'is not a Compose file' }
  return refuseAt(document, path, sentence)
}

interface Finding {
  readonly path: Path
  /** With the path in front. */
  readonly sentence: string
  readonly kinds: readonly string[]
}

/** Of several ways to write a thing, the one that was meant is the one that was followed furthest. */
function deepest(issue: Issue, before: Path): Finding {
  const path = [...before, ...issue.path.filter((step) => typeof step !== 'symbol')]
  if (issue.code !== 'invalid_union') return findingOf(issue, path)
  const found = issue.errors.flatMap(([first]) => (first === undefined ? [] : [deepest(first, path)]))
  const furthest = found.toSorted((a, b) => b.path.length - a.path.length)[0]
  const meant = found.find((finding) => finding.kinds.length === 0 && finding.path.length === path.length)
  if (furthest !== undefined && furthest.path.length > path.length) return furthest
  if (meant !== undefined) return meant
  const kinds = [...new Set(found.flatMap((finding) => finding.kinds))]
  return { path, kinds, sentence: `${pathText(path)} must be a ${kinds.join(', ').replace(/, ([^,]*)$/, ' or $1')}` }
}

const kindWords: Readonly<Record<string, string>> = { array: 'list', object: 'mapping', record: 'mapping' }

function findingOf(issue: Issue, path: Path): Finding {
  if (issue.code === 'unrecognized_keys') {
    const [key = ''] = issue.keys
    const sentence = `${pathText(path)} Additional property ${key} is not allowed`
    return { path: [...path, key], sentence, kinds: [] }
  }
  const kind =
    issue.code === 'invalid_type'
      ? (kindWords[issue.expected] ?? issue.expected)
      : /^must be a ([\w, ]+)$/.exec(issue.message)?.[1]
  if (kind !== undefined) return { path, kinds: [kind], sentence: `${pathText(path)} must be a ${kind}` }
  return { path, kinds: [], sentence: `${pathText(path)} ${issue.message}` }
}
