// When a stream of yamux tells the other end that it may send more: the library's own streams, with our change, fed with frames as the wire brings them.
import type { Logger } from '@libp2p/interface'
import { StreamState, YamuxStream, type YamuxStreamInit } from '@libp2p/yamux/stream'
import { expect, test } from 'vitest'
import { muxer } from '../../../agent/transport/muxer.ts'

const windowBytes = 256 * 1024
/** Of the wire (yamux spec): kinds of frames, and the flag that accepts a stream. */
const [data, windowUpdate, ack] = [0, 1, 2]

type Sent = Parameters<YamuxStreamInit['sendFrame']>[0]

function open(state: StreamState) {
  expect(muxer()).toBeTypeOf('function')
  const sent: Sent[] = []
  const log: Logger = Object.assign(() => {}, { trace() {}, error() {}, enabled: false, newScope: () => log })
  const stream = new YamuxStream({
    ...{
      id: '1',
      streamId: 1,
      direction: 'inbound',
      protocol: '/test',
      log,
      state,
      maxReadBufferLength: windowBytes * 4,
    },
    getRTT: () => -1,
    sendFrame(header) {
      sent.push(header)
      return true
    },
  })
  let read = 0
  stream.addEventListener('message', ({ data: chunk }) => {
    read += chunk.byteLength
  })
  const receive = (bytes: number) =>
    stream.handleData({
      header: { type: data, flag: 0, streamID: 1, length: bytes },
      data: Buffer.alloc(bytes) as never,
    })
  return { sent, receive, read: () => read }
}

test('small messages are not answered one by one; when half of the window is used all of it is granted again', () => {
  const { sent, receive, read } = open(StreamState.Established)
  for (let i = 0; i < 127; i++) receive(1024)
  expect([sent, read()]).toEqual([[], 127 * 1024])
  receive(1024)
  expect(sent).toEqual([{ type: windowUpdate, flag: 0, streamID: 1, length: windowBytes / 2 }])
  receive(1024)
  expect(sent).toHaveLength(1)
})

test('a sender that used its whole window at once is given another at once', () => {
  const { sent, receive } = open(StreamState.Established)
  receive(windowBytes)
  expect(sent).toEqual([{ type: windowUpdate, flag: 0, streamID: 1, length: windowBytes }])
  receive(windowBytes)
  expect(sent).toHaveLength(2)
})

test('a stream that the other opened is accepted with its first message', () => {
  const { sent, receive } = open(StreamState.SYNReceived)
  receive(1024)
  expect(sent).toEqual([{ type: windowUpdate, flag: ack, streamID: 1, length: 1024 }])
})
