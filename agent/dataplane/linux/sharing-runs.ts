/** Work that is done anew for whoever asks, one run at a time: who asks during a run shares the next with all others who do. */

export interface SharingRuns {
  /** Resolves when a run that began after this call has ended; rejects as it did. */
  (): Promise<void>
  /** Resolves when nothing is under way; never rejects. */
  ended(): Promise<void>
}

export function sharingRuns(run: () => Promise<void>): SharingRuns {
  let running: Promise<void> | undefined
  let next: Promise<void> | undefined

  function ask(): Promise<void> {
    if (running === undefined) {
      running = run().finally(() => {
        running = undefined
      })
      return running
    }
    next ??= running
      .catch(() => {})
      .then(() => {
        next = undefined
        return ask()
      })
    return next
  }

  return Object.assign(ask, {
    async ended() {
      await running?.catch(() => {})
    },
  })
}
