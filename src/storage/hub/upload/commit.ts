/** The one commit that makes an output visible. */
import { fault } from '../../../core/diagnostics.js'
import { quote } from '../../../core/suggest.js'
import { RequestError } from '../../remote/request.js'
import { markOf, type Published, type Receipt, type SmallFile, uploadLost } from '../../remote/upload.js'
import { isCommit } from '../repository.js'
import { apiOf, type HubOutput, hasOutput, headOf, ownFiles, staleFiles } from './branch.js'
import { askBatch, type LfsPlace, sendObject } from './lfs.js'
import { post } from './requests.js'

/** Files of one question about how they are stored. */
const QUESTION = 200
/** Bytes of a file by which the hub finds out whether it is text. */
const SAMPLE = 512

/** Commits an output, unless the branch has it. Errors: `upload-lost`, `hub-moved`. */
export async function commitOutput(
  output: HubOutput,
  place: LfsPlace,
  receipts: readonly Receipt[],
  small: readonly SmallFile[],
): Promise<Published> {
  const published = await committed(output, place, receipts, small)
  // The next output in this branch follows.
  output.head.parent = published.revision
  return published
}

async function committed(
  output: HubOutput,
  place: LfsPlace,
  receipts: readonly Receipt[],
  small: readonly SmallFile[],
): Promise<Published> {
  const { branch, reference } = output
  const { signal } = place
  const marks = small.map(markOf)
  const has = (commit: string) => hasOutput(output, commit, receipts, marks, signal)
  const head = await headOf(output, 1, signal)
  // The answer to an earlier attempt, or the end of an earlier run, may have been lost.
  if (head !== undefined && (await has(head))) return { revision: head }
  const objects = receipts.map(({ sha256, size }) => ({ sha256: sha256!, size }))
  const actions = await askBatch(place, objects)
  const lost = receipts.find(({ sha256 }) => actions.get(sha256!)?.upload)
  if (lost) throw uploadLost(reference, lost.name)
  const lines = await commitLines(output, place, receipts, small)
  try {
    const commit = await sendCommit(output, lines, signal)
    if (commit !== undefined && (await has(commit))) return { revision: commit }
    throw new RequestError('the commit does not have the uploaded files')
  } catch (error) {
    if (!(error instanceof RequestError) || (error.status !== 409 && error.status !== 412)) throw error
    const now = await headOf(output, 1, signal)
    if (now !== undefined && (await has(now))) return { revision: now }
    throw fault(
      'hub-moved',
      `${reference}: somebody else has committed to ${quote(branch)} since this run began`,
      'nothing was changed, and the uploads are kept: look at that commit, then run again with --resume',
      1,
    )
  }
}

/** Removes the small files of an output that are there, by a commit. */
export async function commitRemoval(output: HubOutput, signal: AbortSignal | undefined): Promise<void> {
  const there = await ownFiles(output, signal)
  if (there.length === 0) return
  const lines: Line[] = [headerLine(output), ...there.map((path): Line => ({ key: 'deletedFile', value: { path } }))]
  output.head.parent = await sendCommit(output, lines, signal)
}

type Line =
  | { readonly key: 'header'; readonly value: { summary: string; description: string; parentCommit?: string } }
  | { readonly key: 'lfsFile'; readonly value: { path: string; algo: 'sha256'; oid: string; size: number } }
  | { readonly key: 'file'; readonly value: { path: string; content: string; encoding: 'base64' } }
  | { readonly key: 'deletedFile'; readonly value: { path: string } }

function headerLine({ head: { parent } }: HubOutput): Line {
  const after = parent === undefined ? {} : { parentCommit: parent }
  return { key: 'header', value: { summary: 'Merge with terge', description: '', ...after } }
}

async function sendCommit(
  output: HubOutput,
  lines: readonly Line[],
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const url = `${apiOf(output)}/commit/${encodeURIComponent(output.branch)}`
  const body = lines.map((line) => JSON.stringify(line)).join('\n')
  const answer = await post(output.settings, { url, body, type: 'application/x-ndjson', signal })
  const oid = (answer as { commitOid?: unknown } | undefined)?.commitOid
  return typeof oid === 'string' && isCommit(oid) ? oid : headOf(output, 1, signal)
}

async function commitLines(
  output: HubOutput,
  place: LfsPlace,
  receipts: readonly Receipt[],
  small: readonly SmallFile[],
): Promise<Line[]> {
  const large = await largeOnes(output, small, place.signal)
  const lines: Line[] = [headerLine(output)]
  const lfs = (path: string, oid: string, size: number): Line => ({
    key: 'lfsFile',
    value: { path, algo: 'sha256', oid, size },
  })
  for (const { name, sha256, size } of receipts) lines.push(lfs(name, sha256!, size))
  for (const { name, content } of small) {
    if (large.has(name)) {
      const object = { sha256: markOf({ name, content }).sha256, size: content.length }
      await sendObject(place, object, content)
      lines.push(lfs(name, object.sha256, object.size))
    } else {
      const text = Buffer.from(content).toString('base64')
      lines.push({ key: 'file', value: { path: name, content: text, encoding: 'base64' } })
    }
  }
  for (const path of await staleFiles(output, place.signal)) lines.push({ key: 'deletedFile', value: { path } })
  return lines
}

/** The small files that the hub keeps in its storage of large files. */
async function largeOnes(
  output: HubOutput,
  small: readonly SmallFile[],
  signal: AbortSignal | undefined,
): Promise<ReadonlySet<string>> {
  const large = new Set<string>()
  for (let at = 0; at < small.length; at += QUESTION) {
    const files = small.slice(at, at + QUESTION).map(({ name, content }) => ({
      path: name,
      size: content.length,
      sample: Buffer.from(content.subarray(0, SAMPLE)).toString('base64'),
    }))
    const url = `${apiOf(output)}/preupload/${encodeURIComponent(output.branch)}`
    const answer = await post(output.settings, { url, body: JSON.stringify({ files }), signal })
    const listed = (answer as { files?: unknown } | undefined)?.files
    if (!Array.isArray(listed)) throw new RequestError('the answer does not say how files are stored')
    for (const one of listed as readonly { path?: unknown; uploadMode?: unknown }[])
      if (one?.uploadMode === 'lfs' && typeof one.path === 'string') large.add(one.path)
  }
  // The storage does not take empty files.
  for (const { name, content } of small) if (content.length === 0) large.delete(name)
  return large
}
