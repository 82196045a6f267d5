/**
 * Which nodes lack a program or image: asked of every member that is up, for the warning of `service create`.
 */
import { z } from 'zod'
import { decode, encode } from '../../protocol/codec.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import { upMembers } from '../core/live.ts'
import type { View } from '../core/view.ts'
import { fault } from '../fault.ts'
import type { Runtime, Transport } from '../world.ts'

export const programKind = 'program'

/** 1 s: a warning is not worth more of the user's time. */
const answerWithinMs = 1_000
const questionSchema = z.object({ image: z.string().max(limits.textBytesMax) })
const answerSchema = z.object({ missing: z.boolean() })

export interface ProgramSurveyParts {
  readonly view: View
  readonly transport: Pick<Transport, 'request'>
  readonly runtime: Pick<Runtime, 'missing'>
}

export function createProgramSurvey({ view, transport, runtime }: ProgramSurveyParts) {
  async function isMissingOn(node: NodeId, image: string): Promise<boolean> {
    if (node === view.self) return (await runtime.missing(image)) !== undefined
    try {
      const decoded = decode(await transport.request(node, programKind, encode({ image }), answerWithinMs))
      return decoded.kind === 'ok' && answerSchema.safeParse(decoded.value).data?.missing === true
    } catch {
      // A node that does not answer is no reason to warn about a program.
      return false
    }
  }

  return {
    /** Nodes that said they lack it, sorted. */
    async missingOn(image: string): Promise<readonly NodeId[]> {
      const nodes = upMembers(view).map((member) => member.id)
      const missing = await Promise.all(nodes.map((node) => isMissingOn(node, image)))
      return nodes.filter((_, i) => missing[i])
    },
    /** Answers requests of kind `programKind`. */
    async onRequest(_from: NodeId, bytes: Uint8Array): Promise<Uint8Array> {
      const decoded = decode(bytes)
      const question = decoded.kind === 'ok' ? questionSchema.safeParse(decoded.value).data : undefined
      if (question === undefined) throw fault('invalid', 'not a question for a program')
      return encode({ missing: (await runtime.missing(question.image)) !== undefined })
    },
  }
}
