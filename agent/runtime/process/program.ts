/**
 * Decides which program of this host a task runs: the image's name is looked up on the operator's PATH (design.md 9).
 *
 * Registry, tag and digest are dropped, since there is one version of a program on a host. `command` (Docker's entrypoint) takes the
 * image's place, as in Docker. What is found is always an absolute path; no shell ever reads a name.
 */
import { accessSync, constants, statSync } from 'node:fs'
import { isAbsolute, join, resolve } from 'node:path'
import { type Fault, fault } from '../../fault.ts'

/** What a plan says about its program. */
export interface Wish {
  readonly image: string
  readonly command: readonly string[]
  readonly args: readonly string[]
  /** A relative path is looked up here. */
  readonly dir: string
  readonly path: string
}

/** The program's absolute path, then its arguments. Throws a Fault: 'invalid' or 'program-missing'. */
export function argvOf(wish: Wish): readonly [string, ...string[]] {
  const [first, ...rest] = wish.command.length > 0 ? wish.command : [programName(wish.image)]
  if (first === undefined || first === '') throw fault('invalid', `Image "${wish.image}" names no program`)
  const found = lookUp(first, wish.path, wish.dir)
  if (found === undefined) throw programMissing(first)
  return [found, ...rest, ...wish.args]
}

/** `docker.io/library/busybox:1.36@sha256:…` is busybox; an absolute path stands for itself. '' when nothing is left. */
export function programName(image: string): string {
  if (isAbsolute(image)) return image
  const [undigested = ''] = image.split('@')
  const [name = ''] = undigested.slice(undigested.lastIndexOf('/') + 1).split(':')
  return name
}

/** The sentence for a program that is not here, or undefined. */
export function missingSentence(image: string, path: string): string | undefined {
  const name = programName(image)
  if (name === '') return `Image "${image}" names no program`
  return lookUp(name, path, '/') === undefined ? programMissing(name).message : undefined
}

function programMissing(name: string): Fault {
  return name.includes('/')
    ? fault('program-missing', `Program ${name} does not exist or may not be run here`, `Install it as ${name}`)
    : fault('program-missing', `Program ${name} is not on this node's PATH`, `Install ${name}, or name it by its path`)
}

function lookUp(name: string, path: string, dir: string): string | undefined {
  if (name.includes('/')) return isProgram(resolve(dir, name)) ? resolve(dir, name) : undefined
  for (const folder of path.split(':')) {
    if (folder === '' || !isAbsolute(folder)) continue
    const candidate = join(folder, name)
    if (isProgram(candidate)) return candidate
  }
  return undefined
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    // Absent or not permitted: to us it is no program.
    return false
  }
}

/**
 * The tools that the runtime itself needs: setsid (util-linux or busybox) always; the others only for users and private mounts. Looked up
 * apart from the tasks' PATH, which an operator may have narrowed.
 */
export function hostTool(name: 'sh' | 'setsid' | 'env' | 'setpriv' | 'unshare' | 'nsenter'): string | undefined {
  return lookUp(name, '/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin', '/')
}

/** As `hostTool`; a missing one is a Fault that says what it is needed for. */
export function requireTool(name: Parameters<typeof hostTool>[0], purpose: string): string {
  const found = hostTool(name)
  if (found === undefined)
    throw fault('unsupported', `This node lacks ${name}, needed ${purpose}`, `Install ${name} (util-linux)`)
  return found
}
