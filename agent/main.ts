// The process edge: argv, env, signals and exit codes. Nothing here decides; each command is loaded only when it is asked for.
import { readFileSync } from 'node:fs'

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
if (process.argv[2] === '--version') process.stdout.write(`vine ${version}\n`)
else {
  process.stderr.write('Usage: vine --version\n')
  process.exitCode = 125
}
