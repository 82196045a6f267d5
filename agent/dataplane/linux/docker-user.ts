/**
 * Lets the packets of our bridges pass the firewall of a Docker engine on this machine, which drops all that is forwarded and not its own (FORWARD policy
 * DROP). DOCKER-USER is the chain that Docker keeps for others, looks at first, and never flushes (its manual, "Packet filtering and firewalls").
 *
 * Two rules by link group, so that exactly the bridges of this agent pass; what may go where among them is still our own table's word. Looked for again
 * and again, since an engine may start, or somebody flush, at any time.
 */
import type { Cancel, Clock, Log } from '../../world.ts'
import { linkGroup } from './names.ts'
import { isInstalled } from './probe.ts'
import { run } from './tools.ts'

/** 5 s: as long as what an engine that starts beside us may cut off. A look is one start of iptables and one of ip6tables. */
const lookMs = 5_000

export interface Passage {
  /** Why packets of our networks may not be forwarded here, as half a sentence. */
  lack(): string | undefined
  /** Looks no more; resolves when no look is under way, so that nothing is made after it. The rules stay: tasks may. */
  close(): Promise<void>
}

type Tables = 'iptables' | 'ip6tables'

/** Resolves after the first look. */
export async function createPassage(mark: string, { clock, log }: { clock: Clock; log: Log }): Promise<Passage> {
  let lack: string | undefined
  let isClosed = false
  let cancel: Cancel = () => {}

  async function look(): Promise<void> {
    const found = (await ensure('iptables', mark)) ?? (await ensure('ip6tables', mark))
    if (found !== undefined && found !== lack)
      log.warn('packets of tasks may be dropped by the firewall of this machine', { reason: found })
    lack = found
    if (!isClosed) cancel = clock.after(lookMs, () => void begin())
  }

  let looking: Promise<void> = Promise.resolve()
  function begin(): Promise<void> {
    looking = look()
    return looking
  }

  if (isInstalled('iptables')) await begin()
  return {
    lack: () => lack,
    async close() {
      isClosed = true
      cancel()
      await looking
    },
  }
}

/** Words of our rules, after the chain. */
function rulesOf(mark: string): readonly (readonly string[])[] {
  const group = `0x${linkGroup(mark).toString(16)}`
  return ['--src-group', '--dst-group'].map((side) => [
    ...['-m', 'devgroup', side, group],
    ...['-m', 'comment', '--comment', `grapevine:${mark}`, '-j', 'ACCEPT'],
  ])
}

async function ensure(tables: Tables, mark: string): Promise<string | undefined> {
  const all = await listing(tables)
  if (!/^-N DOCKER-USER$/m.test(all)) return dropping(tables, all)
  try {
    for (const rule of rulesOf(mark)) if (!isIn(all, rule)) await run(tables, ['-w', '5', '-I', 'DOCKER-USER', ...rule])
    return undefined
  } catch (thrown) {
    return `the rules that let them pass Docker's firewall cannot be made: ${(thrown as Error).message}`
  }
}

function isIn(all: string, [, , side = '', group = '']: readonly string[]): boolean {
  return all.split('\n').some((rule) => rule.startsWith('-A DOCKER-USER ') && rule.includes(`${side} ${group} `))
}

/** Without Docker a policy of DROP is its owner's will: told, not changed. */
function dropping(tables: Tables, all: string): string | undefined {
  if (!/^-P FORWARD DROP$/m.test(all)) return undefined
  return `${tables} drops what is forwarded (policy DROP), and there is no chain DOCKER-USER`
}

/** All chains and rules of the filter table, from one start of the program; nothing where there is no such program. */
async function listing(tables: Tables): Promise<string> {
  return await run(tables, ['-w', '5', '-S']).catch(() => '')
}

/** `iptables` or `ip6tables`, and the words of a rule, for each that is there. */
export async function passageRules(mark: string): Promise<readonly string[]> {
  if (!isInstalled('iptables')) return []
  const found: string[] = []
  for (const tables of ['iptables', 'ip6tables'] as const) {
    const all = await listing(tables)
    for (const rule of rulesOf(mark)) if (isIn(all, rule)) found.push([tables, ...rule].join(' '))
  }
  return found
}

export async function removePassageRule(name: string): Promise<void> {
  const [tables, ...rule] = name.split(' ')
  await run(tables as Tables, ['-w', '5', '-D', 'DOCKER-USER', ...rule])
}
