/** `vine service create`: reads the files that flags name, posts the spec, prints the id and waits. */
import { readFile } from 'node:fs/promises'
import { reasonOf } from '../../fault.ts'
import { type Call, list, on } from '../definition.ts'
import { usage } from '../usage.ts'
import { createSpec, type Surroundings } from './create-spec.ts'
import { converge } from './progress.ts'

export async function create(call: Call): Promise<number> {
  const [image = '', ...args] = call.args
  const spec = createSpec(image, args, call.options, await surroundings(call))
  const made = await call.api.post<{ readonly ID: string; readonly Warnings?: readonly string[] }>(
    '/services/create',
    spec,
  )
  call.warn(made.Warnings)
  call.io.out.write(`${made.ID}\n`)
  return on(call.options, 'detach') ? 0 : converge(call, made.ID)
}

/** The environment and the directory here, and the files that `--env-file` names. */
export async function surroundings(call: Call): Promise<Surroundings> {
  const files = new Map<string, string>()
  for (const path of list(call.options, 'envFile')) {
    try {
      files.set(path, await readFile(path, 'utf8'))
    } catch (error) {
      throw usage(`cannot read --env-file ${path}: ${reasonOf(error)}`)
    }
  }
  return { env: call.io.env, directory: process.cwd(), files }
}
