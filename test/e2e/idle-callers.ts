/**
 * Connections to echo servers that stay open and say nothing until they are told to, for linux-five.long.test.ts.
 *
 *   node idle-callers.ts LISTEN COUNT HOST:PORT…    COUNT connections to each; prints "open" when each has had one answer.
 *
 * A request to http://LISTEN lets every connection say one word and answers with how many were answered, and how many there are.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type Socket } from 'node:net'

/** Until a connection counts as unanswered: the kernel sends a lost packet again after 0.2, 0.6, 1.4 and 3 s. */
const silenceMs = 4_000
const [listen = '', count = '', ...places] = process.argv.slice(2)
const sockets = await Promise.all(places.flatMap((place) => Array.from({ length: Number(count) }, () => open(place))))
const server = createServer(async (_, response) => {
  const answered = await Promise.all(sockets.map(echoes))
  response.end(`${answered.filter(Boolean).length} of ${sockets.length}`)
})
const [host, port] = listen.split(':')
server.listen({ host, port: Number(port) }, () => process.stdout.write('open\n'))

async function open(place: string): Promise<Socket> {
  const [at, to] = place.split(':')
  const socket = connect({ host: at ?? '', port: Number(to) })
  socket.on('error', () => {})
  if (!(await echoes(socket))) throw new Error(`no answer from ${place}`)
  return socket
}

async function echoes(socket: Socket): Promise<boolean> {
  if (socket.destroyed) return false
  socket.write('a')
  const answered = once(socket, 'data', { signal: AbortSignal.timeout(silenceMs) })
  return answered.then(
    () => true,
    () => false,
  )
}
