/**
 * HTTP as Node has it, for the programs; types come from node:http as everywhere.
 *
 * Not by an import: that asks every property of the module for its value, of node:http also WebSocket, for which Node 24 loads undici and HTTP/2. It was a
 * quarter of the time of every command, and nobody here uses either.
 */
export const http = process.getBuiltinModule('node:http')
