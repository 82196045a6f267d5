/**
 * Turns a plan into what is written to disk and started: program, environment, directory, user, namespace, all resolved and checked. Reads
 * the host, changes nothing; whatever is wrong with a plan is a Fault here, before anything exists.
 */
import { readFileSync, statSync } from 'node:fs'
import { homedir, userInfo } from 'node:os'
import { fault } from '../../fault.ts'
import type { TaskPlan } from '../../world.ts'
import { type Ambient, environmentOf } from './environment.ts'
import { type Privacy, programPrefix } from './namespace.ts'
import { signalNumber } from './proc.ts'
import { argvOf, requireTool } from './program.ts'
import { runScript } from './script.ts'
import type { Kept } from './state.ts'
import { type Identity, identityOf } from './user.ts'

export interface Prepared {
  readonly kept: Kept
  /** Text of the `run` file. */
  readonly run: string
  readonly owner: { readonly uid: number; readonly gid: number }
}

/** Who the agent runs as. */
export interface Self {
  readonly uid: number
  readonly gid: number
}

export function prepare(
  plan: TaskPlan,
  host: { ambient: Ambient; privacy: Privacy; self: Self; boot: string },
): Prepared {
  const { ambient, privacy, self, boot } = host
  // A task without a directory starts in `/`, as in Docker and systemd.
  const dir = plan.dir ?? '/'
  if (!dir.startsWith('/')) throw fault('invalid', `Directory "${dir}" is not an absolute path`)
  if (!statSync(dir, { throwIfNoEntry: false })?.isDirectory()) {
    throw fault(
      'invalid',
      `Directory ${dir} does not exist on this node`,
      `Create ${dir} there, or leave out --workdir`,
    )
  }
  if (plan.stop.signal !== undefined) signalNumber(plan.stop.signal)
  const user = plan.user === undefined ? undefined : identityFor(plan.user, self)
  const env = environmentOf(plan.env, user?.home ?? ownHome(), ambient)
  const argv = argvOf({
    image: plan.image,
    command: plan.command,
    args: plan.args,
    dir,
    path: env.PATH ?? ambient.path,
  })
  if (argv.some((word) => word.includes('\0'))) throw fault('invalid', 'An argument holds a zero byte')
  const userPrefix = user === undefined || isSelf(user, self) ? [] : setpriv(user)
  const run = runScript({
    argv,
    env,
    dir,
    setsid: requireTool('setsid', 'to start a task'),
    envTool: requireTool('env', 'to start a task'),
    prefix: [...userPrefix, ...programPrefix(privacy, self)],
  })
  return { kept: { plan, privacy, env, dir, userPrefix, boot }, run, owner: user ?? self }
}

function identityFor(user: string, self: Self): Identity {
  const identity = identityOf(user, {
    passwd: readFileSync('/etc/passwd', 'utf8'),
    group: readFileSync('/etc/group', 'utf8'),
  })
  if (self.uid !== 0 && !isSelf(identity, self)) {
    throw fault('forbidden', `Only an agent that runs as root can run a task as ${user}`, 'Run the agent as root there')
  }
  return identity
}

function isSelf(user: Identity, self: Self): boolean {
  return user.uid === self.uid && user.gid === self.gid
}

function setpriv(user: Identity): readonly string[] {
  const groups = user.groups.length > 0 ? ['--groups', user.groups.join(',')] : ['--clear-groups']
  return [
    requireTool('setpriv', 'to run a task as another user'),
    '--reuid',
    String(user.uid),
    '--regid',
    String(user.gid),
    ...groups,
  ]
}

/** Of the agent's user; in a container that user may have a number and no name, and there HOME says it. */
function ownHome(): string {
  try {
    return userInfo().homedir
  } catch {
    return homedir()
  }
}
