/** A local hub and its storage on two ports, which can simulate all kinds of failures. */
import { createHash } from 'node:crypto'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { type HubUploads, hubUploads, type UploadOptions } from './uploads.js'

export interface Repository {
  /** By commit, then by path. */
  readonly commits: Record<string, Record<string, Uint8Array>>
  readonly refs: Record<string, string>
  /** Only with the token; `gated`: not even with it. */
  readonly access?: 'open' | 'private' | 'gated'
}

export interface Seen {
  readonly server: 'hub' | 'storage'
  readonly method: string
  readonly url: string
  readonly authorization: string | undefined
  readonly range: string | undefined
  /** Bytes of body sent. */
  sent: number
}

export interface Options {
  readonly repositories: Record<string, Repository>
  readonly token?: string
  /** Entries of one page of a list. */
  readonly page?: number
  /**
   * What storage does with an answer: `start` is the first byte of the range, `body` what would be sent; `header` where
   * the range has an end.
   */
  readonly disturb?: (request: {
    path: string
    start: number
    body: Buffer
    count: number
    header: boolean
  }) => Disturbance | undefined
  /** Entries added to every list. */
  readonly extra?: readonly unknown[]
  /** Where the next page is: `storage` redirects there. */
  readonly pagesAt?: 'hub' | 'storage'
  /** Endless pages: the same page again, or always a new one. */
  readonly endless?: 'same' | 'new'
  readonly ranges?: boolean
  readonly uploads?: UploadOptions
}

export interface Disturbance {
  readonly body?: Buffer
  /** The connection is cut after so many bytes. */
  readonly cut?: number
  /** The connection stalls after so many bytes. */
  readonly stall?: number
  readonly status?: number
  /** Sends one byte per so many milliseconds. */
  readonly trickle?: number
}

export interface Hub {
  readonly url: string
  readonly seen: Seen[]
  options: Options
  readonly uploads: HubUploads
  /** Bytes that storage has sent. */
  readonly sent: () => number
  readonly close: () => Promise<void>
}

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
const gitOid = (bytes: Uint8Array): string =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex')
const isLarge = (name: string): boolean => /\.(safetensors|bin)$/.test(name)

async function listen(handler: http.RequestListener): Promise<{ url: string; close: () => Promise<void> }> {
  const server = http.createServer(handler)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}

export async function startHub(start: Options): Promise<Hub> {
  const hub = { options: start }
  const seen: Seen[] = []
  const uploads = hubUploads(
    () => hub.options,
    () => ({ front: front.url, storage: storage.url }),
  )
  const counts = new Map<string, number>()

  const note = (server: Seen['server'], request: http.IncomingMessage): Seen => {
    const { authorization, range } = request.headers
    const entry: Seen = { server, method: request.method!, url: request.url!, authorization, range, sent: 0 }
    seen.push(entry)
    return entry
  }
  const refuse = (response: http.ServerResponse, status: number, code: string, request: http.IncomingMessage) => {
    // A careless server that echoes the token.
    const text = JSON.stringify({ error: `refused ${request.headers.authorization ?? ''}` })
    response.writeHead(status, { 'content-type': 'application/json', 'x-error-code': code, 'x-error-message': text })
    response.end(text)
  }

  function send(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    entry: Seen,
    path: string,
    whole: Uint8Array,
  ): void {
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? []
    const ranged = first !== undefined && hub.options.ranges !== false
    const from = ranged ? Number(first) : 0
    if (ranged && from >= whole.length) {
      response.writeHead(416).end()
      return
    }
    const to = ranged && last ? Math.min(Number(last) + 1, whole.length) : whole.length
    const count = (counts.get(path) ?? 0) + 1
    counts.set(path, count)
    const plain = Buffer.from(whole.subarray(from, to))
    const {
      body = plain,
      cut,
      stall,
      status,
      trickle,
    } = hub.options.disturb?.({ path, start: from, body: plain, count, header: Boolean(last) }) ?? {}
    if (status !== undefined) {
      response.writeHead(status).end()
      return
    }
    response.writeHead(ranged ? 206 : 200, {
      'content-length': body.length,
      ...(ranged ? { 'content-range': `bytes ${from}-${to - 1}/${whole.length}` } : {}),
    })
    const part = body.subarray(0, cut ?? stall ?? body.length)
    entry.sent = part.length
    if (trickle !== undefined) {
      let at = 0
      const timer = setInterval(() => {
        if (at < part.length) response.write(part.subarray(at, ++at))
        else response.end()
      }, trickle)
      response.on('close', () => clearInterval(timer))
    } else if (cut !== undefined) response.write(part, () => response.destroy())
    else if (stall !== undefined) response.write(part)
    else response.end(part)
  }

  const storage = await listen((request, response) => {
    const entry = note('storage', request)
    const url = new URL(request.url!, 'http://storage')
    if (uploads.storageFront(request, response, url)) return
    if (url.pathname.startsWith('/api/')) return void refuse(response, 404, 'RepoNotFound', request)
    const [, repository, commit, path] = /^\/blob\/([^/]+\/[^/]+)\/([^/]+)\/(.*)$/.exec(url.pathname) ?? []
    const content = hub.options.repositories[repository!]?.commits[commit!]?.[decodeURIComponent(path!)]
    if (!content || url.searchParams.get('signature') !== 'SIGNATURE') return void response.writeHead(403).end()
    send(request, response, entry, decodeURIComponent(path!), content)
  })

  const front = await listen((request, response) => {
    const entry = note('hub', request)
    const url = new URL(request.url!, 'http://hub')
    if (uploads.front(request, response, url)) return
    const [, api, repository, verb, rest = ''] =
      /^\/(api\/models\/)?([^/]+\/[^/]+)\/(revision|tree|resolve|refs)(?:\/(.*))?$/.exec(url.pathname) ?? []
    const found = repository === undefined ? undefined : hub.options.repositories[repository]
    const known = hub.options.token !== undefined && request.headers.authorization === `Bearer ${hub.options.token}`
    if (!found || (found.access === 'private' && !known)) return void refuse(response, 401, 'RepoNotFound', request)
    if (found.access === 'gated' && (verb === 'resolve' || verb === 'tree'))
      return void refuse(response, 403, 'GatedRepo', request)
    const [first = '', ...others] = rest.split('/')
    const revision = decodeURIComponent(first)
    const commit = found.commits[revision] ? revision : found.refs[revision === 'HEAD' ? 'main' : revision]
    const path = others.map(decodeURIComponent).join('/')
    if (verb === 'refs') {
      const branches = Object.keys(found.refs).map((name) => ({ name, ref: `refs/heads/${name}` }))
      return void response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ branches, tags: [] }))
    }
    const files = commit === undefined ? undefined : found.commits[commit]
    if (!files) return void refuse(response, 404, 'RevisionNotFound', request)
    if (api && verb === 'revision') {
      const info = { _id: '1', id: repository, sha: commit, lastModified: '2024-01-01T00:00:00.000Z' }
      return void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(info))
    }
    if (api && verb === 'tree') {
      const prefix = path === '' ? '' : `${path}/`
      const inside = Object.keys(files).filter((name) => name.startsWith(prefix))
      if (inside.length === 0) return void refuse(response, 404, 'EntryNotFound', request)
      const entries: unknown[] = [...(hub.options.extra ?? [])]
      const folders = new Set<string>()
      for (const name of inside) {
        const [top, ...deeper] = name.slice(prefix.length).split('/')
        const bytes = files[name]!
        if (deeper.length > 0) folders.add(`${prefix}${top}`)
        else {
          const lfs =
            isLarge(name) || uploads.large.has(bytes)
              ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 134 } }
              : {}
          entries.push({ type: 'file', oid: gitOid(bytes), size: bytes.length, path: name, ...lfs })
        }
      }
      for (const folder of folders)
        entries.push({ type: 'directory', oid: gitOid(Buffer.from(folder)), size: 0, path: folder })
      const size = hub.options.page ?? 1000
      const page = Number(url.searchParams.get('cursor') ?? 0)
      const shown = entries.slice(page * size, (page + 1) * size)
      const more = (page + 1) * size < entries.length
      url.searchParams.set('cursor', String(page + 1))
      const base = hub.options.pagesAt === 'storage' ? storage.url : front.url
      const next = hub.options.endless === 'same' ? page : page + 1
      if (hub.options.endless) url.searchParams.set('cursor', String(next))
      const link = more || hub.options.endless ? { link: `<${base}${url.pathname}${url.search}>; rel="next"` } : {}
      return void response.writeHead(200, { 'content-type': 'application/json', ...link }).end(JSON.stringify(shown))
    }
    const content = files[path]
    if (!content) return void refuse(response, 404, 'EntryNotFound', request)
    if (!isLarge(path)) return send(request, response, entry, path, content)
    const location = `${storage.url}/blob/${repository}/${commit}/${others.join('/')}?signature=SIGNATURE`
    response.writeHead(302, { location, 'x-linked-etag': `"${sha256(content)}"`, 'x-repo-commit': commit! }).end()
  })

  return {
    url: front.url,
    seen,
    uploads,
    get options() {
      return hub.options
    },
    set options(next: Options) {
      hub.options = next
    },
    sent: () => seen.filter(({ server }) => server === 'storage').reduce((sum, { sent }) => sum + sent, 0),
    close: async () => {
      await front.close()
      await storage.close()
    },
  }
}
