/**
 * Finds the handler of a method and path. Docker's paths carry a version (`/v1.50/services`) that is checked and taken off.
 *
 * The table is plain data, so that the contract test can hold it against swagger.yaml.
 */
import { type Fault, fault } from '../fault.ts'
import type { Handler } from './exchange.ts'

export interface Route {
  /** `*`: any. */
  readonly method: 'GET' | 'HEAD' | 'POST' | 'DELETE' | '*'
  /** `{x}` stands for one segment, `{x...}` for one or more. */
  readonly path: string
  readonly handle: Handler
}

export interface Match {
  readonly handle: Handler
  readonly params: Readonly<Record<string, string>>
  /** Path without version. */
  readonly path: string
}

/** The version of swagger.yaml that answers are checked against. */
export const apiVersion = '1.56'
/** Docker dropped older ones in release 25. */
export const apiVersionMin = '1.24'

export type Router = (method: string, path: string) => Match | Fault

/** Compiles a table. The first route that fits wins. */
export function createRouter(table: readonly Route[]): Router {
  const compiled = table.map((route) => ({ ...route, pattern: compile(route.path) }))
  return (method, versioned) => {
    const path = withoutVersion(versioned)
    if (typeof path !== 'string') return path
    let known = false
    for (const route of compiled) {
      const groups = route.pattern.exec(path)?.groups
      if (groups === undefined) continue
      known = true
      if (route.method !== '*' && route.method !== method) continue
      const params = decode(groups)
      return params === undefined ? fault('invalid', 'the path is not valid') : { handle: route.handle, params, path }
    }
    return known ? fault('not-found', `${method} is not allowed on ${path}`) : fault('not-found', 'page not found')
  }
}

function compile(path: string): RegExp {
  const source = path
    .replaceAll('.', '\\.')
    .replace(/\{(\w+)(\\\.\\\.\\\.)?\}/g, (_all, name: string, rest?: string) =>
      rest === undefined ? `(?<${name}>[^/]+)` : `(?<${name}>.+)`,
    )
  // The empty group makes `groups` an object for routes without parameters too.
  return new RegExp(`^${source}(?<_>)/?$`)
}

function withoutVersion(path: string): string | Fault {
  const match = /^\/v(\d{1,4})\.(\d{1,4})(\/.*)$/.exec(path)
  if (match === null) return path
  const version = `${match[1]}.${match[2]}`
  if (match[1] !== '1' || Number(match[2]) > minor(apiVersion)) {
    return fault('invalid', `client version ${version} is too new. Maximum supported API version is ${apiVersion}`)
  }
  if (Number(match[2]) < minor(apiVersionMin)) {
    return fault('invalid', `client version ${version} is too old. Minimum supported API version is ${apiVersionMin}`)
  }
  return match[3] ?? '/'
}

function minor(version: string): number {
  return Number(version.split('.')[1])
}

function decode(groups: Readonly<Record<string, string>>): Record<string, string> | undefined {
  try {
    return Object.fromEntries(Object.entries(groups).map(([name, value]) => [name, decodeURIComponent(value)]))
  } catch {
    // URIError: a stray % in the path. The caller answers 400.
    return undefined
  }
}
