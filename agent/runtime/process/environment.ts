/**
 * Decides a task's environment: PATH, HOME, LANG and TZ of this node unless the plan sets them, and the plan's own. Nothing else, and never
 * the agent's: that one may hold tokens, and NODE_OPTIONS or LD_PRELOAD of ours must not reach a stranger (design.md 9).
 */
import { fault } from '../../fault.ts'

/** What this node gives to every task. */
export interface Ambient {
  readonly path: string
  readonly lang: string
  readonly tz: string | undefined
}

/** The environment of a task whose user has this home directory. Throws a Fault 'invalid' for names and values no system takes. */
export function environmentOf(
  env: Readonly<Record<string, string>>,
  home: string,
  ambient: Ambient,
): Readonly<Record<string, string>> {
  for (const [name, value] of Object.entries(env)) {
    if (name === '' || name.includes('=') || name.includes('\0')) {
      throw fault('invalid', `"${name}" cannot be the name of an environment variable`)
    }
    if (value.includes('\0')) throw fault('invalid', `Environment variable ${name} holds a zero byte`)
  }
  return {
    PATH: ambient.path,
    HOME: home,
    LANG: ambient.lang,
    ...(ambient.tz === undefined ? {} : { TZ: ambient.tz }),
    ...env,
  }
}

/** Reads this node's part from the agent's environment, once. */
export function ambientOf(env: Readonly<Record<string, string | undefined>>, path: string | undefined): Ambient {
  return { path: path ?? operatorPath(env.PATH ?? ''), lang: env.LANG ?? 'C.UTF-8', tz: env.TZ }
}

/**
 * The PATH of whoever started the agent: without what npm puts before it, so that `node` is the host's and not the one we brought along,
 * and without relative folders, which would mean something else to each task.
 */
export function operatorPath(path: string): string {
  const folders = path
    .split(':')
    .filter((folder) => folder.startsWith('/') && !/\/(node_modules\/\.bin|node-gyp-bin)\/?$/.test(folder))
  return folders.length > 0 ? folders.join(':') : '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
}
