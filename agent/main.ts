/**
 * The process edge: argv in, exit code out. Everything else is loaded when a command asks for it.
 */
import { processIo } from './cli/io.ts'
import { run } from './cli/run.ts'

process.exitCode = await run(process.argv.slice(2), processIo())
// Once all is written. What is open then is nobody's: libp2p and gossipsub leave timers behind that would hold an agent for another second.
process.stdout.write('', () => process.stderr.write('', () => process.exit()))
