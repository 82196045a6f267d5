/**
 * Decides with which login an image is fetched, from the file that `docker login` writes. Pure.
 *
 * As Docker's client does (docker/cli cli/config/configfile, cli/config/credentials) and names images (distribution/reference): a helper for the
 * registry, else the helper for all, else what is in the file. What is secret is in no sentence made here.
 */
import { z } from 'zod'

/** Docker's AuthConfig, for the header X-Registry-Auth. */
export interface Login {
  readonly serveraddress: string
  readonly username?: string | undefined
  readonly password?: string | undefined
  readonly identitytoken?: string | undefined
  readonly registrytoken?: string | undefined
}

/** Docker's own registry, as its client calls it. */
const dockerHub = 'https://index.docker.io/v1/'

/** Of the name of an image, as logins are kept by. The first part names a host when it looks like one: a dot, a port, capitals, or localhost. */
export function registryOf(image: string): string {
  const slash = image.indexOf('/')
  const first = image.slice(0, Math.max(slash, 0))
  const isHost = /[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase()
  return !isHost || first === 'docker.io' || first === 'index.docker.io' ? dockerHub : first
}

const textMap = z.record(z.string(), z.string())
const configSchema = z.looseObject({
  auths: z.record(z.string(), z.unknown()).nullish(),
  credHelpers: textMap.nullish(),
  credsStore: z.string().nullish(),
})
export type ClientConfig = z.infer<typeof configSchema>

/** Undefined: it is not as Docker's client writes it. Why is not said, since the reason of a parser quotes what it read. */
export function readClientConfig(text: string): ClientConfig | undefined {
  const config = configSchema.safeParse(parsed(text))
  return config.success ? config.data : undefined
}

export type Place =
  | { readonly kind: 'none' }
  | { readonly kind: 'login'; readonly login: Login }
  /** Whatever follows `docker-credential-` in the name of the program. */
  | { readonly kind: 'helper'; readonly name: string }
  | { readonly kind: 'wrong'; readonly why: string }

/** Where the login for a registry is. */
export function placeOf({ auths, credHelpers, credsStore }: ClientConfig, registry: string): Place {
  const name = credHelpers?.[registry] ?? credsStore ?? ''
  // A program on the PATH, never a path.
  if (name !== '') return /^[\w.-]{1,64}$/.test(name) ? { kind: 'helper', name } : wrong('the name of its helper')
  const entry = auths?.[registry] ?? Object.entries(auths ?? {}).find(([key]) => hostOf(key) === registry)?.[1]
  return entry === undefined ? { kind: 'none' } : readEntry(entry, registry)
}

/** Old clients kept logins by whole addresses. */
function hostOf(key: string): string {
  return key.replace(/^https?:\/\//, '').split('/')[0] ?? ''
}

const entrySchema = z.looseObject({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  identitytoken: z.string().optional(),
  registrytoken: z.string().optional(),
})

function readEntry(entry: unknown, registry: string): Place {
  const { data } = entrySchema.safeParse(entry)
  if (data === undefined) return wrong(`its entry for ${registry}`)
  const { identitytoken, registrytoken } = data
  const named = data.auth ? decoded(data.auth) : { username: data.username, password: data.password }
  if (named === undefined) return wrong(`"auth" of its entry for ${registry}`)
  if (!named.username && !identitytoken && !registrytoken) return { kind: 'none' }
  return { kind: 'login', login: { serveraddress: registry, ...named, identitytoken, registrytoken } }
}

function wrong(what: string): Place {
  return { kind: 'wrong', why: `${what} is not as Docker's client writes it` }
}

/** Base64 of `user:password`. */
function decoded(auth: string): { readonly username: string; readonly password: string } | undefined {
  const [, username, password] = /^([^:]+):(.*)$/s.exec(Buffer.from(auth, 'base64').toString('utf8')) ?? []
  if (username === undefined || password === undefined) return undefined
  return { username, password: password.replace(/\0+$/, '') }
}

const helperSchema = z.looseObject({ Username: z.string(), Secret: z.string() })

/** What a helper printed; undefined: it is no login. A token is marked by the name of its user. */
export function readHelper(output: string, registry: string): Login | undefined {
  const { data } = helperSchema.safeParse(parsed(output))
  if (data === undefined) return undefined
  const { Username: username, Secret: secret } = data
  if (username === '<token>') return { serveraddress: registry, identitytoken: secret }
  return { serveraddress: registry, username, password: secret }
}

/** What helpers say when they have no login, which is no failure (docker-credential-helpers, credentials/error.go). */
export function saysNone(output: string): boolean {
  return output.includes('credentials not found')
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // Cut short, or somebody changed it.
    return undefined
  }
}
