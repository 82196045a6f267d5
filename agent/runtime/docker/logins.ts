/**
 * The logins of this node for registries: Docker's client configuration of the agent's own user, read anew at each fetch, so that `docker login` there is
 * all it takes. What is read goes to the engine and nowhere else: no record, no log, no command line.
 */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { reasonOf } from '../../fault.ts'
import { type Login, placeOf, readClientConfig, readHelper, saysNone } from './login.ts'

/** 10 s: a helper asks a key ring or the cloud; one that asks a person would wait for ever. */
const helperMs = 10_000
/** 64 KB: tokens have a few. */
const helperBytesMax = 64 * 1024
/** As much of a helper's words as `service ps` is worth. */
const wordsMax = 200

export interface Found {
  readonly login?: Login
  /** Why there is none although there may be one: a sentence without what is secret. */
  readonly problem?: string
}

/** `folder`: of Docker's client configuration. Never rejects: whoever fetches without a login hears from the registry. */
export async function findLogin(folder: string, registry: string): Promise<Found> {
  const path = join(folder, 'config.json')
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return {}
    return { problem: `${path} could not be read: ${reasonOf(thrown)}` }
  }
  const config = readClientConfig(text)
  if (config === undefined) return { problem: `${path} is not as Docker's client writes it; its logins are not used` }
  const place = placeOf(config, registry)
  switch (place.kind) {
    case 'none':
      return {}
    case 'login':
      return { login: place.login }
    case 'wrong':
      return { problem: `in ${path} ${place.why}; it is not used` }
    case 'helper':
      return await askHelper(`docker-credential-${place.name}`, registry)
  }
}

/** The protocol of docker-credential-helpers: the registry on standard input, the login, or why there is none, on standard output. */
function askHelper(program: string, registry: string): Promise<Found> {
  const options = { timeout: helperMs, maxBuffer: helperBytesMax, killSignal: 'SIGKILL' } as const
  return new Promise((resolve) => {
    const child = execFile(program, ['get'], options, (error, output) => {
      if (error === null) {
        const login = readHelper(output, registry)
        return resolve(login === undefined ? { problem: `${program} printed no login for ${registry}` } : { login })
      }
      if (saysNone(output)) return resolve({})
      const { killed, code } = error
      const why =
        killed === true
          ? `it took more than ${helperMs / 1000} s`
          : code === 'ENOENT'
            ? 'it is not on the PATH'
            : output.trim().slice(0, wordsMax)
      resolve({ problem: `${program} gave no login for ${registry}: ${why || `it ended with ${String(code)}`}` })
    })
    // One that ends without reading has its reason, which the callback hears.
    child.stdin?.on('error', () => {})
    child.stdin?.end(registry)
  })
}
