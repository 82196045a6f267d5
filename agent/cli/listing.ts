/**
 * Prints a list or an inspected document in the way that was asked for: table, `--quiet`, `--json`, `--format`.
 *
 * Every list command goes through here, so the flags mean the same everywhere. Columns, order and spacing are Docker's.
 */
import { type Call, type OptionDefinition, on, text } from './definition.ts'
import { layTable } from './table.ts'
import { parseTemplate, renderTemplate } from './template.ts'
import { usage } from './usage.ts'

/** A list: what each row is called, and where each field comes from. */
export interface Listing<Row> {
  readonly rows: readonly Row[]
  /** Field name in templates -> heading and value. */
  readonly fields: Readonly<Record<string, Field<Row>>>
  /** Fields of the standard table, in order. */
  readonly table: readonly string[]
  /** What `--quiet` prints. */
  readonly quiet: (row: Row) => string
  /** What `--json` prints: the API's own documents. */
  readonly json: unknown
}

export interface Field<Row> {
  readonly heading: string
  readonly value: (row: Row) => string | boolean
  /** In the standard table, where that differs. */
  readonly cell?: (row: Row) => string
}

export const listingOptions: readonly OptionDefinition[] = [
  { flags: '-q, --quiet', says: 'Only display ids' },
  {
    flags: '--format <format>',
    says: "'table', 'table TEMPLATE', 'json' or a template with field paths, json, range, len",
  },
  { flags: '--json', says: "Print the API's documents, with ids and ISO times" },
]

export const inspectOptions: readonly OptionDefinition[] = [
  { flags: '-f, --format <format>', says: "'json' or a template with field paths, json, range, len" },
  { flags: '--json', says: 'Print JSON, as is done without any flag' },
]

export function printListing<Row>(call: Call, listing: Listing<Row>): void {
  const { out } = call.io
  const format = text(call.options, 'format') ?? 'table'
  if (on(call.options, 'json')) out.write(prettyJson(listing.json))
  else if (on(call.options, 'quiet') && format === 'table')
    for (const row of listing.rows) out.write(`${listing.quiet(row)}\n`)
  else if (format === 'json') for (const row of listing.rows) out.write(`${JSON.stringify(record(listing, row))}\n`)
  else if (format === 'table') out.write(standardTable(listing))
  else if (/^table\s/.test(format)) out.write(templateTable(listing, format.replace(/^table\s+/, '')))
  else out.write(lines(listing, format))
}

/** Documents of `inspect`, all in one array, or one line each by template. */
export function printDocuments(call: Call, documents: readonly unknown[]): void {
  const { out } = call.io
  const format = text(call.options, 'format')
  if (format === undefined || on(call.options, 'json')) {
    out.write(prettyJson(documents))
    return
  }
  const template = format === 'json' ? undefined : parseTemplate(format)
  for (const document of documents)
    out.write(`${template === undefined ? JSON.stringify(document) : renderTemplate(template, document)}\n`)
}

/** Four spaces, as Docker's inspect prints. */
export function prettyJson(value: unknown): string {
  return `${JSON.stringify(value, null, 4)}\n`
}

function standardTable<Row>({ rows, fields, table }: Listing<Row>): string {
  const columns = table.flatMap((name) => fields[name] ?? [])
  return layTable([
    columns.map((c) => c.heading),
    ...rows.map((row) => columns.map((c) => c.cell?.(row) ?? String(c.value(row)))),
  ])
}

function templateTable<Row>(listing: Listing<Row>, source: string): string {
  const template = parseTemplate(source)
  const headings = Object.fromEntries(Object.entries(listing.fields).map(([name, field]) => [name, field.heading]))
  const all = [headings, ...listing.rows.map((row) => record(listing, row))]
  return layTable(all.map((data) => renderTemplate(template, data, unknownField(listing)).split('\t')))
}

function lines<Row>(listing: Listing<Row>, source: string): string {
  const template = parseTemplate(source)
  return listing.rows
    .map((row) => `${renderTemplate(template, record(listing, row), unknownField(listing))}\n`)
    .join('')
}

function record<Row>({ fields }: Listing<Row>, row: Row): Readonly<Record<string, string | boolean>> {
  return Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.value(row)]))
}

function unknownField<Row>({ fields }: Listing<Row>): (name: string) => never {
  return (name) => {
    throw usage(
      `--format names the field .${name}, which is not there`,
      `Fields: ${Object.keys(fields)
        .map((f) => `.${f}`)
        .join(' ')}`,
    )
  }
}
