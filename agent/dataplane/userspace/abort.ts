/**
 * Ends a connection at once, by a reset, so that its other end does not take what it has got for whole.
 *
 * libuv refuses a reset while a shutdown is under way (uv_tcp_close_reset, EINVAL), and Node has let go of the handle by then: the descriptor stays
 * open as long as the process. What was written to a socket that is ending is whole, so that one is closed when it is sent.
 */
import type { Socket } from 'node:net'

/** 5 s for what was written before the end: who does not read it by then loses it. */
const lingerMs = 5_000

export function abort(socket: Socket): void {
  if (!socket.writableEnded || socket.writableFinished) {
    socket.resetAndDestroy()
    return
  }
  const late = setTimeout(() => socket.destroy(), lingerMs)
  socket.once('finish', () => socket.destroy())
  socket.once('close', () => clearTimeout(late))
}
