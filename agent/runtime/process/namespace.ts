/**
 * Decides how a task gets an /etc/hosts of its own, where this host allows it: in a mount namespace, into which the shim binds the file.
 *
 * Root takes the namespace alone. Without root it needs a user namespace too, in which the shim is mapped to root so that it may mount, and the
 * program back to the agent's own user, as which it should see itself. Propagation is `slave`: what the host mounts later reaches the task (and
 * what it unmounts is let go), nothing of the task reaches the host. See unshare(1), user_namespaces(7). A network namespace that the data plane made for
 * the task is entered before, by root.
 */
import { execFile } from 'node:child_process'
import { hostTool, requireTool } from './program.ts'

/** How a private mount namespace is to be had; 'none': not at all. */
export type Privacy = 'root' | 'user' | 'none'

/** Words before the shim. Busybox's unshare knows these flags too, in the form for root. `netns`: path of the task's network. */
export function shimPrefix(privacy: Privacy, netns?: string): readonly string[] {
  const network =
    netns === undefined ? [] : [requireTool('nsenter', "to enter a task's network"), `--net=${netns}`, '--']
  const unshare = hostTool('unshare')
  if (privacy === 'none' || unshare === undefined) return network
  return [...network, unshare, privacy === 'root' ? '-m' : '-Urm', '--propagation', 'slave']
}

/** Words before the program, inside. */
export function programPrefix(
  privacy: Privacy,
  self: { readonly uid: number; readonly gid: number },
): readonly string[] {
  const unshare = hostTool('unshare')
  if (privacy !== 'user' || unshare === undefined) return []
  return [unshare, '-U', `--map-user=${self.uid}`, `--map-group=${self.gid}`]
}

/** Words that lead another program into what the shim of this pid lives in; into its network as it has it, whatever became of the path. */
export function enterPrefix(privacy: Privacy, shim: number, netns?: string): readonly string[] {
  const nsenter = hostTool('nsenter')
  const network = netns === undefined ? [] : ['-n']
  const mounts = privacy === 'none' ? [] : ['-m']
  if (nsenter === undefined || (mounts.length === 0 && network.length === 0)) return []
  const users = privacy === 'user' ? ['-U', '--preserve-credentials'] : []
  return [nsenter, '-t', String(shim), ...users, ...network, ...mounts, '--']
}

/** Tries it once, whole: some kernels and containers forbid one part or another, and only trying tells. Takes a few milliseconds. */
export async function probePrivacy(self: { readonly uid: number; readonly gid: number }): Promise<Privacy> {
  const privacy = self.uid === 0 ? 'root' : 'user'
  const prefix = shimPrefix(privacy)
  const [program, ...words] = [
    ...prefix,
    hostTool('sh') ?? '/bin/sh',
    '-c',
    TRIAL,
    'sh',
    ...programPrefix(privacy, self),
    'env',
  ]
  if (prefix.length === 0 || hostTool('nsenter') === undefined || program === undefined) return 'none'
  return await new Promise((resolve) => {
    execFile(program, words, { env: { PATH: TOOLS_PATH }, timeout: TRIAL_MS }, (error) =>
      resolve(error === null ? privacy : 'none'),
    )
  })
}

/** Where the shim finds mount. */
export const TOOLS_PATH = '/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin'

const TRIAL = 'mount --bind /etc/hosts /etc/hosts && exec "$@"'

/** 5 s: such a start takes 10 ms; a host that is that busy does without. */
const TRIAL_MS = 5_000
