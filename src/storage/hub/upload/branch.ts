/** The branch of an output: what it has, and how it is made if it is missing. */
import path from 'node:path'
import { mapEach } from '../../../core/collections/eachOf.js'
import { type ExitCode, Fault } from '../../../core/diagnostics.js'
import { quote } from '../../../core/suggest.js'
import { RequestError } from '../../remote/request.js'
import { existsAlready, type Receipt, type SmallMark, type UploadPlan } from '../../remote/upload.js'
import { hubFault, type Subject } from '../faults.js'
import { commitOf, type HubFile, listFolder } from '../repository.js'
import type { HubSettings } from '../settings.js'
import type { HubHead } from './head.js'
import { post } from './requests.js'

export interface HubOutput {
  readonly settings: HubSettings
  readonly reference: string
  /** `org/name` */
  readonly repository: string
  readonly branch: string
  readonly plan: UploadPlan
  /** What the branch was, and is after own commits. Outputs in one branch have the same. */
  readonly head: HubHead
  /** Called with what was made on the way, for the user. */
  readonly notice?: (message: string) => void
}

/** Folders that are listed at the same time. */
const PARALLEL = 4

export const apiOf = ({ repository }: HubOutput): string => `/api/models/${repository}`

const subjectOf = ({ reference, repository, branch }: HubOutput, exit: ExitCode): Subject => ({
  ...{ reference, repository, revision: branch, exit, writes: true },
})

/** Turns errors of requests into errors for the user. */
export async function explained<T>(output: HubOutput, exit: ExitCode, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw hubFault(error, output.settings, subjectOf(output, exit))
  }
}

/** The commit of the branch; undefined if there is no such branch or repository, which is noted. */
export async function headOf(branch: HubOutput, exit: ExitCode, signal?: AbortSignal): Promise<string | undefined> {
  try {
    branch.head.missing = undefined
    return await commitOf(branch.settings, { ...subjectOf(branch, exit), writes: false }, { signal })
  } catch (error) {
    const [one] = error instanceof Fault ? error.diagnostics : []
    if (one?.code === 'hub-revision') branch.head.missing = 'branch'
    else if (one?.code === 'hub-not-found') branch.head.missing = 'repository'
    else throw error
    return undefined
  }
}

const ownNames = ({ plan }: HubOutput): ReadonlySet<string> => new Set([...plan.files, ...plan.small])

/** The files of a commit in the folders of the output, by path. */
async function filesAt(
  output: HubOutput,
  commit: string,
  exit: ExitCode,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<string, HubFile>> {
  const folders = new Set(['', ...[...ownNames(output)].map((name) => path.posix.dirname(name).replace(/^\.$/, ''))])
  const about = { ...subjectOf(output, exit), commit, writes: false }
  const lists = await mapEach([...folders], PARALLEL, (folder) =>
    listFolder(output.settings, about, folder, { signal }).catch((error: unknown) => {
      if (error instanceof Fault && error.diagnostics[0]?.code === 'hub-entry') return []
      throw error
    }),
  )
  return new Map(lists.flat().map((file) => [file.path, file]))
}

/** Names of the output's own files that the parent has. */
export async function ownFiles(branch: HubOutput, signal: AbortSignal | undefined): Promise<string[]> {
  if (branch.head.parent === undefined) return []
  const own = ownNames(branch)
  const files = await filesAt(branch, branch.head.parent, 1, signal)
  return [...files.keys()].filter((name) => own.has(name))
}

/** Files of a model at the parent that are not replaced by files with the same names. */
export async function staleFiles(branch: HubOutput, signal: AbortSignal | undefined): Promise<string[]> {
  if (branch.head.parent === undefined) return []
  const own = ownNames(branch)
  const files = await filesAt(branch, branch.head.parent, 1, signal)
  return [...files.keys()].filter((name) => !own.has(name) && branch.plan.belongs(name))
}

/** Error: `output-exists` if the parent has a model that may not be replaced. */
export async function refuseExisting(
  branch: HubOutput,
  exit: ExitCode,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { plan, reference } = branch
  const { parent } = branch.head
  if (parent === undefined || plan.force) return
  const own = ownNames(branch)
  const there = [...(await filesAt(branch, parent, exit, signal)).keys()]
  const others = there.filter((name) => own.has(name) || plan.belongs(name))
  if (others.length > 0) throw existsAlready(reference, others, exit)
}

/** Makes the repository or the branch if it is missing. A new branch begins with the files of the main one. */
export async function makeMissing(output: HubOutput, signal: AbortSignal | undefined): Promise<void> {
  if (output.head.missing === undefined) return
  const { settings, repository, branch, notice } = output
  let isOwn = false
  if (output.head.missing === 'repository') {
    const [organization, name] = repository.split('/')
    const body = JSON.stringify({ type: 'model', name, organization, private: true })
    isOwn = await made(post(settings, { url: '/api/repos/create', body, signal }))
    if (isOwn) notice?.(`made the private repository ${repository}`)
  }
  output.head.parent = await headOf(output, 1, signal)
  if (output.head.parent === undefined) {
    const url = `${apiOf(output)}/branch/${encodeURIComponent(branch)}`
    isOwn = await made(post(settings, { url, body: '{}', signal }))
    if (isOwn) notice?.(`made the branch ${quote(branch)} of ${repository}`)
    output.head.parent = await headOf(output, 1, signal)
  }
  if (output.head.parent === undefined) throw new RequestError('the new branch does not appear')
  if (!isOwn) await refuseExisting(output, 1, signal)
}

/** Whether this run made it: another one can be faster. */
const made = (request: Promise<unknown>): Promise<boolean> =>
  request.then(
    () => true,
    (error: unknown) => {
      if (error instanceof RequestError && error.status === 409) return false
      throw error
    },
  )

/** Whether a commit has exactly this output. */
export async function hasOutput(
  output: HubOutput,
  commit: string,
  receipts: readonly Receipt[],
  small: readonly SmallMark[],
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const own = ownNames(output)
  const files = await filesAt(output, commit, 1, signal)
  if ([...files.keys()].some((name) => !own.has(name) && output.plan.belongs(name))) return false
  return (
    receipts.every(({ name, sha256 }) => files.get(name)?.blob === sha256) &&
    small.every(({ name, sha256, git }) => {
      const found = files.get(name)
      return found?.blob === (found?.sha256 ? sha256 : git)
    })
  )
}
