/** `vine network connect` and `vine network disconnect`. */
import { Fault } from '../../fault.ts'
import { type Call, list, on } from '../definition.ts'

export async function connect(call: Call): Promise<number> {
  const [network = '', container = ''] = call.args
  const body = { Container: container, EndpointConfig: { Aliases: list(call.options, 'alias') } }
  await call.api.post(`/networks/${encodeURIComponent(network)}/connect`, body)
  return 0
}

export async function disconnect(call: Call): Promise<number> {
  const [network = '', container = ''] = call.args
  const force = on(call.options, 'force')
  try {
    await call.api.post(`/networks/${encodeURIComponent(network)}/disconnect`, { Container: container, Force: force })
  } catch (error) {
    if (!(force && error instanceof Fault && error.code === 'not-found')) throw error
  }
  return 0
}
