/** Reads the Compose files that `-c` names, and what they name, and lays them over each other. The rules are in compose/; this reads and tells. */
import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { text as textOf } from 'node:stream/consumers'
import { Fault, fault, reasonOf } from '../../fault.ts'
import { type Call, list } from '../definition.ts'
import { withExternalNames } from './compose/externals.ts'
import { envFilesOf, load, type Source, withEnvironment } from './compose/load.ts'
import { type Merged, mergeFiles } from './compose/merge.ts'

interface Reading {
  readonly skipInterpolation: boolean
}

/** The stack as all files together say it, in its long form. */
export async function readCompose(call: Call, { skipInterpolation }: Reading): Promise<Merged> {
  const paths = list(call.options, 'composeFile').flatMap((paths) => paths.split(','))
  const [first] = paths
  if (first === undefined)
    throw fault(
      'invalid',
      'Specify a Compose file (with --compose-file)',
      'Give it with -c, or - for the standard input',
    )
  const sources = await Promise.all(paths.map((file) => sourceOf(call, file)))
  const folder = first === '-' ? process.cwd() : dirname(resolve(first))
  const loaded = sources.map((source) => load(source, { env: call.io.env, folder, skipInterpolation }))
  const files = await readAll(loaded.flatMap(envFilesOf))
  const { compose, ignored } = mergeFiles(loaded.map((file) => withEnvironment(file, files, call.io.env)))
  return { compose: withExternalNames(compose), ignored }
}

/** Content of each file, by path. */
export async function readAll(
  paths: readonly string[],
  encoding: 'utf8' | 'base64' = 'utf8',
): Promise<ReadonlyMap<string, string>> {
  const entries = await Promise.all(paths.map(async (path) => [path, await readText(path, encoding)] as const))
  return new Map(entries)
}

async function sourceOf({ io }: Call, file: string): Promise<Source> {
  return { file, text: file === '-' ? await textOf(io.input) : await readText(file, 'utf8') }
}

async function readText(path: string, encoding: 'utf8' | 'base64'): Promise<string> {
  try {
    return await readFile(path, encoding)
  } catch (error) {
    throw new Fault('invalid', `cannot read ${path}: ${reasonOf(error)}`, { cause: error })
  }
}
