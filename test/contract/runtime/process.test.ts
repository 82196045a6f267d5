// The process runtime keeps the promises of every runtime.
import { runtimeContract } from './contract.ts'
import { processHarness } from './harness.ts'

runtimeContract('process', processHarness)
