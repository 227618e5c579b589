/** The part of the hub server that changes repositories: large-file storage, commits, new repositories and branches. */
import { createHash } from 'node:crypto'
import type http from 'node:http'
import type { Options, Repository } from './server.js'

export type HubVerb = 'create' | 'branch' | 'preupload' | 'batch' | 'part' | 'whole' | 'complete' | 'verify' | 'commit'

export interface HubDisturbance {
  readonly status?: number
  readonly headers?: Record<string, string>
  /** The connection is cut before the body is read. */
  readonly cut?: boolean
  /** The request is done, but the connection is cut before the answer. */
  readonly lose?: boolean
  /** Called before the request is done. */
  readonly before?: () => void
}

export interface UploadOptions {
  /** The size of parts; absent: whole files. */
  readonly chunk?: number
  /** Small files of at least so many bytes go to the storage of large files. */
  readonly largeFrom?: number
  readonly role?: 'read' | 'write'
  readonly disturb?: (verb: HubVerb, count: number) => HubDisturbance | undefined
}

/** What the hub's storage of large files has. */
export interface Storage {
  /** By SHA-256. */
  readonly objects: Map<string, Buffer>
  /** Parts that are not put together, by SHA-256 and number. */
  readonly parts: Map<string, Map<number, Buffer>>
}

interface Reply {
  readonly status: number
  readonly body?: unknown
  readonly headers?: Record<string, string>
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex')

async function readBody(request: http.IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of request) pieces.push(piece as Buffer)
  return Buffer.concat(pieces)
}

export interface HubUploads {
  readonly storage: Storage
  /** Contents that are in the storage of large files, whatever their names are. */
  readonly large: Set<Uint8Array>
  /** Addresses that were given out before are no longer valid. */
  expire(): void
  front(request: http.IncomingMessage, response: http.ServerResponse, url: URL): boolean
  storageFront(request: http.IncomingMessage, response: http.ServerResponse, url: URL): boolean
}

export function hubUploads(options: () => Options, addresses: () => { front: string; storage: string }): HubUploads {
  const storage: Storage = { objects: new Map(), parts: new Map() }
  const large = new Set<Uint8Array>()
  const counts = new Map<HubVerb, number>()
  let age = 0

  function run(
    verb: HubVerb,
    request: http.IncomingMessage,
    response: http.ServerResponse,
    work: (body: Buffer) => Reply,
  ): true {
    const count = (counts.get(verb) ?? 0) + 1
    counts.set(verb, count)
    const { status, headers = {}, cut, lose, before } = options().uploads?.disturb?.(verb, count) ?? {}
    if (cut) {
      request.socket.destroy()
      return true
    }
    readBody(request)
      .then((body) => {
        before?.()
        const reply = status === undefined ? work(body) : { status }
        if (lose) return void request.socket.destroy()
        response.writeHead(reply.status, { 'content-type': 'application/json', ...reply.headers, ...headers })
        response.end(reply.body === undefined ? '' : JSON.stringify(reply.body))
      })
      .catch(() => response.destroy())
    return true
  }

  const addressOf = (kind: string, oid: string, number = 0): string =>
    `${addresses().storage}/upload/${kind}/${oid}/${number}?X-Amz-Signature=SIGNED${age}`

  function batch(body: Buffer): Reply {
    const { objects } = JSON.parse(body.toString()) as { objects: { oid: string; size: number }[] }
    const { chunk } = options().uploads ?? {}
    return {
      status: 200,
      body: {
        transfer: chunk === undefined ? 'basic' : 'multipart',
        objects: objects.map(({ oid, size }) => {
          if (storage.objects.has(oid)) return { oid, size }
          const verify = { href: `${addresses().front}/api/verify` }
          if (chunk === undefined) return { oid, size, actions: { upload: { href: addressOf('whole', oid) }, verify } }
          storage.parts.set(oid, new Map())
          const numbers = Array.from({ length: Math.ceil(size / chunk) }, (_, index) => index + 1)
          const header = Object.fromEntries(
            numbers.map((number) => [String(number).padStart(5, '0'), addressOf('part', oid, number)]),
          )
          const href = `${addresses().front}/api/complete_multipart?uploadId=SECRETID&oid=${oid}`
          return { oid, size, actions: { upload: { href, header: { ...header, chunk_size: String(chunk) } }, verify } }
        }),
      },
    }
  }

  function complete(body: Buffer): Reply {
    const { oid, parts } = JSON.parse(body.toString()) as { oid: string; parts: { partNumber: number; etag: string }[] }
    const held = storage.parts.get(oid)
    const pieces = parts.map(({ partNumber, etag }) => {
      const bytes = held?.get(partNumber)
      return bytes && etag === `"${md5(bytes)}"` ? bytes : undefined
    })
    if (!held || pieces.some((piece) => !piece)) return { status: 400 }
    const whole = Buffer.concat(pieces as Buffer[])
    if (sha256(whole) !== oid) return { status: 400 }
    storage.objects.set(oid, whole)
    return { status: 200, body: {} }
  }

  function commit(repository: Repository, branch: string, body: Buffer): Reply {
    const lines = body
      .toString()
      .split('\n')
      .map((line) => JSON.parse(line) as { key: string; value: Line })
    const [head, ...changes] = lines
    const parent = repository.refs[branch]
    if (head!.value.parentCommit !== undefined && head!.value.parentCommit !== parent) return { status: 412 }
    const files = { ...repository.commits[parent!] }
    for (const { key, value } of changes) {
      if (key === 'deletedFile') delete files[value.path]
      else if (key === 'file') files[value.path] = Buffer.from(value.content, 'base64')
      else {
        const bytes = storage.objects.get(value.oid)
        if (!bytes || bytes.length !== value.size) return { status: 400 }
        files[value.path] = bytes
        large.add(bytes)
      }
    }
    const oid = createHash('sha1').update(body).update(parent!).digest('hex')
    repository.commits[oid] = files
    repository.refs[branch] = oid
    return { status: 200, body: { commitOid: oid, commitUrl: `https://hub/commit/${oid}`, success: true } }
  }

  function front(request: http.IncomingMessage, response: http.ServerResponse, url: URL): boolean {
    const { repositories, token, uploads } = options()
    const mayWrite =
      token !== undefined && request.headers.authorization === `Bearer ${token}` && uploads?.role !== 'read'
    if (url.pathname === '/api/whoami-v2' && token !== undefined) {
      const known = request.headers.authorization === `Bearer ${token}`
      const body = { name: 'me', orgs: [{ name: 'org' }], auth: { accessToken: { role: uploads?.role ?? 'write' } } }
      response.writeHead(known ? 200 : 401, { 'content-type': 'application/json' })
      response.end(known ? JSON.stringify(body) : '{}')
      return true
    }
    if (request.method !== 'POST') return false
    const checked =
      (work: (body: Buffer) => Reply) =>
      (body: Buffer): Reply =>
        mayWrite ? work(body) : { status: 403, headers: { 'x-error-message': `no ${request.headers.authorization}` } }
    // Their addresses are signed, as those of the storage.
    if (url.pathname === '/api/complete_multipart') return run('complete', request, response, complete)
    if (url.pathname === '/api/verify')
      return run(
        'verify',
        request,
        response,
        checked((body) => {
          const { oid, size } = JSON.parse(body.toString()) as { oid: string; size: number }
          return { status: storage.objects.get(oid)?.length === size ? 200 : 404 }
        }),
      )
    if (url.pathname === '/api/repos/create')
      return run(
        'create',
        request,
        response,
        checked((body) => {
          const { name, organization, private: hidden } = JSON.parse(body.toString()) as Record<string, string>
          const id = `${organization}/${name}`
          if (repositories[id]) return { status: 409 }
          const first = 'f'.repeat(40)
          const files = { '.gitattributes': Buffer.from('*.safetensors filter=lfs') }
          const access = hidden ? 'private' : 'open'
          repositories[id] = { commits: { [first]: files }, refs: { main: first }, access } satisfies Repository
          return { status: 200, body: { url: `https://hub/${id}` } }
        }),
      )
    const [, id, , rest = ''] =
      /^\/(?:api\/models\/)?([^/]+\/[^/]+?)(\.git\/info\/lfs\/objects\/batch|\/(?:branch|preupload|commit)\/([^/]+))$/.exec(
        url.pathname,
      ) ?? []
    const repository = repositories[id ?? '']
    if (!repository) return false
    const branch = decodeURIComponent(rest)
    if (url.pathname.endsWith('/objects/batch')) return run('batch', request, response, checked(batch))
    if (url.pathname.includes('/branch/'))
      return run(
        'branch',
        request,
        response,
        checked(() => {
          if (repository.refs[branch]) return { status: 409 }
          repository.refs[branch] = repository.refs.main!
          return { status: 200 }
        }),
      )
    if (url.pathname.includes('/preupload/'))
      return run(
        'preupload',
        request,
        response,
        checked((body) => {
          const { files } = JSON.parse(body.toString()) as { files: { path: string; size: number }[] }
          const from = uploads?.largeFrom ?? Number.POSITIVE_INFINITY
          const answers = files.map(({ path, size }) => ({ path, uploadMode: size >= from ? 'lfs' : 'regular' }))
          return { status: 200, body: { files: answers } }
        }),
      )
    return run(
      'commit',
      request,
      response,
      checked((body) => commit(repository, branch, body)),
    )
  }

  return {
    storage,
    large,
    expire: () => void age++,
    front,
    storageFront(request, response, url) {
      const [, kind, oid, number] = /^\/upload\/(whole|part)\/([0-9a-f]{64})\/(\d+)$/.exec(url.pathname) ?? []
      if (request.method !== 'PUT' || kind === undefined) return false
      return run(kind as 'whole' | 'part', request, response, (body) => {
        const signed = url.searchParams.get('X-Amz-Signature') === `SIGNED${age}`
        // A signed address does not take another kind of authorization.
        if (!signed || request.headers.authorization !== undefined) return { status: signed ? 400 : 403 }
        if (kind === 'part') storage.parts.get(oid!)?.set(Number(number), body)
        else if (sha256(body) === oid) storage.objects.set(oid, body)
        else return { status: 400 }
        return { status: 200, headers: { etag: `"${md5(body)}"` } }
      })
    },
  }
}

interface Line {
  readonly path: string
  readonly content: string
  readonly oid: string
  readonly size: number
  readonly parentCommit?: string
}
