/**
 * Ends a stream or connection of libp2p now, whatever state it is in.
 *
 * libp2p's `abort` writes a farewell and throws StreamStateError when the socket under it is closing, seen at 25 agents on an overloaded machine;
 * thrown in a timer that ends the process (ecosystem.md 2, trap 22). The second call finds the muxer ended and closes what is below it.
 */
export function abortNow(target: { abort(error: Error): void }, why: string): void {
  for (let turn = 0; turn < 2; turn++) {
    try {
      target.abort(new Error(why))
      return
    } catch {
      // Already on its way out: the next turn, or the socket's own end, finishes it.
    }
  }
}
