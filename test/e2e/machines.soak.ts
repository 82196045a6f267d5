/** All that agents without flags do on machines of their own (machines.long.test.ts), with the linux data plane. */
process.env.GRAPEVINE_DATAPLANE = 'linux'
await import('./machines.long.test.ts')
