/**
 * Both ends of small conversations, for linux-firewall.long.test.ts: who serves says its name and who asked.
 *
 *   node peer.ts serve NAME PORT           tcp and udp on every address; says "up"
 *   node peer.ts ask HOST PORT [FROM]      one connection, from a port of its own choice or FROM; prints the answer, or why there is none
 *   node peer.ts talk HOST PORT            a datagram from one socket every 50 ms; prints each answer
 */
import { createSocket } from 'node:dgram'
import { connect, createServer, isIP } from 'node:net'

/** Until a connection counts as unanswered. */
const silenceMs = 3_000
const [verb, first = '', second = '', third] = process.argv.slice(2)
if (verb === 'serve') serve(first, Number(second))
else if (verb === 'ask') ask(first, Number(second), third === undefined ? undefined : Number(third))
else talk(first, Number(second))

function serve(name: string, port: number): void {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.write(`${name} ${plain(socket.remoteAddress)} ${socket.remotePort}\n`)
    socket.on('data', () => socket.write(`${name} again\n`))
  })
  const datagrams = createSocket('udp6', (_, from) =>
    datagrams.send(`${name} ${plain(from.address)}`, from.port, from.address),
  )
  datagrams.bind(port)
  server.listen(port, '::', () => process.stdout.write('up\n'))
}

/** IPv4 clients of a socket for both kinds. */
function plain(address = ''): string {
  return address.replace(/^::ffff:/, '')
}

function ask(host: string, port: number, localPort: number | undefined): void {
  const socket = connect({ host, port, timeout: silenceMs, ...(localPort === undefined ? {} : { localPort }) })
  socket.once('timeout', () => end('silence'))
  socket.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? 'error'))
  // A second round, so that packets of an established connection pass as well.
  socket.once('data', (answer) => {
    socket.write('more')
    socket.once('data', () => end(String(answer).trim()))
  })

  function end(said: string): void {
    process.stdout.write(`${said}\n`)
    // A reset, so that the port is free for the next.
    socket.resetAndDestroy()
    process.exit()
  }
}

function talk(host: string, port: number): void {
  const socket = createSocket(isIP(host) === 6 ? 'udp6' : 'udp4', (answer) => process.stdout.write(`${answer}\n`))
  socket.on('error', () => {})
  socket.connect(port, host, () => setInterval(() => socket.send('?', () => {}), 50))
}
