/**
 * How an agent ends: whoever says so first decides, and a second signal ends the process at once.
 */
import type { Log } from '../world.ts'

export interface Ending {
  readonly code: number
  /** 'leave': drain, say "left". 'back-soon': leave the tasks running and say so. 'give-way': to another agent of the same id. */
  readonly how: 'leave' | 'back-soon' | 'give-way'
}

export interface EndingDesk {
  /** Resolves to the first word. */
  readonly decided: Promise<Ending>
  isDecided(): boolean
  decide(ending: Ending): void
  /** Gossip, or members that refuse it, told this node that it was removed. What it ran now runs elsewhere. */
  onRemoved(): void
  onDuplicate(yields: boolean): void
  /** No more signals are awaited. */
  close(): void
}

/** As a shell reports an interrupted program. */
const interruptedCode = 130
const removedCode = 3

export function createEndingDesk(
  onInterrupt: (listener: (signal: 'SIGINT' | 'SIGTERM') => void) => () => void,
  log: Log,
): EndingDesk {
  let settle: (ending: Ending) => void = () => {}
  let isDecided = false
  const decided = new Promise<Ending>((resolve) => {
    settle = resolve
  })
  function decide(ending: Ending): void {
    isDecided = true
    settle(ending)
  }
  const undo = onInterrupt(() => {
    if (isDecided) process.exit(interruptedCode)
    decide({ code: 0, how: 'leave' })
  })
  let isRemoved = false
  return {
    decided,
    isDecided: () => isDecided,
    decide,
    onRemoved() {
      if (isRemoved) return
      isRemoved = true
      log.error('This node was removed from the cluster; it ends. To take it in again, give it a new data directory')
      decide({ code: removedCode, how: 'leave' })
    },
    onDuplicate(yields) {
      if (!yields) return
      log.error('This agent ends: its data directory is a copy, and the node it was copied from runs elsewhere')
      decide({ code: 1, how: 'give-way' })
    },
    close: undo,
  }
}
