/** yaml-language-server, which VS Code and most other editors use for YAML, over its protocol on standard input and output. */
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'

const BIN = createRequire(import.meta.url).resolve('yaml-language-server/bin/yaml-language-server')

export interface Position {
  readonly line: number
  readonly character: number
}
export interface EditorProblem {
  readonly range: { readonly start: Position; readonly end: Position }
  readonly message: string
}
export interface Offered {
  readonly label: string
  readonly documentation?: string | { readonly value: string }
  readonly insertText?: string
}
export interface LanguageServer {
  /** Opens a document, and returns what the server reports for it. */
  readonly problems: (uri: string, text: string) => Promise<readonly EditorProblem[]>
  readonly complete: (uri: string, position: Position) => Promise<readonly Offered[]>
  /** Empty if there is no text to show. */
  readonly hover: (uri: string, position: Position) => Promise<string>
  readonly close: () => void
}

interface Message {
  readonly id?: number | string
  readonly method?: string
  readonly params?: unknown
  readonly result?: unknown
  readonly error?: { readonly message: string }
}

/** Splits the stream into messages: a header with a length, an empty line, JSON. */
function reader(listen: (message: Message) => void): (chunk: Buffer) => void {
  let rest = Buffer.alloc(0)
  return (chunk) => {
    rest = Buffer.concat([rest, chunk])
    for (;;) {
      const end = rest.indexOf('\r\n\r\n')
      const length = Number(/Content-Length: (\d+)/i.exec(rest.subarray(0, Math.max(end, 0)).toString())?.[1])
      if (end < 0 || rest.length < end + 4 + length) return
      const body = rest.subarray(end + 4, end + 4 + length).toString()
      rest = rest.subarray(end + 4 + length)
      listen(JSON.parse(body) as Message)
    }
  }
}

/** The settings of the server that editors set. `schemas`: from the address of a schema to file patterns. */
const settings = (schemas: object): object => ({
  yaml: { schemas, schemaStore: { enable: false }, validate: true, hover: true, completion: true },
})

/** Starts one. All documents have the extension .yml and the schema at `schema`, unless they name another one. */
export async function startLanguageServer(schema: string): Promise<LanguageServer> {
  const child = spawn(process.execPath, [BIN, '--stdio'], { stdio: ['pipe', 'pipe', 'ignore'] })
  const answers = new Map<number, (message: Message) => void>()
  const reports = new Map<string, (problems: readonly EditorProblem[]) => void>()
  const send = (message: object): void => {
    const body = JSON.stringify({ jsonrpc: '2.0', ...message })
    child.stdin.write(`Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
  }
  const listen = ({ id, method, params, ...rest }: Message): void => {
    if (method === undefined) answers.get(Number(id))?.({ ...rest })
    else if (method === 'textDocument/publishDiagnostics') {
      const { uri, diagnostics } = params as { uri: string; diagnostics: readonly EditorProblem[] }
      reports.get(uri)?.(diagnostics)
    } else if (method === 'workspace/configuration') {
      const { items } = params as { items: readonly { section: keyof ReturnType<typeof settings> }[] }
      send({ id, result: items.map(({ section }) => settings({ [schema]: '*.yml' })[section] ?? {}) })
    } else if (id !== undefined) send({ id, result: null })
  }
  child.stdout.on('data', reader(listen))
  let last = 0
  const ask = <T>(method: string, params: object): Promise<T> =>
    new Promise((resolve, reject) => {
      const id = ++last
      answers.set(id, ({ error, result }) => (error ? reject(new Error(error.message)) : resolve(result as T)))
      send({ id, method, params })
    })
  const about = (uri: string, position: Position) => ({ textDocument: { uri }, position })
  await ask('initialize', {
    processId: process.pid,
    rootUri: null,
    capabilities: {
      workspace: { configuration: true, didChangeConfiguration: { dynamicRegistration: true } },
      textDocument: {
        completion: { completionItem: { snippetSupport: true, documentationFormat: ['markdown', 'plaintext'] } },
        hover: { contentFormat: ['markdown'] },
        publishDiagnostics: {},
      },
    },
  })
  send({ method: 'initialized', params: {} })
  send({ method: 'workspace/didChangeConfiguration', params: { settings: settings({ [schema]: '*.yml' }) } })
  return {
    problems: (uri, text) =>
      new Promise((resolve) => {
        reports.set(uri, resolve)
        send({
          method: 'textDocument/didOpen',
          params: { textDocument: { uri, languageId: 'yaml', version: 1, text } },
        })
      }),
    complete: async (uri, position) => {
      const found = await ask<{ items: Offered[] } | Offered[] | null>('textDocument/completion', about(uri, position))
      return Array.isArray(found) ? found : (found?.items ?? [])
    },
    hover: async (uri, position) => {
      const found = await ask<{ contents: string | { value: string } } | null>(
        'textDocument/hover',
        about(uri, position),
      )
      return typeof found?.contents === 'string' ? found.contents : (found?.contents.value ?? '')
    },
    close: () => child.kill(),
  }
}
