/**
 * Writes the `run` file that the shim reads to become a task's program: environment, directory, then one exec.
 *
 * A file, and not arguments of the shim, so that neither `ps` nor `pkill -f` takes the shim for the program, and no secret of the environment
 * stands in a command line. Nothing in it is ever split or expanded: each word stands in single quotes, in which a shell reads every byte but
 * the quote as it is (POSIX, Shell Command Language 2.2.2).
 */

export interface Launch {
  /** Absolute program, then its arguments. */
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** Absolute. */
  readonly dir: string
  /** Absolute paths of the tools that change nothing but session and environment. */
  readonly setsid: string
  readonly envTool: string
  /** Words put before the program that change who it is: setpriv, unshare. Run before the task's LD_* take effect. */
  readonly prefix: readonly string[]
}

/** The text of the file. */
export function runScript(launch: Launch): string {
  const names = Object.keys(launch.env).sort()
  const exported = names.filter(isPlain)
  const given = names.filter((name) => !isPlain(name)).map((name) => `${name}=${launch.env[name]}`)
  const unset = SHELL_SETS.flatMap((name) => ['-u', name])
  const words = [launch.setsid, ...launch.prefix, launch.envTool, ...unset, ...given, ...launch.argv]
  return [
    `cd ${quote(launch.dir)} || exit 126`,
    ...exported.map((name) => `export ${name}=${quote(launch.env[name] ?? '')}`),
    `exec ${words.map(quote).join(' ')}`,
    '',
  ].join('\n')
}

function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`
}

/** What dash and bash put into the environment of what they start, on their own account. */
const SHELL_SETS = ['PWD', 'OLDPWD', 'SHLVL', '_']

/**
 * Names that mean something to the shell or the loader while it gets the program going. They go by env(1), as do names that a shell cannot
 * hold at all (`discovery.type`), which dash would drop. Those few are readable by `ps` for the millisecond until the program's exec.
 */
const MEANT_FOR_THE_SHELL = new Set([
  ...SHELL_SETS,
  ...['CDPATH', 'ENV', 'IFS', 'LINENO', 'MAIL', 'MAILCHECK', 'MAILPATH', 'OPTARG', 'OPTERR', 'OPTIND'],
  ...['EUID', 'FUNCNAME', 'GROUPS', 'HOSTNAME', 'POSIXLY_CORRECT', 'PPID', 'PS1', 'PS2', 'PS3', 'PS4'],
  ...[
    'RANDOM',
    'SECONDS',
    'SHELLOPTS',
    'TMOUT',
    'UID',
    'DIRSTACK',
    'HISTCMD',
    'SRANDOM',
    'EPOCHSECONDS',
    'EPOCHREALTIME',
  ],
])

function isPlain(name: string): boolean {
  return (
    /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !MEANT_FOR_THE_SHELL.has(name) && !/^(LD_|BASH|GLIBC_|MALLOC_)/.test(name)
  )
}
