/** What the kernel of a machine does with the clients of a published port, by the changes that nft tells of: seen beside the agent, not by it. */
import type { Machine } from '../../e2e/machines.ts'
import { until } from '../../until.ts'

/** Of TCP port 8000, which the services of these figures publish. */
const chain = 'p_tcp_8000'

export class KernelWatch {
  private readonly machine: Machine
  private readonly waiting = new Set<(rule: string, atMs: number) => void>()
  private hears = false

  private constructor(machine: Machine) {
    this.machine = machine
    machine.begin('stdbuf -oL nft monitor rules', (line) => {
      const atMs = performance.now()
      this.hears = true
      if (!line.startsWith(`add rule inet grapevine ${chain} `)) return
      for (const heard of this.waiting) heard(line, atMs)
    })
  }

  /** Once it hears: a change that nobody hears would be waited for until the next one. */
  static async open(machine: Machine): Promise<KernelWatch> {
    const watch = new KernelWatch(machine)
    const change = 'add table ip heard; add chain ip heard here; add rule ip heard here accept; delete table ip heard'
    await until(
      async () => {
        await machine.ok(`nft '${change}'`)
        return watch.hears
      },
      { deadlineMs: 20_000, everyMs: 50, what: `nft monitor to hear changes on ${machine.name}` },
    )
    return watch
  }

  /** Endpoints in the kernel now. */
  async size(): Promise<number> {
    const { out } = await this.machine.run(`nft list chain inet grapevine ${chain}`)
    return new Set(out.match(/\b10\.255\.\d+\.\d+\b/g)).size
  }

  /** When the chain first leads somewhere, and to none of these addresses. */
  without(addresses: readonly string[]): Promise<number> {
    return new Promise((resolve) => {
      const heard = (rule: string, atMs: number) => {
        if (addresses.some((address) => new RegExp(`\\b${address.replaceAll('.', '\\.')}\\b`).test(rule))) return
        this.waiting.delete(heard)
        resolve(atMs)
      }
      this.waiting.add(heard)
    })
  }
}
